import cython

from ..wire.prepared cimport PreparedMessage
from .websocket cimport WebSocket


@cython.locals(socket=WebSocket, prepared=PreparedMessage, own=PreparedMessage, chosen=list, missed=list)
cpdef list broadcast(sockets, message, slow=*, compress=*)
@cython.locals(socket=WebSocket)
cpdef _carry(list sockets, PreparedMessage prepared, list counts)
