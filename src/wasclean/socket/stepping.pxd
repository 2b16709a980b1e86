import cython

from .. cimport native


@cython.freelist(16)
cdef class Waiter:
    cdef public bint _asyncio_future_blocking
    cdef object _loop, _callback, _context, _cancel_message
    cdef bint _done, _cancelled
    cdef Stepper _stepper

    @cython.locals(stepper=Stepper)
    cpdef wake(self)
    cpdef result(self)


cdef class Stepper(Waiter):
    cdef object _coroutine, _task, _yielded, _error
    cdef Waiter _waiter
    cdef bint _is_ahead

    cdef go_on(self)
    @cython.locals(waiter=Waiter)
    cdef bint _takes(self, yielded) except -1
    cdef _pass_on(self, yielded)
    cdef _catch_up(self, instead=*)
