import cython

from . cimport octets
from .events cimport Application
from .frames cimport FrameReader
from .messages cimport MessageReader

cdef int TEXT, BINARY, PING, PONG, CLOSE, CONTROL, FIN
cdef Py_ssize_t READ_SIZE, LARGE, LEAST_SIZE
cdef Application _NOBODY


cdef class ReadBuffer:
    cdef readonly bytearray data
    cdef bytearray spare
    cdef readonly object view


cdef class Connection:
    cdef Application _application
    cdef ReadBuffer _buffer
    cdef FrameReader _frame
    cdef MessageReader _message
    cdef Py_ssize_t _remaining, _filled, _queued, _staged, _written
    cdef bytes _tail, _pong
    cdef bytearray _out
    cdef list _chunks
    cdef object _queue, _owed
    cdef bint _direct, _deaf, _masks, _congested
    cdef double _close_timeout, _deadline
    cdef readonly object role, state, ending, sent, received, violation
    cdef readonly str initiator
    cdef readonly bint is_open, failed

    cpdef get_buffer(self)
    cpdef buffer_updated(self, Py_ssize_t count, double now)
    @cython.locals(
        buffer=bytearray, frame=FrameReader, message=MessageReader, at=Py_ssize_t, stop=Py_ssize_t, size=Py_ssize_t,
        start=Py_ssize_t, length=Py_ssize_t, opcode=int, whole=bint,
    )
    cdef _read_frames(self, Py_ssize_t end, double now)
    @cython.locals(frame=FrameReader)
    cdef _payload_added(self, Py_ssize_t count)
    cdef _frame_finished(self)
    cpdef send(self, int opcode, payload)
    @cython.locals(out=bytearray)
    cpdef data_to_send(self)
    cpdef Py_ssize_t buffered_amount(self) except -1
    cpdef bint fill(self) except -1
    cpdef pause_writing(self)
    cpdef resume_writing(self)
    @cython.locals(out=bytearray, start=Py_ssize_t, size=Py_ssize_t)
    cdef Py_ssize_t _put(self, int opcode, payload) except -1
    cdef Py_ssize_t _put_large(self, int opcode, bytes payload) except -1
