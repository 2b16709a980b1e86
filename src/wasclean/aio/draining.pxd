from ..wire.receiver cimport ReadBuffer
from .interface cimport Protocol, Transport

cdef Py_ssize_t LINGER_BYTES


cdef class Draining(Protocol):
    cdef object _owner, _replaced
    cdef Transport _transport
    cdef ReadBuffer _buffer
    cdef Py_ssize_t _discarded
