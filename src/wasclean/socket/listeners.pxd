from ..dom.event cimport Event
from ..dom.event_target cimport Listener, Listeners
from .session cimport Session


cdef class SocketListeners(Listeners):
    cdef Session _session

    cpdef take_result(self, Event event, Listener listener, result)
