import cython

from .. cimport native


@cython.freelist(16)
cdef class EagerFuture:
    cdef object _loop, _callback, _context, _cancel_message
    cdef EagerTask _eager_task
    cdef public bint _asyncio_future_blocking
    cdef bint _is_done, _is_cancelled

    @cython.locals(eager_task=EagerTask)
    cpdef wake(self)
    cpdef result(self)
    cdef bint is_idle(self, loop) except -1
    cdef int wait_in(self, EagerTask eager_task) except -1


cdef class EagerTask(EagerFuture):
    cdef object _coroutine, _yielded, _error
    cdef readonly object task
    cdef EagerFuture _waiter
    cdef bint _is_ahead

    cdef step(self)
    @cython.locals(waiter=EagerFuture)
    cdef bint _waits_for(self, yielded) except -1
    cdef _await(self, yielded)
    cdef _catch_up(self, instead=*)
