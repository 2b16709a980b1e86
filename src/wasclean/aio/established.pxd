import cython

from ..connection cimport Connection
from ..socket.session cimport Session
from ..socket.host cimport Host  # of the session
from .interface cimport Protocol, Transport

cdef Py_ssize_t MANY_MESSAGES, FLOOD_MESSAGES, FLOOD_READ_BYTES


cdef class Established(Protocol):
    cdef Session _session
    cdef Transport _transport
    cdef int _offered
    cdef bint _floods

    @cython.locals(session=Session)
    cpdef get_buffer(self, sizehint)
    @cython.locals(session=Session, connection=Connection, messages=Py_ssize_t)
    cpdef buffer_updated(self, Py_ssize_t count)
    @cython.locals(session=Session)
    cpdef bint is_amid_frame(self) except -1
    @cython.locals(session=Session)
    cpdef pause_writing(self)
    @cython.locals(session=Session)
    cpdef resume_writing(self)
