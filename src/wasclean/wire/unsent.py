"""Find the messages that have not left the process, after the end of a connection.

A Sender keeps no list of messages, because most have left as soon as they are framed. What has not is read back from
the frames: those that the transport was given and still holds, and those that it was not given. Messages that were not
framed are in the queue.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..model.registry import Opcode
from . import octets

TEXT = int(Opcode.TEXT)
CONTROL = 0x08  # the bit that tells control opcodes from data opcodes
OPCODE = 0x0F
FIN = 0x80
RSV1 = 0x40
MASKED = 0x80

#: An opcode and a payload.
Message = tuple[int, str | bytes]


class Written(NamedTuple):
    """Frames of this end, and the messages that were compressed into one of them each."""

    frames: bytes
    compressed: Iterable[Message]


def unsent_messages(
    given: Written, held: int, staged: Written, cut: Message | None, queue: Iterable[Message]
) -> list[str | bytes]:
    """Return the messages of which a part has not left, in order.

    Args:
        given: the frames that the transport was given last.
        held: the bytes of them that it has not passed on.
        staged: the frames that it was not given.
        cut: the message that the latest fragments were cut from, or None.
        queue: the messages that were not framed completely.
    """
    found: list[Message] = []
    for end, first, payload in read_back(given):
        if end > len(given.frames) - held:
            _add(found, first, payload, cut)
    for _, first, payload in read_back(staged):
        _add(found, first, payload, cut)
    for message in queue:
        if not message[0] & CONTROL and not (found and found[-1] is message):
            found.append(message)
    return [
        payload.decode() if opcode & OPCODE == TEXT and isinstance(payload, bytes) else payload
        for opcode, payload in found
    ]


def read_back(written: Written) -> Iterator[tuple[int, int, str | bytes]]:
    """Yield the end of each frame, its first byte, and its payload, which is that before the compression."""
    data = written.frames
    originals = iter(written.compressed)
    at = 0
    while at < len(data):
        first, second = data[at], data[at + 1]
        size, at = second & 0x7F, at + 2
        if size >= 126:
            wide = 2 if size == 126 else 8
            size, at = int.from_bytes(data[at : at + wide], "big"), at + wide
        mask = 0
        if second & MASKED:
            mask, at = int.from_bytes(data[at : at + 4], "little"), at + 4
        payload = bytearray(data[at : at + size])
        octets.apply_mask(payload, 0, size, mask, 0)
        at += size
        if first & FIN and first & RSV1:
            yield at, first, next(originals)[1]
        else:
            yield at, first, bytes(payload)


def _add(found: list[Message], first: int, payload: str | bytes, cut: Message | None) -> None:
    """Add the message of a frame: for a fragment the whole message that it was cut from, once."""
    opcode = first & OPCODE
    if opcode & CONTROL:
        return
    if opcode and first & FIN:
        found.append((opcode, payload))
    elif cut is not None and not (found and found[-1] is cut):
        found.append(cut)
