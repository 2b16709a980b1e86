# The functions of native.py for compiled modules, in C. The contracts are those of native.py.

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
            PyObject *end = PyObject_CallOneArg(PyExc_StopIteration, result); /* PyErr_SetObject unpacks a tuple */
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

    /* inspect and help() expect tp_doc to be: name, signature, a line of two dashes, an empty line, the docstring. */
    static inline int
    wasclean_sign(PyObject *cls, PyObject *signature)
    {
        PyTypeObject *type = (PyTypeObject *)cls;
        const char *dot = strrchr(type->tp_name, '.');
        const char *text;
        PyObject *doc;

        if (type->tp_flags & Py_TPFLAGS_HEAPTYPE)
            return 0; /* a heap type frees its tp_doc, so it must not be replaced */
        doc = PyUnicode_FromFormat("%s%U\\n--\\n\\n%s", dot ? dot + 1 : type->tp_name, signature,
                                   type->tp_doc ? type->tp_doc : "");
        text = doc ? PyUnicode_AsUTF8(doc) : NULL;
        if (text == NULL) {
            Py_XDECREF(doc);
            return -1;
        }
        type->tp_doc = text; /* `doc` is never freed: a static type lives as long as the process */
        return 0;
    }
    """
    unsigned long get_ident "PyThread_get_thread_ident" () noexcept nogil
    bint is_unshared "wasclean_is_unshared" (object thing) noexcept
    void stop_iteration "wasclean_stop_iteration" (object value) noexcept
    object call "wasclean_call" (object function, object argument, object context)
    object step "wasclean_step" (object coroutine, object context)
    int sign "wasclean_sign" (object cls, object signature) except -1
