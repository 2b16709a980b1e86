import cython

from ..wire.parcel cimport Parcel
from .websocket cimport WebSocket


@cython.locals(socket=WebSocket, parcel=Parcel, own=Parcel, chosen=list, missed=list)
cpdef list broadcast(sockets, message, slow=*, compress=*)
@cython.locals(socket=WebSocket)
cpdef _carry(list sockets, Parcel parcel, list counts)
