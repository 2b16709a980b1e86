import cython

from .. cimport native
from .host cimport Host
from ..connection cimport Connection
from ..dom.events cimport Event, EventTarget, Listener, MessageEvent, new_message_event, reuse_message_event
from ..wire.prepared cimport PreparedMessage
from ..wire.receiver cimport ReadBuffer
from .stepping cimport Waiter
from .waiting cimport Later, Promise

cdef Py_ssize_t HIGH_WATER, LOW_WATER


cdef class Endpoint(EventTarget):
    cdef object __weakref__
    cdef Host _host
    cdef readonly Connection _connection
    cdef str _url, _origin, _protocol, _extensions, _binary_type
    cdef bint _in_debug, _is_page, _streaming, _had_listener, _leaving
    cdef bint _opened, _corked, _scheduled, _reading_paused, _end_is_here, _ended
    cdef object _limits, _queue, _pings, _backlog, _event, _error, _request, _on_end, _ahead
    cdef public object _phase, _response
    cdef Py_ssize_t _id, _queue_size, _late, _dropped, _held, _unflushed
    cdef double _now, _ended_at
    cdef unsigned long _thread
    cdef Waiter _waiter
    cdef Promise _flushed, _open_promise, _close_promise

    cpdef _prepare(self, limits, str url, str origin, context)
    cpdef _data_received(self, Py_ssize_t count, double now)
    @cython.locals(connection=Connection)
    cpdef _settle(self)
    cdef bint _is_elsewhere(self) except -1
    cdef Promise _post(self, call, Py_ssize_t size=*)
    cdef Py_ssize_t _amount_ahead(self) except -1
    cdef _look_ahead(self, Py_ssize_t size)
    cdef bint _is_slow(self, bint closes) except -1
    cdef _schedule(self)
    cdef _go_on(self)
    @cython.locals(waiter=Waiter)
    cdef _wake_reader(self)
    cdef bint _is_full(self) except -1
    cdef _enqueue(self, message)
    cdef bint _has_room(self, message) except -1
    cdef _keep(self, message)
    cdef _dequeue(self)
    cdef Waiter _park(self)
    cdef Promise _wait_for_room(self, message)
    @cython.locals(connection=Connection, amount=Py_ssize_t)
    cdef bint _pass_on(self, PreparedMessage prepared, bint closes) except -1
    @cython.locals(connection=Connection, frame=bytes)
    cdef _carry(self, PreparedMessage prepared)
    @cython.locals(event=MessageEvent)
    cdef _deliver(self, message)
    cpdef _take_result(self, Event event, Listener listener, result)
