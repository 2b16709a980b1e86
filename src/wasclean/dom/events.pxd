import cython

from .. cimport native


cdef class Event:
    cdef str _type
    cdef object _target, _current_target
    cdef double _time_stamp
    cdef bint _bubbles, _cancelable, _composed
    cdef bint _default_prevented, _dispatching, _is_trusted, _propagation_stopped, _stopped


cdef class MessageEvent(Event):
    cdef object _data
    cdef str _origin


cdef MessageEvent _spare

@cython.locals(event=MessageEvent)
cpdef MessageEvent new_message_event(object target, object data, str origin, double now)
cpdef reuse_message_event(MessageEvent event)


cdef class Listener:
    cdef public object callback, function
    cdef public bint capture, once, attribute, removed


cdef class Application:
    cpdef _message_received(self, message)
    cpdef _pong_received(self, bytes payload)
    cpdef _deliver_queued(self)
    cpdef _state_changed(self)


cdef class EventTarget(Application):
    cdef readonly object _context
    cdef dict _listeners

    cpdef bint dispatchEvent(self, Event event) except -1
    cpdef _fire(self, Event event)
    cdef int _dispatch(self, Event event) except -1
    @cython.locals(listener=Listener, stopped=bint)
    cdef int _call_listeners(self, Event event, tuple listeners) except -1
    cpdef _take_result(self, Event event, Listener listener, result)
    cpdef bint _listens(self, str type) except -1
