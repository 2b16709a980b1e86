import cython

from .. cimport native
from .endpoint cimport Endpoint
from ..connection cimport Connection
from .stepping cimport Waiter
from .waiting cimport Promise, Room

cdef int TEXT, BINARY
cdef Py_ssize_t HIGH_WATER


cdef class WebSocket(Endpoint):
    @cython.locals(opcode=int, connection=Connection, amount=Py_ssize_t)
    cpdef send(self, data, compress=*)


@cython.freelist(16)
cdef class Recv:
    cdef WebSocket _socket
    cdef bint _iterates


@cython.locals(recv=Recv)
cdef Recv _new_recv(WebSocket socket, bint iterates)
@cython.locals(socket=WebSocket)
cpdef WebSocket new_client(target)
@cython.locals(socket=WebSocket)
cpdef WebSocket new_server(request, limits, on_end, context)
