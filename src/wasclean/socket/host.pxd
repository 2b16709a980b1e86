cdef class Host:
    cpdef double time(self) except? -1
    cpdef write(self, data, bint last=*)
