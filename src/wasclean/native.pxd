# What compiled modules use in place of native.py: the same functions, without a call of Python's.

cdef extern from *:
    """
    #define wasclean_is_unshared(thing) (Py_REFCNT(thing) == 1)
    #define wasclean_stop_iteration(value) PyErr_SetObject(PyExc_StopIteration, value)

    static inline PyObject *
    wasclean_call(PyObject *function, PyObject *argument, PyObject *context)
    {
        int entered = PyContext_Enter(context) == 0;
        PyObject *result;

        if (!entered)
            PyErr_Clear();
        result = PyObject_CallOneArg(function, argument);
        if (entered && PyContext_Exit(context) < 0)
            Py_CLEAR(result);
        return result;
    }

    static inline PyObject *
    wasclean_step(PyObject *coroutine, PyObject *context)
    {
        PyObject *result = NULL;
        PySendResult status;

        if (PyContext_Enter(context) < 0)
            return NULL;
        status = PyIter_Send(coroutine, Py_None, &result);
        if (status == PYGEN_RETURN) {
            PyObject *end = PyObject_CallOneArg(PyExc_StopIteration, result); /* which may be a tuple */
            Py_CLEAR(result);
            if (end != NULL) {
                PyErr_SetObject(PyExc_StopIteration, end);
                Py_DECREF(end);
            }
        }
        if (PyContext_Exit(context) < 0)
            Py_CLEAR(result);
        return result;
    }
    """
    unsigned long get_ident "PyThread_get_thread_ident" () noexcept nogil
    bint is_unshared "wasclean_is_unshared" (object thing) noexcept
    void stop_iteration "wasclean_stop_iteration" (object value) noexcept
    object call "wasclean_call" (object function, object argument, object context)
    object step "wasclean_step" (object coroutine, object context)
