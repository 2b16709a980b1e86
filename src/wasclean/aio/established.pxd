import cython

from ..connection cimport Connection
from ..socket.endpoint cimport Endpoint
from ..socket.host cimport Host  # of the endpoint
from .interface cimport Protocol, Transport

cdef Py_ssize_t MANY_MESSAGES, FLOOD_MESSAGES, FLOOD_READ_BYTES


cdef class Established(Protocol):
    cdef Endpoint _endpoint
    cdef Transport _transport
    cdef int _offered
    cdef bint _floods

    @cython.locals(endpoint=Endpoint)
    cpdef get_buffer(self, sizehint)
    @cython.locals(endpoint=Endpoint, connection=Connection, messages=Py_ssize_t)
    cpdef buffer_updated(self, Py_ssize_t count)
    @cython.locals(endpoint=Endpoint)
    cpdef bint is_amid_frame(self) except -1
    @cython.locals(endpoint=Endpoint)
    cpdef pause_writing(self)
    @cython.locals(endpoint=Endpoint)
    cpdef resume_writing(self)
