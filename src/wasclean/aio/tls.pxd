import cython

cdef Py_ssize_t PIECE


cdef class TLS:
    cdef object _engine, _incoming, _inner, _outgoing
    cdef Py_ssize_t _gross
    cdef readonly Py_ssize_t sealed
    cdef bint _more
    cdef readonly bint ended, established
    cdef public object error

    cpdef bint shake_hands(self) except -1
    cpdef feed(self, data)
    cpdef bint holds(self) except -1
    @cython.locals(size=Py_ssize_t, count=Py_ssize_t)
    cpdef Py_ssize_t read(self, room) except -1
    cpdef seal(self, data)
    cdef list _seal_all(self, list chunks)
    cdef bytes _seal_record(self, data)
    @cython.locals(last=Py_ssize_t)
    cpdef Py_ssize_t unread(self, Py_ssize_t left) except -1
    cpdef bytes take(self)
    cpdef end(self)
