import cython

from ..wire cimport octets
from .poller cimport Pollable, Poller
from .transport cimport Stream

cdef int READS, _IN, _OUT


cdef class PlainTransport(Pollable):
    cdef object _connection, _loop, _held
    cdef Poller _poller
    cdef Stream _stream
    cdef int _events, _fd
    cdef bint _closing, _ends, _lost, _reads

    cpdef ready(self, int events)
    @cython.locals(stream=Stream, count=Py_ssize_t)
    cdef _read(self)
