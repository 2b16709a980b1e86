import cython


cdef class Later:
    pass


@cython.final
cdef class Room(Later):
    pass


cdef class Promise(Later):
    cdef bint _done
    cdef object _loop, _value, _make, _error, _other
    cdef list _futures

    @cython.locals(promise=Promise)
    cpdef follow(self, other)
    cdef _wait(self)
