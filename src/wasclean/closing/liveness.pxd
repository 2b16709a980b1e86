cdef class Liveness:
    # Limits.
    cdef object _timing, _rates
    cdef readonly bint is_metered
    # Pings and timeouts.
    cdef readonly double opened_at
    cdef readonly double deadline
    cdef double _slept
    cdef object _keepalive
    cdef bytes _ping
    # Congestion.
    cdef double _blocked_since
    cdef Py_ssize_t _blocked_backlog
    # Rates.
    cdef object _meter

    cpdef opened(self, double now, double slept)
    cpdef pong_received(self, bytes payload, double now)
    cpdef bint writing_paused(self, double now, Py_ssize_t backlog) except -1
    cpdef writing_resumed(self)
    cpdef count_ping(self, double now)
