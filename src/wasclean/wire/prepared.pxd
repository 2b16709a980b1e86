from . cimport octets

cdef int FIN, RSV1


cdef class PreparedMessage:
    cdef readonly int opcode
    cdef readonly object message, compress
    cdef readonly bytes payload
    cdef bytes _plain
    cdef dict _deflated

    cpdef bytes plain(self)
