# What compiled modules use in place of native.py: the same functions, without a call of Python's.

cdef extern from *:
    """
    #define wasclean_is_unshared(thing) (Py_REFCNT(thing) == 1)
    #define wasclean_stop_iteration(value) PyErr_SetObject(PyExc_StopIteration, value)
    """
    unsigned long get_ident "PyThread_get_thread_ident" () noexcept nogil
    bint is_unshared "wasclean_is_unshared" (object thing) noexcept
    void stop_iteration "wasclean_stop_iteration" (object value) noexcept
