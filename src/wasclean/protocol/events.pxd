import cython


cdef class Event:
    cdef str _type
    cdef object _target, _current_target
    cdef double _time_stamp
    cdef bint _bubbles, _cancelable, _composed
    cdef bint _default_prevented, _dispatching, _is_trusted, _propagation_stopped, _stopped


cdef class MessageEvent(Event):
    cdef object _data, _origin


cdef class CloseEvent(Event):
    cdef bint _was_clean
    cdef int _code
    cdef str _reason, _initiator
    cdef object _sent, _received, _exception


cdef class ErrorEvent(Event):
    cdef str _message
    cdef object _error


cdef class Listener:
    cdef readonly object callback
    cdef object function
    cdef readonly bint capture, once, attribute
    cdef bint removed


cdef class EventTarget:
    cdef dict _listeners

    cpdef bint dispatchEvent(self, Event event) except -1
    cdef int _dispatch(self, Event event) except -1
    @cython.locals(listener=Listener)
    cdef int _call_listeners(self, Event event, tuple listeners) except -1
    cpdef bint _listens(self, str type) except -1
