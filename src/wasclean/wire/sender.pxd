import cython

from . cimport octets
from .frames cimport FrameLog
from .prepared cimport PreparedMessage
from .receiver cimport ReadBuffer

cdef int PONG, CONTROL, OPCODE, FIN, RSV1, SENT
cdef Py_ssize_t READ_SIZE, LARGE, FRAGMENT, LEAST_SIZE


cdef class Sender:
    cdef ReadBuffer _buffer
    cdef FrameLog _log
    cdef bytearray _out
    cdef list _chunks, _urgent, _compressed, _compressed_given
    cdef object _queue, _given
    cdef bytes _pong
    cdef tuple _cut
    cdef Py_ssize_t _filled, _offset
    cdef bint _masks
    cdef public object deflater
    cdef public bint congested
    cdef readonly bint yields
    cdef readonly double sent_at
    cdef readonly Py_ssize_t bytes_sent, messages_sent, queued, staged, written

    cpdef Py_ssize_t send(self, int opcode, payload, compress=*) except -1
    @cython.locals(frame=bytes, size=Py_ssize_t, noted=Py_ssize_t)
    cpdef bytes take(self, PreparedMessage prepared)
    cpdef send_control(self, int opcode, bytes payload)
    cpdef send_last(self, int opcode, bytes payload)
    cpdef bint fill(self) except -1
    @cython.locals(out=bytearray)
    cpdef data_to_send(self)
    cpdef Py_ssize_t buffered_amount(self) except -1
    cpdef bint waits(self) except -1
    cpdef bint is_empty(self) except -1
    @cython.locals(start=Py_ssize_t, end=Py_ssize_t, opcode=int, first=int)
    cdef _put_queued(self)
    cdef _put_part(self, int first, int opcode, payload, Py_ssize_t start, Py_ssize_t end)
    @cython.locals(out=bytearray, start=Py_ssize_t, size=Py_ssize_t)
    cdef Py_ssize_t _put(self, int first, payload) except -1
    cdef _put_large(self, int first, payload, Py_ssize_t start, Py_ssize_t end)
