import cython

from .closing.handshake cimport ClosingHandshake
from .closing.liveness cimport Liveness
from .wire.frames cimport FrameLog
from .wire.prepared cimport PreparedMessage
from .wire.receiver cimport ControlFrame, ReadBuffer, Receiver
from .wire.sender cimport Sender

cdef int PING, PONG, CLOSE
cdef Application _NOBODY


cdef class Application:
    cpdef message_received(self, message)
    cpdef pong_received(self, bytes payload)
    cpdef deliver_queued(self)
    cpdef state_changed(self)


cdef class Connection:
    cdef readonly object role
    # The parts.
    cdef readonly Receiver receiver
    cdef readonly Sender sender
    cdef readonly ClosingHandshake closing
    cdef Liveness _liveness
    cdef Application _application
    cdef FrameLog _log
    # Derived from closing.state, for speed.
    cdef readonly bint is_open
    cdef double _message_at
    cdef readonly object rtt

    cpdef touch(self, double now)
    @cython.locals(receiver=Receiver)
    cpdef buffer_updated(self, Py_ssize_t count, double now)
    cdef _control_received(self, int opcode, bytes payload, double now)
    cpdef Py_ssize_t send(self, int opcode, payload, compress=*) except -1
    cpdef bytes take(self, PreparedMessage prepared, double now)
    cpdef bint fill(self) except -1
    cpdef data_to_send(self)
    cpdef resume_writing(self)
    cpdef bint yields(self) except -1
    cpdef Py_ssize_t buffered_amount(self) except -1
    cpdef end_of_tcp(self)
    @cython.locals(closing=ClosingHandshake)
    cdef _carry_out(self, step, double now)
    @cython.locals(receiver=Receiver, sender=Sender)
    cpdef stats(self, double now)
    @cython.locals(closing=ClosingHandshake)
    cpdef record(self, double now, Py_ssize_t held)
