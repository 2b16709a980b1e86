import cython

from .readiness cimport Readiness

cdef int BATCH


cdef class Pollable:
    cpdef ready(self, int events)


cdef class Poller:
    cdef object __weakref__, _epoll
    cdef Py_ssize_t _members, _process
    cdef dict _watched
    cdef Readiness _readiness

    cpdef Poller enter(self)
    cpdef watch(self, int number, Pollable who, int before, int events)
    @cython.locals(watched=dict, who=Pollable, readiness=Readiness, i=int)
    cpdef _poll(self)


@cython.locals(poller=Poller)
cpdef Poller join(object loop)
