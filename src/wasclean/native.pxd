# What compiled modules use in place of Python's module ``threading``: the same function, without a call of Python's.

cdef extern from "Python.h":
    unsigned long get_ident "PyThread_get_thread_ident" () noexcept nogil
