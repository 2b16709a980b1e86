import cython

from .. cimport native


cdef class Event:
    cdef str _type
    cdef object _target, _current_target
    cdef double _time_stamp
    cdef bint _bubbles, _cancelable, _composed
    cdef bint _default_prevented, _dispatching, _is_trusted, _propagation_stopped, _stopped

    cdef int _aim(self, target, bint trusted) except -1
    cdef int _begin_dispatch(self) except -1
    cdef int _end_dispatch(self) except -1


cdef class MessageEvent(Event):
    cdef object _data
    cdef str _origin

    cdef int _initialize(self, target, data, str origin, double now) except -1
    cdef int _clear(self) except -1


cdef MessageEvent _spare

@cython.locals(event=MessageEvent)
cpdef MessageEvent new_message_event(object target, object data, str origin, double now)
cpdef reuse_message_event(MessageEvent event)
