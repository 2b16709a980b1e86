import cython

from .. cimport native
from ..connection cimport Application, Connection
from ..dom.event_target cimport Listeners
from ..wire.receiver cimport ReadBuffer
from .eager_tasks cimport EagerFuture
from .host cimport Host
from .inbox cimport Inbox

cdef Py_ssize_t LOW_WATER


@cython.final
cdef class Session(Application):
    cdef readonly Connection connection
    cdef public Host driver
    cdef readonly Inbox inbox
    cdef readonly object limits
    cdef public object context, handover, head, on_end, promises
    cdef readonly object report
    cdef public str extensions, protocol, url
    cdef readonly Py_ssize_t id
    cdef public unsigned long thread
    cdef public double now
    cdef readonly bint in_debug, settles
    cdef public bint opened

    cpdef bint is_elsewhere(self) except -1
    cpdef data_received(self, Py_ssize_t count, double now)
    @cython.locals(inbox=Inbox)
    cdef _after_read(self)
    cpdef schedule(self)
    @cython.locals(connection=Connection)
    cpdef settle(self)
