import cython
from libc.stdint cimport uint32_t

from . cimport octets


cdef int TEXT
cdef Py_ssize_t START


cdef class MessageReader:
    cdef readonly int opcode
    cdef readonly Py_ssize_t size, max_size, max_fragments
    cdef readonly bint compressed
    cdef public object inflater
    cdef Py_ssize_t _arrived, _max_arrived
    cdef bytearray _buffer
    cdef Py_ssize_t _checked
    cdef Py_ssize_t _fragments

    cpdef int begin_frame(self, int opcode, Py_ssize_t length, bint compressed=*) except -1
    @cython.locals(start=Py_ssize_t, looks=bint)
    cpdef int add(self, Py_ssize_t count, uint32_t mask, Py_ssize_t phase) except -1
    @cython.locals(checked=Py_ssize_t)
    cdef int _check(self) except -1
    cpdef int inflate(self, bytearray buffer, Py_ssize_t start, Py_ssize_t end, uint32_t mask, Py_ssize_t phase) except -1
    cpdef int copy(self, bytearray buffer, Py_ssize_t start, Py_ssize_t end, uint32_t mask, Py_ssize_t phase) except -1
    cdef int _added(self, Py_ssize_t count, bint is_ascii) except -1
    @cython.locals(needed=Py_ssize_t)
    cdef int _reserve(self, Py_ssize_t count) except -1
