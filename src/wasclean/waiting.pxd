import cython


@cython.final
cdef class Room:
    pass


cdef class Promise:
    cdef bint _done
    cdef object _value, _make, _error
    cdef list _futures
