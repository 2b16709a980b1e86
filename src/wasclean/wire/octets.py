"""The few primitives that touch bytes one by one: this is their Python, octets.pyx their C.

All bounds are half-open offsets into a bytearray; a bound outside of it raises IndexError.
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
    os.register_at_fork(after_in_child=_forget_masks)  # two processes must not use the same masks


def new_mask() -> int:
    """A masking key nobody can predict, as an int whose lowest byte comes first (RFC 6455 section 5.3)."""
    global _masks
    if not _masks:
        _masks = os.urandom(4096)
    mask, _masks = _masks[:4], _masks[4:]
    return int.from_bytes(mask, "little")


def apply_mask(buffer: bytearray, start: int, end: int, mask: int, phase: int) -> bool:
    """Mask or unmask ``buffer[start:end]`` in place; returns whether all of it is ASCII then.

    Args:
        mask: the masking key, lowest byte first.
        phase: how many bytes of the same payload came before, of which only ``phase % 4`` matters.
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
    """Write ``buffer[start:end]``, unmasked, into another bytearray from offset ``at``; the rest is as in apply_mask().

    What is left in the buffer is not defined.
    """
    made = _unmasked(buffer, start, end, mask, phase)
    if not 0 <= at <= len(to) - len(made):
        raise _no_bytes(to, at, at + len(made))
    to[at : at + len(made)] = made
    return made.isascii()


def get_text(buffer: bytearray, start: int, end: int, mask: int) -> str:
    """``buffer[start:end]``, which is masked unless the mask is 0, as a str. What is left in the buffer is not defined.

    Raises:
        UnicodeDecodeError: that is not UTF-8.
    """
    if mask:
        return _unmasked(buffer, start, end, mask, 0).decode()
    if not 0 <= start <= end <= len(buffer):
        raise _no_bytes(buffer, start, end)
    return str(memoryview(buffer)[start:end], "utf-8")


def get_bytes(buffer: bytearray, start: int, end: int) -> bytes:
    """``buffer[start:end]`` as bytes."""
    if not 0 <= start <= end <= len(buffer):
        raise _no_bytes(buffer, start, end)
    return bytes(memoryview(buffer)[start:end])


def check_utf8(buffer: bytearray, start: int, end: int) -> int:
    """Where the last complete character of ``buffer[start:end]`` ends.

    Raises:
        UnicodeDecodeError: a byte there can't be part of UTF-8, whatever follows.
    """
    if not 0 <= start <= end <= len(buffer):
        raise _no_bytes(buffer, start, end)
    complete = start + utf_8_decode(memoryview(buffer)[start:end], "strict", False)[1]
    if end - complete == 2 and buffer[complete] == 0xED and buffer[complete + 1] >= 0xA0:
        get_text(buffer, complete, end, 0)  # half a surrogate: Python would wait for the other half, and then raise
    return complete


def grow(buffer: bytearray, size: int) -> None:
    """Make a bytearray longer, or leave it as it is; what the new bytes hold is not defined.

    Raises:
        BufferError: a memoryview of it is in use.
    """
    buffer.extend(bytes(max(size - len(buffer), 0)))


def put_frame(out: bytearray, at: int, first: int, payload: str | bytes, masked: bool) -> int:
    """Write a frame into ``out`` from offset ``at``; what stood there is overwritten, and ``out`` grows as needed.

    Args:
        first: the frame's first byte: FIN, reserved bits and opcode.
        payload: a str is written as UTF-8.
        masked: whether to mask it, with a new mask.

    Returns:
        The offset behind the frame.

    Raises:
        UnicodeEncodeError: a str has lone surrogates; ``out`` may have grown, and nothing else has changed.
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
    """The header of a frame without its mask: the length in as few bytes as will hold it (RFC 6455 section 5.2)."""
    bit = 0x80 if masked else 0
    if size < 126:
        return bytes((first, bit | size))
    if size < 1 << 16:
        return bytes((first, bit | 126)) + size.to_bytes(2, "big")
    return bytes((first, bit | 127)) + size.to_bytes(8, "big")


def view(payload: str | bytes, start: int, end: int) -> Any:
    """``payload[start:end]`` as something bytes-like; the compiled build does not copy it. A str must be ASCII."""
    if isinstance(payload, str):
        return payload[start:end].encode("ascii")
    return memoryview(payload)[start:end] if end - start < len(payload) else payload


def masked_frame(first: int, payload: str | bytes, start: int, end: int) -> bytes:
    """A frame with ``payload[start:end]``, masked, which the compiled build copies once. A str must be ASCII."""
    frame = bytearray()
    put_frame(frame, 0, first, payload[start:end], True)
    return bytes(frame)


#: put_note(notes, at, time, size, kind) writes an entry of a FrameLog from offset ``at``: a float, a size below
#: 2**32 and a byte, in 16 bytes. It raises struct.error if there is no room. get_note(notes, at) gives the tuple back.
put_note = _NOTE.pack_into
get_note = _NOTE.unpack_from


def send_now(fd: int, data: bytes, more: bool) -> int:
    """Hand bytes to a non-blocking socket without asking anybody.

    Args:
        more: whether something follows at once that is to share a packet with them, as the end of TCP can.

    Returns:
        How many bytes the kernel has taken, which may be 0; or the negative of an error's number.
    """
    try:
        return os.write(fd, data)
    except OSError as error:
        return 0 if error.errno in (EAGAIN, EINTR, None) else -error.errno


def receive_now(fd: int, room: memoryview) -> int:
    """Read what a non-blocking socket has, into contiguous and writable memory.

    Returns:
        How many bytes that was, 0 if the peer has ended its side; or the negative of an error's number.
    """
    try:
        return os.readv(fd, [room])
    except OSError as error:
        return -(error.errno or EIO)
