"""What an epoll has found; the contract is that of readiness.py."""

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.errno cimport EINTR, errno

import os


cdef class Readiness:
    def __cinit__(self, source, int most):
        self._source = source  # so that the number stays its own
        self._number = source.fileno()
        self._most = most
        self._found = <epoll_event*>PyMem_Malloc(most * sizeof(epoll_event))
        if self._found == NULL:
            raise MemoryError

    def __dealloc__(self):
        PyMem_Free(self._found)

    cpdef int look(self) except -1:
        self._count = epoll_wait(self._number, self._found, self._most, 0)
        if self._count < 0:
            self._count = 0
            if errno != EINTR:
                raise OSError(errno, os.strerror(errno))
        return self._count

    cpdef int number(self, int i) except -1:
        self._check(i)
        return self._found[i].data.fd

    cpdef int events(self, int i) except -1:
        self._check(i)
        return self._found[i].events

    cdef int _check(self, int i) except -1:
        if not 0 <= i < self._count:
            raise IndexError(f"there are {self._count} events, and not the one with index {i}")
        return 0
