"""Primitives for bytes: masking, UTF-8, frames. The pure build uses this file, the compiled build octets.pyx.

``start`` and ``end`` are offsets into a bytearray; ``end`` is exclusive. Offsets out of range raise IndexError.
"""

from __future__ import annotations

import os
from codecs import utf_8_decode
from errno import EAGAIN, EINTR, EIO
from struct import Struct
from typing import Any

COMPILED = False

_NOTE = Struct("<dIB3x")

_masks = b""


def _no_bytes(buffer: bytearray, start: int, end: int) -> IndexError:
    return IndexError(f"no bytes {start} to {end} in a buffer of {len(buffer)}")


def _forget_masks() -> None:
    global _masks
    _masks = b""


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_masks)  # parent and child must not use the same masks


def new_mask() -> int:
    """Return an unpredictable masking key: an int whose lowest byte is sent first (RFC 6455 section 5.3)."""
    global _masks
    if not _masks:
        _masks = os.urandom(4096)
    mask, _masks = _masks[:4], _masks[4:]
    return int.from_bytes(mask, "little")


def apply_mask(buffer: bytearray, start: int, end: int, mask: int, phase: int) -> bool:
    """Mask or unmask ``buffer[start:end]`` in place. Return True if the result is ASCII.

    Args:
        mask: the masking key, lowest byte first.
        phase: the offset of the first byte in its payload, or that offset modulo 4.
    """
    made = buffer[start:end] = _unmasked(buffer, start, end, mask, phase)
    return made.isascii()


def _unmasked(buffer: bytearray, start: int, end: int, mask: int, phase: int) -> bytes:
    if not 0 <= start <= end <= len(buffer):
        raise _no_bytes(buffer, start, end)
    size = end - start
    phase &= 3
    key = (mask.to_bytes(4, "little") * ((size + phase >> 2) + 1))[phase : phase + size]
    return (int.from_bytes(buffer[start:end], "little") ^ int.from_bytes(key, "little")).to_bytes(size, "little")


def move_unmasked(buffer: bytearray, start: int, end: int, to: bytearray, at: int, mask: int, phase: int) -> bool:
    """Unmask ``buffer[start:end]`` into another bytearray, from its offset ``at``. Return True if the result is ASCII.

    The contents of ``buffer[start:end]`` are undefined afterwards. ``mask`` and ``phase`` are those of apply_mask().
    """
    made = _unmasked(buffer, start, end, mask, phase)
    if not 0 <= at <= len(to) - len(made):
        raise _no_bytes(to, at, at + len(made))
    to[at : at + len(made)] = made
    return made.isascii()


def get_text(buffer: bytearray, start: int, end: int, mask: int) -> str:
    """Unmask and decode ``buffer[start:end]``; a mask of 0 means that it is not masked.

    The contents of ``buffer[start:end]`` are undefined afterwards.

    Raises:
        UnicodeDecodeError: the bytes are not UTF-8.
    """
    if mask:
        return _unmasked(buffer, start, end, mask, 0).decode()
    if not 0 <= start <= end <= len(buffer):
        raise _no_bytes(buffer, start, end)
    return str(memoryview(buffer)[start:end], "utf-8")


def get_bytes(buffer: bytearray, start: int, end: int) -> bytes:
    """Return ``buffer[start:end]`` as bytes."""
    if not 0 <= start <= end <= len(buffer):
        raise _no_bytes(buffer, start, end)
    return bytes(memoryview(buffer)[start:end])


def check_utf8(buffer: bytearray, start: int, end: int) -> int:
    """Return the offset of the end of the last complete character in ``buffer[start:end]``.

    Raises:
        UnicodeDecodeError: the bytes are not the beginning of UTF-8, whatever follows them.
    """
    if not 0 <= start <= end <= len(buffer):
        raise _no_bytes(buffer, start, end)
    complete = start + utf_8_decode(memoryview(buffer)[start:end], "strict", False)[1]
    if end - complete == 2 and buffer[complete] == 0xED and buffer[complete + 1] >= 0xA0:
        # Two bytes of a surrogate: Python's decoder would take them as incomplete, and raise at the next byte only.
        get_text(buffer, complete, end, 0)
    return complete


def grow(buffer: bytearray, size: int) -> None:
    """Extend a bytearray to ``size`` bytes, unless it is that long. The contents of the new bytes are undefined.

    Raises:
        BufferError: a memoryview of the bytearray exists.
    """
    buffer.extend(bytes(max(size - len(buffer), 0)))


def put_frame(out: bytearray, at: int, first: int, payload: str | bytes, masked: bool) -> int:
    """Write a frame into ``out`` from offset ``at``, overwriting and extending it as needed.

    Args:
        first: the first byte of the frame: FIN, reserved bits and opcode.
        payload: the payload, unmasked; a str is encoded as UTF-8.
        masked: if True, mask the payload with a new masking key.

    Returns:
        The offset of the end of the frame.

    Raises:
        UnicodeEncodeError: the str contains lone surrogates. ``out`` may be longer, but its contents are unchanged.
    """
    if not 0 <= at <= len(out):
        raise _no_bytes(out, at, at)
    if isinstance(payload, str):
        payload = payload.encode()
    size = len(payload)
    header = put_header(first, size, masked) if masked or size > 125 else bytes((first, size))
    body = at + len(header)
    if masked:
        mask = new_mask()
        out[at : body + 4 + size] = b"".join((header, mask.to_bytes(4, "little"), payload))
        apply_mask(out, body + 4, body + 4 + size, mask, 0)
        return body + 4 + size
    out[at : body + size] = header + payload
    return body + size


def put_header(first: int, size: int, masked: bool) -> bytes:
    """Return a frame header up to the masking key, with the shortest form of the length (RFC 6455 section 5.2)."""
    bit = 0x80 if masked else 0
    if size < 126:
        return bytes((first, bit | size))
    if size < 1 << 16:
        return bytes((first, bit | 126)) + size.to_bytes(2, "big")
    return bytes((first, bit | 127)) + size.to_bytes(8, "big")


def view(payload: str | bytes, start: int, end: int) -> Any:
    """Return ``payload[start:end]`` as a bytes-like object. A str must be ASCII. The compiled build does not copy."""
    if isinstance(payload, str):
        return payload[start:end].encode("ascii")
    return memoryview(payload)[start:end] if end - start < len(payload) else payload


def masked_frame(first: int, payload: str | bytes, start: int, end: int) -> bytes:
    """Return a masked frame with ``payload[start:end]``. A str must be ASCII. The compiled build copies only once."""
    frame = bytearray()
    put_frame(frame, 0, first, payload[start:end], True)
    return bytes(frame)


#: put_note(notes, at, time, size, kind) writes an entry of a FrameLog at offset ``at``: a float, a size below 2**32 and
#: a byte, 16 bytes in all. get_note(notes, at) returns the tuple. Both raise struct.error for an offset out of range.
put_note = _NOTE.pack_into
get_note = _NOTE.unpack_from


def send_now(fd: int, data: bytes, more: bool) -> int:
    """Call send() for a non-blocking socket.

    Args:
        more: True if more follows at once, such as the FIN, that should share a packet with these bytes (MSG_MORE).

    Returns:
        The number of bytes that the kernel has accepted, possibly 0; or the negated errno.
    """
    try:
        return os.write(fd, data)
    except OSError as error:
        return 0 if error.errno in (EAGAIN, EINTR, None) else -error.errno


def receive_now(fd: int, room: memoryview) -> int:
    """Call recv() for a non-blocking socket.

    Args:
        room: contiguous and writable memory.

    Returns:
        The number of bytes received, 0 at the end of the stream; or the negated errno.
    """
    try:
        return os.readv(fd, [room])
    except OSError as error:
        return -(error.errno or EIO)
