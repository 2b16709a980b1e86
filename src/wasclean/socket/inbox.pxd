import cython

from .. cimport native
from ..dom.event cimport MessageEvent, new_message_event, reuse_message_event
from ..dom.event_target cimport Listeners
from .awaitables cimport CoroutineLike
from .eager_tasks cimport EagerFuture


@cython.final
cdef class Inbox:
    cdef object _limits, _loop, _messages, _resume
    cdef Py_ssize_t _size
    cdef EagerFuture _waiter
    cdef bint _had_listener
    cdef public Listeners listeners
    cdef public object report, target
    cdef public str origin
    cdef public bint makes_arrays, reads_on, streaming

    cpdef bint receive(self, message, bint is_open, double now) except -1
    @cython.locals(listeners=Listeners, event=MessageEvent)
    cdef bint _deliver(self, message, bint is_open, double now) except -1
    cpdef bint has_messages(self) except -1
    cdef bint _put(self, message, bint is_open) except -1
    cdef bint _has_room(self, message) except -1
    cpdef take(self)
    cpdef bint must_pause(self) except -1
    @cython.locals(recv=Recv)
    cpdef Recv recv(self, bint iterates)
    cpdef EagerFuture wait(self)
    cpdef bint is_awaited(self) except -1
    cpdef EagerFuture waiter(self)


@cython.final
cdef class Recv(CoroutineLike):
    cdef Inbox _inbox
    cdef bint _iterates

    cdef int begin(self, Inbox inbox, bint iterates) except -1
