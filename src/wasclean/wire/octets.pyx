# cython: boundscheck=False, wraparound=False, cdivision=True
"""Primitives for bytes: masking, UTF-8, frames. The compiled build uses this file, the pure build octets.py.

The contracts of the public functions are in octets.py.
"""

import os
import struct

from cpython.buffer cimport PyBuffer_FillInfo
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE, PyByteArray_Resize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.memoryview cimport PyMemoryView_GET_BUFFER
from cpython.unicode cimport PyUnicode_DecodeUTF8, PyUnicode_DecodeUTF8Stateful
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy


cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL
    str PyUnicode_New(Py_ssize_t size, Py_UCS4 max_character)
    void* PyUnicode_DATA(object text) noexcept


cdef extern from *:
    """
    #ifdef _WIN32
    #define wasclean_send(fd, data, size, more) 0
    #define wasclean_receive(fd, data, size) 0
    #else
    #include <sys/socket.h>
    #ifndef MSG_NOSIGNAL
    #define MSG_NOSIGNAL 0  /* Python ignores SIGPIPE anyway */
    #endif
    #ifndef MSG_MORE
    #define MSG_MORE 0  /* then the bytes get a packet of their own */
    #endif
    #define wasclean_send(fd, data, size, more) send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL | (more ? MSG_MORE : 0))
    #define wasclean_receive(fd, data, size) recv(fd, data, size, MSG_DONTWAIT)
    #endif
    """
    Py_ssize_t wasclean_send(int fd, const char* data, Py_ssize_t size, bint more) nogil
    Py_ssize_t wasclean_receive(int fd, void* data, Py_ssize_t size) nogil


COMPILED = True

cdef bytes _masks = b""
cdef Py_ssize_t _next_mask = 0


cdef int _check(bytearray buffer, Py_ssize_t start, Py_ssize_t end) except -1:
    if not 0 <= start <= end <= PyByteArray_GET_SIZE(buffer):
        raise IndexError(f"no bytes {start} to {end} in a buffer of {len(buffer)}")
    return 0


def _forget_masks():
    global _masks, _next_mask
    _masks = b""
    _next_mask = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_masks)  # parent and child must not use the same masks


cpdef uint32_t new_mask() except? 0:
    """Return an unpredictable masking key; see octets.py."""
    global _masks, _next_mask
    cdef const uint8_t* p
    if _next_mask + 4 > PyBytes_GET_SIZE(_masks):
        _masks = os.urandom(4096)
        _next_mask = 0
    p = <const uint8_t*>PyBytes_AS_STRING(_masks) + _next_mask
    _next_mask += 4
    return p[0] | <uint32_t>p[1] << 8 | <uint32_t>p[2] << 16 | <uint32_t>p[3] << 24


cdef Py_ssize_t _put_mask(uint8_t* p, uint32_t mask) noexcept nogil:
    cdef int i
    for i in range(4):
        p[i] = <uint8_t>(mask >> 8 * i)
    return 4


cdef uint64_t _put_key(uint8_t* key, uint32_t mask) noexcept nogil:
    """Write the masking key twice, and return these 8 bytes as a word in native byte order."""
    cdef uint64_t wide
    _put_mask(key, mask)
    _put_mask(key + 4, mask)
    memcpy(&wide, key, 8)
    return wide


# _xor() and _xor_into() have the same loop. For pointers that may be equal the compiler could not vectorize it.


cdef uint8_t _xor(uint8_t* p, Py_ssize_t size, uint32_t mask) noexcept nogil:
    """Mask or unmask in place. Return a value below 0x80 if and only if all resulting bytes are ASCII."""
    cdef uint8_t key[8]
    cdef uint8_t seen = 0
    cdef uint64_t word, all_seen = 0, wide = _put_key(key, mask)
    cdef Py_ssize_t i = 0
    while i + 8 <= size:
        memcpy(&word, p + i, 8)
        word ^= wide
        all_seen |= word
        memcpy(p + i, &word, 8)
        i += 8
    while i < size:
        p[i] ^= key[i & 7]
        seen |= p[i]
        i += 1
    return seen | (0x80 if all_seen & <uint64_t>0x8080808080808080 else 0)


cdef uint8_t _xor_into(uint8_t* out, const uint8_t* p, Py_ssize_t size, uint32_t mask) noexcept nogil:
    """Mask or unmask into other memory, which must not overlap. The result is that of _xor()."""
    cdef uint8_t key[8]
    cdef uint8_t byte, seen = 0
    cdef uint64_t word, all_seen = 0, wide = _put_key(key, mask)
    cdef Py_ssize_t i = 0
    while i + 8 <= size:
        memcpy(&word, p + i, 8)
        word ^= wide
        all_seen |= word
        memcpy(out + i, &word, 8)
        i += 8
    while i < size:
        byte = p[i] ^ key[i & 7]
        seen |= byte
        out[i] = byte
        i += 1
    return seen | (0x80 if all_seen & <uint64_t>0x8080808080808080 else 0)


cdef uint32_t _turned(uint32_t mask, Py_ssize_t phase) noexcept nogil:
    """Rotate the masking key so that it starts with the byte for offset ``phase``."""
    cdef int turn = 8 * (phase & 3)
    return mask >> turn | mask << 32 - turn if turn else mask


cpdef bint apply_mask(bytearray buffer, Py_ssize_t start, Py_ssize_t end, uint32_t mask, Py_ssize_t phase) except -1:
    """Mask or unmask ``buffer[start:end]`` in place; see octets.py."""
    _check(buffer, start, end)
    return _xor(<uint8_t*>PyByteArray_AS_STRING(buffer) + start, end - start, _turned(mask, phase)) < 0x80


cpdef bint move_unmasked(
    bytearray buffer, Py_ssize_t start, Py_ssize_t end, bytearray to, Py_ssize_t at, uint32_t mask, Py_ssize_t phase
) except -1:
    """Unmask ``buffer[start:end]`` into another bytearray; see octets.py."""
    _check(buffer, start, end)
    _check(to, at, PyByteArray_GET_SIZE(to))
    _check(to, at, at + (end - start))
    cdef uint8_t* target = <uint8_t*>PyByteArray_AS_STRING(to) + at
    return _xor_into(target, <uint8_t*>PyByteArray_AS_STRING(buffer) + start, end - start, _turned(mask, phase)) < 0x80


cpdef str get_text(bytearray buffer, Py_ssize_t start, Py_ssize_t end, uint32_t mask):
    """Unmask and decode ``buffer[start:end]``; see octets.py. ASCII is unmasked straight into the memory of the str."""
    _check(buffer, start, end)
    cdef uint8_t* p = <uint8_t*>PyByteArray_AS_STRING(buffer) + start
    cdef Py_ssize_t size = end - start
    if size == 0:
        return ""
    cdef str text = PyUnicode_New(size, 127)
    if _xor_into(<uint8_t*>PyUnicode_DATA(text), p, size, mask) < 0x80:
        return text
    if mask:
        _xor(p, size, mask)
    return PyUnicode_DecodeUTF8(<char*>p, size, NULL)


cpdef bytes get_bytes(bytearray buffer, Py_ssize_t start, Py_ssize_t end):
    """Return ``buffer[start:end]`` as bytes."""
    _check(buffer, start, end)
    return PyBytes_FromStringAndSize(PyByteArray_AS_STRING(buffer) + start, end - start)


cdef Py_ssize_t _ascii(const uint8_t* p, Py_ssize_t size) noexcept nogil:
    """Return the length of an ASCII prefix, in whole blocks of 64 bytes: the decoder can skip it."""
    cdef uint64_t word, seen
    cdef Py_ssize_t i = 0, j
    while i + 64 <= size:
        seen = 0
        for j in range(8):
            memcpy(&word, p + i + 8 * j, 8)
            seen |= word
        if seen & <uint64_t>0x8080808080808080:
            break
        i += 64
    return i


cpdef Py_ssize_t check_utf8(bytearray buffer, Py_ssize_t start, Py_ssize_t end) except -1:
    """Return the offset of the end of the last complete character in ``buffer[start:end]``; see octets.py."""
    cdef Py_ssize_t consumed = 0
    cdef const uint8_t* rest
    _check(buffer, start, end)
    start += _ascii(<uint8_t*>PyByteArray_AS_STRING(buffer) + start, end - start)
    PyUnicode_DecodeUTF8Stateful(PyByteArray_AS_STRING(buffer) + start, end - start, NULL, &consumed)
    rest = <const uint8_t*>PyByteArray_AS_STRING(buffer) + start + consumed
    if end - start - consumed == 2 and rest[0] == 0xED and rest[1] >= 0xA0:
        get_text(buffer, start + consumed, end, 0)  # two bytes of a surrogate: see octets.py
    return start + consumed


cpdef int grow(bytearray buffer, Py_ssize_t size) except -1:
    """Extend a bytearray to ``size`` bytes, unless it is that long; see octets.py."""
    if size > PyByteArray_GET_SIZE(buffer):
        PyByteArray_Resize(buffer, size)
    return 0


cdef Py_ssize_t _header(uint8_t* p, int first, Py_ssize_t size, bint masked) noexcept nogil:
    cdef int i, bit = 0x80 if masked else 0
    p[0] = <uint8_t>first
    if size < 126:
        p[1] = <uint8_t>(bit | size)
        return 2
    if size < 1 << 16:
        p[1] = <uint8_t>(bit | 126)
        p[2] = <uint8_t>(size >> 8)
        p[3] = <uint8_t>size
        return 4
    p[1] = <uint8_t>(bit | 127)
    for i in range(8):
        p[2 + i] = <uint8_t>(<uint64_t>size >> 56 - 8 * i)
    return 10


cdef const char* _bytes_of(object payload, Py_ssize_t* size) except NULL:
    """Return the memory of a bytes object, or of the UTF-8 of a str; the object owns it."""
    if isinstance(payload, str):
        return PyUnicode_AsUTF8AndSize(payload, size)
    size[0] = PyBytes_GET_SIZE(<bytes?>payload)
    return PyBytes_AS_STRING(<bytes?>payload)


cpdef Py_ssize_t put_frame(bytearray out, Py_ssize_t at, int first, object payload, bint masked) except -1:
    """Write a frame into ``out`` from offset ``at``; see octets.py."""
    cdef const char* body
    cdef Py_ssize_t size
    cdef uint32_t mask = 0
    cdef uint8_t* p
    _check(out, at, at)
    body = _bytes_of(payload, &size)
    if masked:
        mask = new_mask()
    if at + 14 + size > PyByteArray_GET_SIZE(out):
        PyByteArray_Resize(out, max(at + 14 + size, 2 * PyByteArray_GET_SIZE(out)))
    p = <uint8_t*>PyByteArray_AS_STRING(out)
    at += _header(p + at, first, size, masked)
    if masked:
        at += _put_mask(p + at, mask)
        _xor_into(p + at, <const uint8_t*>body, size, mask)
    else:
        memcpy(p + at, body, size)
    return at + size


cpdef bytes put_header(int first, Py_ssize_t size, bint masked):
    """Return a frame header up to the masking key; see octets.py."""
    cdef uint8_t header[10]
    if size < 0:
        raise ValueError(f"a payload can't have {size} bytes")
    return PyBytes_FromStringAndSize(<char*>header, _header(header, first, size, masked))


cpdef bytes masked_frame(int first, payload, Py_ssize_t start, Py_ssize_t end):
    """Return a masked frame with ``payload[start:end]``, copied once; see octets.py."""
    cdef Py_ssize_t size
    cdef uint8_t header[14]
    cdef uint32_t mask = new_mask()
    cdef const char* body
    cdef bytes frame
    body = _bytes_of(payload, &size)
    if not 0 <= start <= end <= size:
        raise IndexError(f"no bytes {start} to {end} in a payload of {size}")
    size = _header(header, first, end - start, True)
    size += _put_mask(header + size, mask)
    frame = PyBytes_FromStringAndSize(NULL, size + end - start)
    memcpy(PyBytes_AS_STRING(frame), header, size)
    _xor_into(<uint8_t*>PyBytes_AS_STRING(frame) + size, <const uint8_t*>body + start, end - start, mask)
    return frame


cdef class _Text:
    """Exports the memory of an ASCII str through the buffer protocol."""

    cdef str text

    def __getbuffer__(self, Py_buffer* buffer, int flags):
        cdef Py_ssize_t size
        cdef const char* data = PyUnicode_AsUTF8AndSize(self.text, &size)
        PyBuffer_FillInfo(buffer, self, <void*>data, size, 1, flags)


cpdef view(payload, Py_ssize_t start, Py_ssize_t end):
    """Return ``payload[start:end]`` as a bytes-like object, without a copy; see octets.py."""
    cdef _Text text
    if isinstance(payload, bytes) and start == 0 and end == PyBytes_GET_SIZE(payload):
        return payload
    if isinstance(payload, str):
        text = _Text.__new__(_Text)
        text.text = payload
        payload = text
    return memoryview(payload)[start:end]


cdef struct Note:
    double time
    uint32_t size
    uint8_t kind


cdef int _check_note(bytearray notes, Py_ssize_t at) except -1:
    if not 0 <= at <= PyByteArray_GET_SIZE(notes) - <Py_ssize_t>sizeof(Note):
        raise struct.error(f"no entry from {at} in a log of {len(notes)} bytes")
    return 0


cpdef int put_note(bytearray notes, Py_ssize_t at, double time, Py_ssize_t size, int kind) except -1:
    """Write an entry of a FrameLog; see octets.py."""
    cdef Note note
    _check_note(notes, at)
    note.time = time
    note.size = <uint32_t>size
    note.kind = <uint8_t>kind
    memcpy(PyByteArray_AS_STRING(notes) + at, &note, sizeof(note))
    return 0


cpdef tuple get_note(bytearray notes, Py_ssize_t at):
    """Return an entry that put_note() has written."""
    cdef Note note
    _check_note(notes, at)
    memcpy(&note, PyByteArray_AS_STRING(notes) + at, sizeof(note))
    return note.time, note.size, note.kind


cpdef Py_ssize_t send_now(int fd, bytes data, bint more) except? -1:
    """Call send() for a non-blocking socket; see octets.py."""
    cdef Py_ssize_t sent = wasclean_send(fd, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), more)
    if sent < 0:
        return 0 if errno == EAGAIN or errno == EINTR else -errno
    return sent


cpdef Py_ssize_t receive_now(int fd, object room) except? -1:
    """Call recv() for a non-blocking socket; see octets.py."""
    cdef Py_buffer* buffer = PyMemoryView_GET_BUFFER(<memoryview?>room)
    cdef Py_ssize_t got = wasclean_receive(fd, buffer.buf, buffer.len)
    return -errno if got < 0 else got
