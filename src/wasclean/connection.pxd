import cython

from .closing.handshake cimport ClosingHandshake
from .wire cimport octets
from .dom.events cimport Application
from .wire.frames cimport FrameLog, FrameReader
from .wire.messages cimport MessageReader
from .wire.parcel cimport Parcel
from .wire.sender cimport ReadBuffer, Sender

cdef int TEXT, PING, PONG, CLOSE, CONTROL, FIN, RSV1
cdef Py_ssize_t READ_SIZE
cdef Application _NOBODY


cdef class Connection:
    cdef Application _application
    cdef ReadBuffer _buffer
    cdef FrameReader _frame
    cdef FrameLog _log
    cdef MessageReader _message
    cdef Sender _sender
    cdef Py_ssize_t _remaining, _congestion
    cdef bytes _tail, _ping
    cdef object _timing, _keepalive, _rates, _meter
    cdef bint _direct, _discards, _metered
    cdef double _open_deadline, _slept
    cdef double _opened_at, _received_at, _sent_at, _message_at, _congested_since
    cdef readonly ClosingHandshake closing
    cdef readonly object role, rtt
    cdef readonly bint is_open
    cdef readonly Py_ssize_t discarded, bytes_received, messages_received

    cpdef touch(self, double now)
    @cython.locals(message=MessageReader)
    cpdef get_buffer(self)
    cpdef buffer_updated(self, Py_ssize_t count, double now)
    cpdef bint is_amid_frame(self) except -1
    @cython.locals(buffer=bytearray, frame=FrameReader, at=Py_ssize_t, end=Py_ssize_t, size=Py_ssize_t)
    cpdef bint finds_close(self, bytes data) except -1
    @cython.locals(
        buffer=bytearray, frame=FrameReader, message=MessageReader, log=FrameLog, at=Py_ssize_t, stop=Py_ssize_t,
        size=Py_ssize_t, start=Py_ssize_t, length=Py_ssize_t, opcode=int, kind=int, whole=bint,
    )
    cdef _read_frames(self, Py_ssize_t end, double now)
    @cython.locals(frame=FrameReader)
    cdef _payload_added(self, Py_ssize_t count)
    cdef _payload_passed(self, Py_ssize_t count)
    cdef _frame_finished(self)
    cpdef Py_ssize_t send(self, int opcode, payload, compress=*) except -1
    cpdef bytes take(self, Parcel parcel, double now)
    cpdef data_to_send(self)
    cpdef Py_ssize_t buffered_amount(self) except -1
    cpdef bint fill(self) except -1
    cpdef bint yields(self) except -1
    cpdef resume_writing(self)
    cpdef end_of_tcp(self)
    @cython.locals(closing=ClosingHandshake)
    cdef _carry_out(self, step, double now)
