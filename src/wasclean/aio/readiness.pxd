cdef extern from *:
    """
    #ifdef __linux__
    #include <sys/epoll.h>
    #else  /* nobody makes a Readiness there */
    struct epoll_event { unsigned int events; union { int fd; } data; };
    #define epoll_wait(fd, found, most, timeout) -1
    #endif
    """
    ctypedef union epoll_data "epoll_data_t":
        int fd

    struct epoll_event:
        unsigned int events
        epoll_data data

    int epoll_wait(int fd, epoll_event* found, int most, int timeout) nogil


cdef class Readiness:
    cdef object _source
    cdef epoll_event* _found
    cdef int _count, _most, _number

    cpdef int look(self) except -1
    cpdef int number(self, int i) except -1
    cpdef int events(self, int i) except -1
    cdef int _check(self, int i) except -1
