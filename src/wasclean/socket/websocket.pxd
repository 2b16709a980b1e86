import cython

from .. cimport native
from ..connection cimport Connection
from ..dom.event_target cimport EventTarget, Listeners
from .session cimport Session

cdef int TEXT, BINARY
cdef Py_ssize_t HIGH_WATER


cdef class WebSocket(EventTarget):
    cdef object __weakref__
    cdef Session _session
    cdef bint _is_page

    @cython.locals(session=Session, connection=Connection, opcode=int, amount=Py_ssize_t)
    cpdef send(self, data, compress=*)


@cython.locals(socket=WebSocket)
cpdef WebSocket new_websocket()
cpdef attach(WebSocket socket, Session session, context)
cpdef Session session_of(WebSocket socket)
