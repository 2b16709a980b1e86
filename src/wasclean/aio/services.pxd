import cython
cimport cpython.time as time

from ..wire.receiver cimport ReadBuffer


cdef class Alarms:
    cdef object _loop
    cdef dict _due

    @cython.locals(tick=Py_ssize_t, entry=tuple, sleepers=set)
    cpdef Py_ssize_t set(self, sleeper, double when, double now, Py_ssize_t before=*) except -1
    @cython.locals(entry=tuple, sleepers=set)
    cpdef cancel(self, sleeper, Py_ssize_t tick)


cdef class Services:
    cdef readonly Alarms alarms
    cdef readonly ReadBuffer buffer
    cdef readonly object loop_state
    cdef bint _asks_loop

    cpdef double now(self, loop) except? -1
