"""Messages large enough to be read directly into their own buffer."""

from itertools import islice
from random import Random

from fuzz.streams import BUILDS
from tests.protocol_pair import BINARY, CLOSE, CONTINUATION, PING, TEXT, End, close_payload, frame
from wasclean.model.registry import Role
from wasclean.model.violations import Violation

READ_SIZE = 1 << 16  # of receiver.py
LARGEST = 4 * READ_SIZE


def fuzz_one(data: bytes) -> None:
    """Run an input: a byte of options, two for the size, four for the splits, and a payload that is repeated."""
    if len(data) < 8:
        return
    role = Role.SERVER if data[0] & 1 else Role.CLIENT
    opcode = TEXT if data[0] & 2 else BINARY
    size = int.from_bytes(data[1:3], "big") * LARGEST >> 16
    unit = data[7:]
    payload = (unit * (size // len(unit) + 1))[:size]
    first = frame(role, opcode, b"x" * READ_SIZE, fin=False)
    stream = first + frame(role, CONTINUATION, payload) + frame(role, PING, b"?")
    try:
        message = (b"x" * READ_SIZE + payload).decode() if opcode == TEXT else b"x" * READ_SIZE + payload
        events = [("message", message)]
    except UnicodeDecodeError:
        events = []
    max_size = READ_SIZE + size - (1 if data[0] & 4 else 0)  # optionally one byte less than the message
    if max_size < READ_SIZE + size:
        events = []
    outcomes = []
    for build in BUILDS:
        for cuts in ((), some_cuts(data[3:7], len(stream))):
            end = End(role, build=build, max_message_size=max_size).feed(stream, cuts)
            assert end.events == events
            closes = end.closes()
            if max_size < READ_SIZE + size:
                assert closes == [violation(Violation.MESSAGE_TOO_BIG)]
            elif not events:
                assert closes == [violation(Violation.TEXT_NOT_UTF8)]
            else:
                assert (10, b"?") in end.written() and CLOSE not in dict(end.written())
            outcomes.append(end.outcome())
    assert all(outcome == outcomes[0] for outcome in outcomes), "builds or chunks differ"


def some_cuts(seed: bytes, size: int) -> set[int]:
    """Return up to 16 positions in a stream, the same ones for each seed."""
    random = Random(seed)
    return set(islice((random.randrange(size) for _ in range(16)), seed[0] % 17))


def violation(broken: Violation) -> bytes:
    """Return the payload of the Close frame for a violation."""
    return close_payload(broken.code, broken.text)
