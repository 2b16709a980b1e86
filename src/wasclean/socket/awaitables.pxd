import cython


cdef class CoroutineLike:
    pass


cdef class Later(CoroutineLike):
    pass


@cython.final
cdef class Room(Later):
    pass


cdef class Promise(Later):
    cdef bint _is_settled
    cdef object _loop, _value, _make, _error, _other
    cdef list _futures

    @cython.locals(promise=Promise)
    cpdef follow(self, other)
    cdef _wait(self)
    cdef list _waiting(self)
