import cython
from libc.stdint cimport uint32_t

from .octets cimport get_note, put_note

cdef int FIN, RSV, RSV1, TEXT, BINARY, MASKED, OPCODE, CONTROL, SENT, _KNOWN_OPCODES
cdef Py_ssize_t NOTES, NOTE_SIZE


cdef class FrameReader:
    cdef bint _expects_mask, _inflates
    cdef readonly bint fin, compressed
    cdef readonly int opcode
    cdef readonly Py_ssize_t length
    cdef readonly uint32_t mask

    @cython.locals(
        available=Py_ssize_t, first=int, second=int, opcode=int, length=Py_ssize_t, size=Py_ssize_t, shortest=Py_ssize_t,
        i=Py_ssize_t,
    )
    cpdef Py_ssize_t read_header(self, bytearray buffer, Py_ssize_t at, Py_ssize_t end) except -1


cdef class FrameLog:
    cdef bytearray _notes
    cdef Py_ssize_t _at
    cdef public double now

    @cython.locals(at=Py_ssize_t)
    cdef int note(self, int kind, Py_ssize_t size) except -1
