import cython


cdef class Alarms:
    cdef object _loop
    cdef dict _due

    @cython.locals(tick=Py_ssize_t, entry=tuple, sleepers=set)
    cpdef Py_ssize_t set(self, sleeper, double when, double now, Py_ssize_t before=*) except -1
    @cython.locals(entry=tuple, sleepers=set)
    cpdef cancel(self, sleeper, Py_ssize_t tick)
