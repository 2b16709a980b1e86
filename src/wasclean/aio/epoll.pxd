import cython

from ..wire cimport octets
from .interface cimport Protocol, Transport
from .poller cimport Poller

cdef int READS, _IN, _OUT
cdef Py_ssize_t CHUNKS


cdef class EpollTransport(Transport):
    cdef object _loop, _connection, _address, _held, _error
    cdef Poller _poller
    cdef int _events, _fd
    cdef Py_ssize_t _size
    cdef unsigned char _closing, _eof, _lost, _reads, _writes  # a bint is four bytes, and there are many connections

    cpdef ready(self, int events)
    cdef _watch(self)
    @cython.locals(protocol=Protocol, size=Py_ssize_t, count=Py_ssize_t)
    cdef _read(self)
    @cython.locals(packet=bytes, sent=Py_ssize_t)
    cpdef write(self, data, bint more=*)
    @cython.locals(sent=Py_ssize_t)
    cpdef writelines(self, list chunks)
    cdef Py_ssize_t _send(self, list chunks) except -2
    cdef _hold(self, data)
    cdef _keep(self, list chunks, Py_ssize_t sent)
    @cython.locals(sent=Py_ssize_t)
    cdef _flush(self)
