"""Compressed messages: decompressing arbitrary input, and compressing arbitrary messages."""

import zlib

from fuzz.streams import BUILDS
from tests.protocol_pair import BINARY, CONTINUATION, End, frame, read_frames
from wasclean.model.registry import Role
from wasclean.model.violations import Violation
from wasclean.opening.extensions import Agreed, Parameters
from wasclean.wire.deflate import TAIL, Deflate

SIZES = (10, 1000, 1 << 16, 1 << 20)
REFUSALS = {Violation.NOT_DEFLATED.name, Violation.MESSAGE_TOO_BIG.name}


def fuzz_one(data: bytes) -> None:
    """Run an input: a byte of options, a byte for the position of a split, and the payload."""
    if len(data) < 2:
        return
    check_reading(data[0], data[1], data[2:])
    check_writing(data[0], data[2:])


def check_reading(flags: int, cut: int, payload: bytes) -> None:
    """Check that a payload is refused or decompressed as by zlib, on both builds and in any pieces."""
    role = Role.SERVER if flags & 1 else Role.CLIENT
    agreed = Agreed(Parameters(bool(flags & 2), bool(flags & 2)), Deflate())
    limit = SIZES[flags >> 2 & 3]
    at = cut * len(payload) // 255
    whole = frame(role, BINARY, payload, rsv=0x40)
    parts = frame(role, BINARY, payload[:at], rsv=0x40, fin=False) + frame(role, CONTINUATION, payload[at:])
    seen = []
    for build in BUILDS:
        for stream, cuts in ((whole, ()), (whole, range(0, len(whole), 7)), (parts, (at,))):
            end = End(role, build=build, deflate=agreed, max_message_size=limit).feed(stream, cuts)
            violation = end.connection.closing.violation
            assert violation is None or violation.name in REFUSALS
            assert all(len(message) <= limit for message in end.messages())
            assert (violation is None) == (len(end.messages()) == 1)
            # If the stream both exceeds the limit and is invalid, the pieces determine which is found first.
            seen.append(end.messages())
    assert all(messages == seen[0] for messages in seen), "builds or pieces differ"
    expected = inflated(payload, limit)
    if expected is not None:
        assert seen[0] == [expected]


def inflated(payload: bytes, limit: int) -> bytes | None:
    """Decompress a payload with zlib; return None if it has final blocks, is invalid, or too large."""
    stream = zlib.decompressobj(wbits=-15)
    try:
        message = stream.decompress(payload + TAIL, limit + 1)
    except zlib.error:
        return None
    if stream.eof or len(message) > limit:
        return None
    return message


def check_writing(flags: int, message: bytes) -> None:
    """Check that a compressed message, sent twice, is decompressed by zlib and by wasclean."""
    role = Role.SERVER if flags & 1 else Role.CLIENT
    agreed = Agreed(Parameters(server_max_window_bits=8 + (flags >> 4 & 7)), Deflate(threshold=0))
    for build in BUILDS:
        end = End(role, build=build, deflate=agreed)
        for _ in range(2):
            end.connection.send(BINARY, message)
        assert end.connection.sender.unsent(0) == [message, message]
        end.flush()
        stream = zlib.decompressobj(wbits=-15)
        for seen in read_frames(bytes(end.wire)):
            assert stream.decompress(seen.payload + TAIL) == message
        other = Role.CLIENT if role is Role.SERVER else Role.SERVER
        peer = End(other, build=build, deflate=agreed).feed(bytes(end.wire))
        assert peer.messages() == [message, message]
