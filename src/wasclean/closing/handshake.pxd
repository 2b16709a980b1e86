import cython


cdef class ClosingHandshake:
    # Progress.
    cdef readonly object state
    cdef readonly double deadline
    cdef double _close_timeout
    cdef bint _had_grace
    # How TCP ends.
    cdef readonly object ending
    cdef bint _reset
    # Close frames.
    cdef readonly object outgoing, sent, received
    cdef bint _blocked
    # Blame.
    cdef readonly object initiator, why, error
    cdef readonly bint failed

    cpdef established(self, double now)
    cpdef close(self, frame, double now, why, timeout=*)
    cpdef close_queued(self, double now)
    cpdef receive(self, frame, double now, str detail=*)
    cpdef terminate(self, double now, why, bint reset=*)
    cpdef time_up(self, double now)
    cpdef flushed(self)
    cpdef writing_paused(self)
    cpdef writing_resumed(self)
    cpdef eof(self, double now, why)
    cpdef lost(self, double now, why=*)
    cpdef end_of_tcp(self, bint flushed, bint closes_first)
    cdef _on(self, trigger, double now, why=*, frame=*, timeout=*)
    cdef _blame(self, before, trigger, state, why)
    @cython.locals(deadline=double)
    cdef _set_deadline(self, before, double now, timeout)
    cdef bint _crossed(self, frame) except -1
