import cython

from ..wire.receiver cimport ReadBuffer
from .interface cimport Protocol, Transport
from .tls cimport TLS


cdef class TLSTransport(Transport):
    cdef object _loop
    cdef Transport _inner
    cdef TLS _engine
    cdef ReadBuffer _buffer
    cdef Py_ssize_t _lost
    cdef bint _ended, _reads, _told

    cdef _room(self)
    @cython.locals(protocol=Protocol)
    cdef _fed(self, Py_ssize_t count)
    @cython.locals(engine=TLS)
    cdef _process(self)
    @cython.locals(engine=TLS, protocol=Protocol, count=Py_ssize_t)
    cdef _decrypt(self)
    @cython.locals(engine=TLS, inner=Transport)
    cdef _say(self)
    @cython.locals(engine=TLS)
    cdef bint _eof(self) except -1
    @cython.locals(engine=TLS, protocol=Protocol)
    cdef _gone(self, error)
    @cython.locals(engine=TLS)
    cpdef write(self, data, bint more=*)


cdef class _LowerSide(Protocol):
    cdef TLSTransport _layer
