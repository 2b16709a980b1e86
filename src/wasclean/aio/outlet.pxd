import cython

from ..socket.host cimport Host
from ..wire cimport octets
from .tls cimport TLS


cdef class Outlet(Host):
    cdef object _transport, _write_error
    cdef TLS _tls
    cdef int _fd
    cdef Py_ssize_t _kept

    @cython.locals(sent=Py_ssize_t, packet=bytes, tls=TLS)
    cpdef write(self, data, bint last=*)
