import cython


cdef class Later:
    pass


@cython.final
cdef class Room(Later):
    pass


cdef class Promise(Later):
    cdef bint _done
    cdef object _value, _make, _error
    cdef list _futures

    cdef _wait(self)
