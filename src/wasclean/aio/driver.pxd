from ..socket.host cimport Host
from ..wire.receiver cimport ReadBuffer
from .draining cimport Draining
from .interface cimport Transport
from .services cimport Alarms, Services
from .established cimport Established


cdef class Driver(Host):
    cdef object _alarm, _loop, _on_lost, _peer, _tasks, _watch
    cdef Services _services
    cdef Transport _transport
    cdef readonly object protocol
    cdef public object canceller
    cdef Py_ssize_t _tick

    cdef _wake_at(self, double when, double now)
    cdef _cancel_alarm(self)
    cdef _stop_watch(self)
    cpdef switch(self, protocol)
