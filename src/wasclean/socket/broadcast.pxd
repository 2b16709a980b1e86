import cython

from ..connection cimport Connection
from ..wire.prepared cimport PreparedMessage
from .host cimport Host
from .session cimport Session
from .websocket cimport WebSocket, session_of

cdef Py_ssize_t HIGH_WATER


@cython.locals(socket=WebSocket, session=Session, prepared=PreparedMessage, own=PreparedMessage, chosen=list, missed=list)
cpdef list broadcast(sockets, message, slow=*, compress=*)
@cython.locals(session=Session)
cpdef _write_handed_over(list sessions, PreparedMessage prepared)
@cython.locals(connection=Connection, amount=Py_ssize_t)
cdef bint _send(Session session, PreparedMessage prepared, bint closes) except -1
@cython.locals(connection=Connection, driver=Host, frame=bytes)
cdef _write(Session session, PreparedMessage prepared)
