import cython


@cython.freelist(16)
cdef class Waiter:
    cdef public bint _asyncio_future_blocking
    cdef object _loop, _callback, _context, _cancel_message
    cdef bint _done, _cancelled

    cpdef wake(self)
    cpdef result(self)


@cython.final
cdef class Room:
    pass


cdef class Promise:
    cdef bint _done
    cdef object _value, _error
    cdef list _futures
