import cython
cimport cpython.time as time

from ..host cimport Host
from ..protocol cimport octets
from ..protocol.connection cimport Connection
from ..protocol.sender cimport ReadBuffer
from ..endpoint cimport Endpoint

cdef Py_ssize_t LINGER_BYTES, CROWD, FLOOD, SHARE


cdef class Stream(Host):
    cdef object _alarm, _alarms, _below, _loop, _opening, _transport, _tasks, _on_lost, _residents, _watch, _write_error
    cdef public object canceller
    cdef ReadBuffer _buffer
    cdef Py_ssize_t _discarded, _kept, _offered, _seen, _tick
    cdef int _fd
    cdef bint _asks_loop, _floods, _paused, _reads_on
    cdef Endpoint _socket

    cpdef double time(self) except? -1
    cdef double _clock(self) except? -1
    cpdef _wake_at(self, double when, double now)
    cdef _cancel_alarm(self)
    cpdef get_buffer(self, sizehint)
    @cython.locals(socket=Endpoint, number=int, count=Py_ssize_t)
    cdef _read_rest(self)
    @cython.locals(socket=Endpoint, messages=Py_ssize_t)
    cpdef buffer_updated(self, Py_ssize_t count)
    @cython.locals(socket=Endpoint)
    cpdef bint is_amid_frame(self) except -1
    cdef _give_way(self, Py_ssize_t messages)
    @cython.locals(sent=Py_ssize_t, packet=bytes)
    cpdef write(self, data)
