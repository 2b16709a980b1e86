import cython
cimport cpython.time as time

from ..wire cimport octets
from ..connection cimport Connection
from ..wire.sender cimport ReadBuffer
from ..socket.endpoint cimport Endpoint
from .alarms cimport Alarms
from .outlet cimport Outlet
from .tls cimport TLS

cdef Py_ssize_t LINGER_BYTES, CROWD, FLOOD, SHARE


cdef class Stream(Outlet):
    cdef Alarms _alarms
    cdef object _alarm, _loop, _opening, _tasks, _on_lost, _peer, _residents, _watch
    cdef public object canceller
    cdef readonly ReadBuffer buffer
    cdef Py_ssize_t _discarded, _offered, _seen, _tick
    cdef bint _asks_loop, _floods, _paused, _reads_on
    cdef Endpoint _socket

    cpdef double time(self) except? -1
    cdef double _clock(self) except? -1
    cpdef _wake_at(self, double when, double now)
    cdef _cancel_alarm(self)
    cpdef get_buffer(self, sizehint)
    cdef _room(self)
    @cython.locals(number=int, count=Py_ssize_t)
    cdef _read_rest(self)
    @cython.locals(tls=TLS)
    cpdef buffer_updated(self, Py_ssize_t count)
    @cython.locals(socket=Endpoint, messages=Py_ssize_t)
    cdef _received(self, Py_ssize_t count)
    @cython.locals(tls=TLS)
    cdef _read_tls(self)
    @cython.locals(count=Py_ssize_t)
    cdef _decrypt(self, TLS tls)
    cdef _pass_on(self, TLS tls)
    @cython.locals(socket=Endpoint)
    cpdef bint is_amid_frame(self) except -1
    cdef _give_way(self, Py_ssize_t messages)
