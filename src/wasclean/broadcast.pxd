import cython

from .protocol.parcel cimport Parcel
from .websocket cimport WebSocket


@cython.locals(socket=WebSocket, chosen=list, missed=list)
cpdef list broadcast(sockets, message, slow=*, compress=*)
@cython.locals(socket=WebSocket)
cpdef list _pass_on(list sockets, Parcel parcel, bint closes)
