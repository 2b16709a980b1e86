from libc.stdint cimport uint32_t

cpdef uint32_t new_mask() except? 0
cpdef bint apply_mask(bytearray buffer, Py_ssize_t start, Py_ssize_t end, uint32_t mask, Py_ssize_t phase) except -1
cpdef bint move_unmasked(
    bytearray buffer, Py_ssize_t start, Py_ssize_t end, bytearray to, Py_ssize_t at, uint32_t mask, Py_ssize_t phase
) except -1
cpdef str get_text(bytearray buffer, Py_ssize_t start, Py_ssize_t end, uint32_t mask)
cpdef bytes get_bytes(bytearray buffer, Py_ssize_t start, Py_ssize_t end)
cpdef Py_ssize_t check_utf8(bytearray buffer, Py_ssize_t start, Py_ssize_t end) except -1
cpdef int grow(bytearray buffer, Py_ssize_t size) except -1
cpdef Py_ssize_t put_frame(bytearray out, Py_ssize_t at, int first, object payload, bint masked) except -1
cpdef bytes put_header(int first, Py_ssize_t size, bint masked)
cpdef view(payload, Py_ssize_t start, Py_ssize_t end)
cpdef bytes masked_frame(int first, payload, Py_ssize_t start, Py_ssize_t end)
cpdef int put_note(bytearray notes, Py_ssize_t at, double time, Py_ssize_t size, int kind) except -1
cpdef tuple get_note(bytearray notes, Py_ssize_t at)
cpdef Py_ssize_t send_now(int fd, bytes data, bint more) except? -1
cpdef Py_ssize_t receive_now(int fd, object room) except? -1
