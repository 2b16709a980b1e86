"""Properties of a stream of frames, for arbitrary input and both roles."""

from __future__ import annotations

from typing import Any

from tests.builds import Build, both_builds
from tests.protocol_pair import CLOSE, MIB, PONG, TEXT, End, Reference, close_payload, frame
from wasclean.closing.table import Ending, State
from wasclean.model.registry import MAX_CONTROL_PAYLOAD, Role
from wasclean.wire import messages
from wasclean.wire.octets import COMPILED

MAX_HEADER = 14  # bytes of a frame's header (RFC 6455 section 5.2)
MAX_SIZES = (MIB, 0, 100, 1000)
GOODBYE = (1000, "bye")

#: With the compiled build, the sources are run, too: for comparison, and because only they provide coverage.
BUILDS: tuple[Build | None, ...] = both_builds() if COMPILED else (None,)


class Options:
    """The way to feed a stream, from the first two bytes of an input."""

    def __init__(self, flags: int, size: int) -> None:
        self.max_size = MAX_SIZES[flags & 3]
        self.max_fragments = 3 if flags & 4 else 1 << 30
        self.closes_first = bool(flags & 8)
        self.congested = bool(flags & 16)
        self.ending = flags >> 5 & 3
        self.chunk = size + 1  # bytes that arrive at a time


def check_stream(role: Role, data: bytes) -> None:
    """Feed a stream to an end of each build, whole and in chunks, and compare with the reference.

    Args:
        role: the role of the end that reads.
        data: two bytes for Options, then the stream.
    """
    if len(data) < 2:
        return
    options, stream = Options(*data[:2]), data[2:]
    reference = Reference(role, stream, options.max_size, options.max_fragments)
    outcomes = []
    for build in BUILDS:
        for chunk in (options.chunk, max(len(stream), 1)):
            end = new_end(role, build, options)
            for start in range(0, len(stream), chunk):
                end.feed(stream[start : start + chunk])
                check_memory(end, build, options)
            outcomes.append(end.outcome())
            check_events(end, reference, options)
            finish(end, reference, options)
            outcomes.append(end.outcome())
        check_search(role, build, stream, reference)
        check_written_back(role, build, end)
    assert all(outcome == outcomes[i % 2] for i, outcome in enumerate(outcomes)), "builds or chunks differ"


def module_of(build: Build | None) -> Any:
    """Return the module ``messages`` of a build."""
    return messages if build is None else build.messages


def new_end(role: Role, build: Build | None, options: Options) -> End:
    """Return an open or closing end, as the options say, without buffers of earlier messages."""
    module_of(build)._spares.clear()
    end = End(role, build=build, max_message_size=options.max_size, max_fragments=options.max_fragments)
    if options.congested:
        end.congest()
    if options.closes_first:
        end.close(*GOODBYE)
    return end


def check_memory(end: End, build: Build | None, options: Options) -> None:
    """Check that an end buffers no more than a part of a message within the limit, and one control frame.

    The buffers of the compiled build are not accessible, but its counters are.
    """
    if build is not None and build is BUILDS[0]:
        return
    connection = end.connection
    receiver = connection.receiver
    buffer = None if receiver._message is None else receiver._message._buffer
    tail = receiver._tail
    size = 0 if buffer is None else len(buffer) - module_of(build).START
    assert size <= min(options.max_size, 2 * connection.receiver.bytes_received)
    assert tail is None or len(tail) < MAX_HEADER + MAX_CONTROL_PAYLOAD
    urgent = connection.sender._urgent
    assert urgent is None, "an answer to a ping waits beside another"
    if end.state not in (State.OPEN, State.CLOSE_SENT):
        assert buffer is None, "a message is kept that nobody will get"
        assert tail is None, "bytes are kept that nobody will read"


def check_events(end: End, reference: Reference, options: Options) -> None:
    """Check that exactly the messages and answers of the reference were delivered and sent."""
    assert end.events == reference.seen()
    pings = [payload for kind, payload, *_ in reference.events if kind == "ping"]
    if options.congested:
        assert end.frames() == []
        end.relieve()
        pings = pings[-1:]  # RFC 6455 section 5.5.3: only the latest needs an answer
    elif options.closes_first:
        pings = []
    closes = [payload for opcode, payload in reference.answers() if opcode == CLOSE]
    if options.closes_first:
        closes = [close_payload(*GOODBYE)]
    assert end.written() == [*((PONG, payload) for payload in pings), *((CLOSE, payload) for payload in closes)]
    assert len(end.closes()) <= 1
    if has_ended(reference):
        discarded = end.connection.receiver.discarded
        assert discarded == reference.discarded
        more = frame(end.role, TEXT, b"more")
        end.feed(more)
        assert end.events == reference.seen(), "something was delivered after the end"
        assert end.connection.receiver.discarded == discarded + len(more)
    else:
        assert end.connection.closing.violation is None


def has_ended(reference: Reference) -> bool:
    """True if the stream ends with a Close frame or a violation."""
    return bool(reference.events) and reference.events[-1][0] in ("close", "fail")


def finish(end: End, reference: Reference, options: Options) -> None:
    """End the transport, or let the deadlines pass until the connection ends it, and check the end."""
    connection = end.connection
    if options.ending in (1, 2):
        connection.receive_eof(end.now, options.ending == 2)
    elif options.ending == 3:
        connection.terminate(end.now)
    end.flush()
    while (deadline := connection.next_deadline()) is not None:
        assert deadline > end.now, "a deadline has been passed"
        end.now = deadline
        connection.handle_deadline(deadline)
        end.flush()
    assert connection.closing.state is State.OPEN or connection.closing.ending is Ending.ABORT
    connection.connection_lost(end.now)
    assert connection.closing.state is State.CLOSED
    assert connection.closing.was_clean == (reference.events[-1:] != [] and reference.events[-1][0] == "close")
    assert len(end.closes()) <= 1


def check_search(role: Role, build: Build | None, stream: bytes, reference: Reference) -> None:
    """Check that finds_close() finds a Close frame that the end would read."""
    found = End(role, build=build).connection.receiver.finds_close(stream)
    assert found or not has_ended(reference) or reference.events[-1][0] != "close"


def check_written_back(role: Role, build: Build | None, end: End) -> None:
    """Check that the received messages can be sent, and received again."""
    sender = End(Role.CLIENT if role is Role.SERVER else Role.SERVER, build=build)
    for message in end.messages():
        sender.connection.send(TEXT if isinstance(message, str) else 2, message)
        sender.flush()
    assert End(role, build=build).feed(bytes(sender.wire)).messages() == end.messages()
