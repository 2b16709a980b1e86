import cython

from .interface cimport Transport
from .readiness cimport Readiness

cdef int BATCH


cdef class Poller:
    cdef object __weakref__, _epoll
    cdef Py_ssize_t _members, _process
    cdef dict _watched
    cdef Readiness _readiness

    cpdef Poller enter(self)
    cpdef disown(self)
    cpdef watch(self, int number, Transport transport, int before, int events)
    @cython.locals(watched=dict, transport=Transport, readiness=Readiness, i=int)
    cpdef _poll(self)


@cython.locals(poller=Poller)
cpdef Poller join(object loop)
