import cython

from . cimport octets
from .frames cimport FrameLog, FrameReader
from .messages cimport MessageReader

cdef int TEXT, CLOSE, CONTROL, FIN, RSV1
cdef Py_ssize_t READ_SIZE, HEAD_SIZE


cdef class ReadBuffer:
    cdef readonly bytearray data
    cdef public bytearray spare
    cdef readonly object head, view


cdef class ControlFrame:
    cdef readonly int opcode
    cdef readonly bytes payload


cdef class Receiver:
    # What it was made with.
    cdef object _role, _max_fragments
    cdef ReadBuffer _buffer
    cdef FrameLog _log
    cdef Py_ssize_t _max_size
    # Parsing.
    cdef FrameReader _frame
    cdef MessageReader _message
    cdef Py_ssize_t _remaining, _at, _end
    cdef bytes _tail
    cdef bint _lent
    cdef readonly bint is_reading
    # Statistics.
    cdef readonly double received_at
    cdef readonly Py_ssize_t bytes_received, messages_received, discarded

    cpdef start(self, inflater=*)
    cpdef stop(self)
    @cython.locals(message=MessageReader)
    cpdef get_buffer(self)
    cpdef feed(self, Py_ssize_t count)
    @cython.locals(
        buffer=bytearray, frame=FrameReader, size=Py_ssize_t, start=Py_ssize_t, stop=Py_ssize_t, length=Py_ssize_t,
        opcode=int, is_whole=bint,
    )
    cpdef next_event(self)
    cpdef bint is_amid_frame(self) except -1
    @cython.locals(buffer=bytearray, frame=FrameReader, at=Py_ssize_t, end=Py_ssize_t, size=Py_ssize_t)
    cpdef bint finds_close(self, bytes data) except -1
    @cython.locals(frame=FrameReader, kind=int)
    cdef bint _begin_frame(self, Py_ssize_t start) except -1
    @cython.locals(
        frame=FrameReader, message=MessageReader, at=Py_ssize_t, size=Py_ssize_t, stop=Py_ssize_t, phase=Py_ssize_t
    )
    cdef bint _take_payload(self) except -1
    @cython.locals(frame=FrameReader, message=MessageReader, count=Py_ssize_t)
    cdef bint _take_lent(self) except -1
    cdef _finish(self)
