cdef class Protocol:
    cpdef get_buffer(self, sizehint)
    cpdef buffer_updated(self, Py_ssize_t count)
    cpdef pause_writing(self)
    cpdef resume_writing(self)
    cpdef bint is_amid_frame(self) except -1


cdef class ForeignProtocol(Protocol):
    cdef readonly object inner, transport


cdef class Transport:
    cdef public Protocol _protocol  # public for LoopTransport, which is not compiled

    cpdef set_protocol(self, protocol)
    cpdef write(self, data, bint more=*)
    cpdef writelines(self, list chunks)
    cpdef Py_ssize_t get_write_buffer_size(self) except -1
    cpdef ready(self, int events)
