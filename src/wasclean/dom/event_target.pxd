import cython

from .. cimport native
from .event cimport Event


cdef class Listener:
    cdef public object type
    cdef public object callback, function
    cdef public bint capture, once, attribute, removed


cdef class Listeners:
    cdef tuple _list
    cdef public object context

    @cython.locals(listener=Listener)
    cpdef bint has(self, str type) except -1
    cpdef fire(self, Event event, target)
    @cython.locals(listener=Listener, stopped=bint)
    cpdef dispatch(self, Event event)
    cpdef take_result(self, Event event, Listener listener, result)


cdef class EventTarget:
    cdef Listeners _listeners

    cpdef bint dispatchEvent(self, Event event) except -1
