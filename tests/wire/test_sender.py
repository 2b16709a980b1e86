"""What leaves a connection: fragments, what overtakes them, and what is known not to have left."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol_pair import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    START,
    TEXT,
    End,
    Frame,
    close_payload,
    few,
    frame,
    many,
    read_frames,
    whole_messages,
)
from wasclean.model.registry import Role
from wasclean.wire.frames import FrameLog
from wasclean.wire.receiver import ReadBuffer
from wasclean.wire.sender import Sender

READ_SIZE = 1 << 16  # of sender.py, as are the next two; the compiled module keeps them to itself
LARGE = 1 << 14
FRAGMENT = 1 << 17
FIN = 0x80

both_roles = pytest.mark.parametrize("role", Role)


class Line:
    """A sender and the transport behind it.

    Attributes:
        wire: all that was written.
        writes: the same, write by write.
        sent: the messages that were sent.
        known: bytes of messages that are known to have left.
        given: bytes of the last write, of which the transport may hold some; 0 once it has asked for more.
    """

    def __init__(self, role: Role) -> None:
        self.role = role
        self.log = FrameLog(START)
        self.buffer = ReadBuffer()
        self.sender = Sender(role is Role.CLIENT, self.buffer, self.log)
        self.wire = bytearray()
        self.writes: list[bytes] = []
        self.sent: list[str | bytes] = []
        self.known = 0
        self.given = 0

    def send(self, message: str | bytes) -> Line:
        amount = self.sender.send(TEXT if isinstance(message, str) else BINARY, message)
        self.sent.append(message)
        assert amount == self.sender.buffered_amount()
        return self

    def write(self) -> bytes | None:
        """Write once, if there is something; the transport passes it on unless congest() follows."""
        if not self.sender.congested:
            self.known = sum(len(seen.payload) for seen in self.frames() if not seen.first & 0x08)
            self.given = 0
        if not self.sender.fill():
            return None
        data = self.sender.data_to_send()
        piece = data if isinstance(data, bytes) else b"".join(data)
        assert piece, "an empty write"
        self.given = len(piece)
        self.writes.append(piece)
        self.wire += piece
        return piece

    def drain(self) -> Line:
        while self.write() is not None:
            pass
        return self

    def congest(self) -> Line:
        self.sender.congested = True
        return self

    def relieve(self) -> Line:
        self.sender.congested = False
        return self

    def frames(self) -> list[Frame]:
        frames = read_frames(bytes(self.wire))
        assert all(seen.masked == (self.role is Role.CLIENT) for seen in frames)
        return frames

    def passed(self, held: int) -> int:
        """How many messages have left wholly if the transport holds the last ``held`` bytes of what it was given."""
        end = len(self.wire) - held
        at, whole = 0, []
        for seen in self.frames():
            at += header_size(len(seen.payload), seen.masked) + len(seen.payload)
            if at > end:
                break
            whole.append(seen)
        return len(whole_messages(whole))

    def opcodes(self) -> list[int]:
        return [seen.first & 0x0F for seen in self.frames()]


def encoded(message: str | bytes) -> bytes:
    return message.encode() if isinstance(message, str) else message


def header_size(size: int, masked: bool) -> int:
    return (2 if size < 126 else 4 if size < 1 << 16 else 10) + (4 if masked else 0)


def pattern(size: int) -> bytes:
    """Bytes of which no two stretches are the same for long."""
    return b"".join(i.to_bytes(4, "big") for i in range(size // 4 + 1))[:size]


# Fragments.


def test_a_message_of_twenty_megabytes_leaves_in_these_bytes() -> None:
    payload = pattern(20_000_000)
    line = Line(Role.SERVER).send(payload).drain()
    pieces = [payload[at : at + FRAGMENT] for at in range(0, len(payload), FRAGMENT)]
    last = len(pieces) - 1
    expected = b"".join(
        frame(Role.CLIENT, CONTINUATION if i else BINARY, piece, fin=i == last) for i, piece in enumerate(pieces)
    )
    assert bytes(line.wire) == expected
    assert len(line.writes) == len(pieces)


@pytest.mark.slow
def test_a_client_masks_each_of_them_with_a_mask_of_its_own() -> None:
    payload = pattern(20_000_000)
    line = Line(Role.CLIENT).send(payload).drain()
    frames = line.frames()
    assert whole_messages(frames) == [(BINARY, payload)]
    assert [len(seen.payload) for seen in frames] == [FRAGMENT] * 152 + [20_000_000 - 152 * FRAGMENT]
    masks = {write[10:14] for write in line.writes[:-1]}
    assert len(masks) > 150


@both_roles
@pytest.mark.parametrize(
    ("size", "count"),
    [
        *((0, 1), (LARGE, 1), (FRAGMENT - 1, 1), (FRAGMENT, 1), (FRAGMENT + 1, 2), (2 * FRAGMENT, 2)),
        *((2 * FRAGMENT + 1, 3), (3 * FRAGMENT - 1, 3)),
    ],
)
@pytest.mark.parametrize("congested", [False, True])
def test_only_what_is_larger_than_a_fragment_is_cut(role: Role, size: int, count: int, congested: bool) -> None:
    line = Line(role)
    if congested:
        line.congest()
    line.send(pattern(size)).send("behind").relieve().drain()
    assert line.opcodes() == [BINARY] + [CONTINUATION] * (count - 1) + [TEXT]
    assert [seen.first & FIN for seen in line.frames()] == [0] * (count - 1) + [FIN, FIN]
    assert whole_messages(line.frames()) == [(BINARY, pattern(size)), (TEXT, b"behind")]


@both_roles
@pytest.mark.parametrize("letter", ["ä", "€", "𝄞"])
def test_a_text_is_cut_anywhere_and_is_whole_again(role: Role, letter: str) -> None:
    text = "x" + letter * FRAGMENT
    line = Line(role).send(text).drain()
    assert whole_messages(line.frames()) == [(TEXT, text.encode())]
    assert any(b"\x80" <= seen.payload[:1] < b"\xc0" for seen in line.frames())


@both_roles
def test_no_write_of_what_has_waited_is_much_larger_than_a_fragment(role: Role) -> None:
    line = Line(role).congest()
    for i in range(20):
        line.send(pattern(10_000 * i)).send("x" * i)
    line.relieve().drain()
    assert max(map(len, line.writes)) < FRAGMENT + READ_SIZE + LARGE
    assert whole_messages(line.frames()) == [
        seen for i in range(20) for seen in ((BINARY, pattern(10_000 * i)), (TEXT, b"x" * i))
    ]


def test_fragments_of_a_server_are_not_copied() -> None:
    payload = pattern(5 * FRAGMENT)
    line = Line(Role.SERVER)
    line.sender.send(BINARY, payload)
    for i in range(5):
        assert line.sender.fill()
        _, part, rest = line.sender.data_to_send()
        assert isinstance(part, memoryview)
        assert part.obj is payload
        assert (bytes(part), rest) == (payload[i * FRAGMENT : (i + 1) * FRAGMENT], b"")
    assert not line.sender.fill()


def test_a_large_message_of_a_client_is_never_copied_as_a_whole() -> None:
    payload = pattern(40 * FRAGMENT)
    line = Line(Role.CLIENT)
    tracemalloc.start()
    try:
        line.sender.send(BINARY, payload)
        while line.sender.fill():
            line.sender.data_to_send()
        assert tracemalloc.get_traced_memory()[1] < 12 * FRAGMENT
    finally:
        tracemalloc.stop()


# What overtakes.


@both_roles
@pytest.mark.parametrize("opcode", [PING, PONG])
def test_a_control_frame_leaves_between_two_fragments(role: Role, opcode: int) -> None:
    line = Line(role).send(pattern(5 * FRAGMENT)).send("small")
    line.write()
    line.sender.send_control(opcode, b"now")
    piece = line.write()
    assert piece is not None
    assert [(seen.first, len(seen.payload)) for seen in read_frames(piece)] == [
        (FIN | opcode, 3),
        (CONTINUATION, FRAGMENT),
    ]
    line.drain()
    assert whole_messages(line.frames()) == [(BINARY, pattern(5 * FRAGMENT)), (TEXT, b"small")]


@both_roles
def test_while_the_transport_takes_nothing_pings_wait_and_only_the_latest_pong_does(role: Role) -> None:
    line = Line(role).send(pattern(3 * FRAGMENT))
    line.write()
    line.congest().send("small")
    for i in range(3):
        line.sender.send_control(PONG, b"pong %d" % i)
        line.sender.send_control(PING, b"ping %d" % i)
    assert line.write() is None
    line.relieve()
    piece = line.write()
    assert piece is not None
    assert [seen.payload for seen in read_frames(piece)[:4]] == [b"ping 0", b"ping 1", b"ping 2", b"pong 2"]
    line.drain()
    assert line.opcodes() == [BINARY, PING, PING, PING, PONG, CONTINUATION, CONTINUATION, TEXT]


@both_roles
def test_pings_that_waited_leave_before_those_that_follow(role: Role) -> None:
    line = Line(role).congest()
    line.sender.send_control(PING, b"first")
    line.relieve()
    line.sender.send_control(PING, b"second")
    line.drain()
    assert [seen.payload for seen in line.frames()] == [b"first", b"second"]


@both_roles
def test_a_ping_may_be_sent_behind_all_messages(role: Role) -> None:
    line = Line(role)
    line.sender.send_last(PING, b"at once")
    line.send(pattern(3 * FRAGMENT))
    line.sender.send_last(PING, b"behind")
    line.send("later").drain()
    assert line.opcodes() == [PING, BINARY, CONTINUATION, CONTINUATION, PING, TEXT]


@both_roles
@pytest.mark.parametrize("resumed", [False, True])
def test_control_frames_that_wait_leave_before_the_last_frame(role: Role, resumed: bool) -> None:
    line = Line(role).congest()
    line.sender.send_control(PING, b"")
    line.sender.send_control(PONG, b"")
    if resumed:
        line.relieve()  # and nobody has asked for what to write yet
    line.sender.send_last(CLOSE, close_payload(1000))
    assert line.sender.waits()
    line.relieve().drain()
    assert not line.sender.waits()
    assert line.opcodes() == [PING, PONG, CLOSE]


TRANSPORT = ["congest", "resume", "relieve", "flush"]


@both_roles
@given(data=st.data())
@few
def test_nothing_leaves_behind_a_close_frame(role: Role, data: st.DataObject) -> None:
    end, messages = End(role), []
    for _ in range(data.draw(st.integers(0, 12))):
        step = data.draw(
            st.sampled_from(["small", "huge", "ping", "their ping", "congest", "resume", "relieve", "flush"])
        )
        if step == "small" or step == "huge":
            message = pattern(7 if step == "small" else 2 * FRAGMENT + 7)
            end.connection.send(BINARY, message)
            messages.append((BINARY, message))
        elif step == "ping":
            end.connection.send_ping(b"", data.draw(st.booleans()))
        elif step == "their ping":
            end.connection.receive_data(frame(role, PING, b"?"), end.now)
        elif step == "congest":
            end.congest()
        elif step == "resume":
            end.connection.resume_writing()  # and nobody flushes yet
        elif step == "relieve":
            end.relieve()
        else:
            end.flush()
    end.connection.send_close(1000, "", end.now)
    end.connection.receive_data(frame(role, PING, b"late"), end.now)
    if data.draw(st.booleans()):
        end.congest()
        end.connection.receive_data(frame(role, PING, b"later"), end.now)
        end.connection.resume_writing()
        end.connection.receive_data(frame(role, PING, b"latest"), end.now)
    end.relieve()
    end.arrive(PING, b"too late")
    assert end.closes() == [close_payload(1000)]
    assert end.written_messages() == messages


# What has left.

STEPS = st.sampled_from(["small"] * 3 + ["middle", "large", "cut", "text", "ping", "pong", "behind", "write", "write"])
MESSAGES: dict[str, list[str | bytes]] = {
    "small": [b"", b"x", pattern(125), pattern(126), pattern(300)],
    "middle": [pattern(LARGE - 1), pattern(9000)],
    "large": [pattern(LARGE), pattern(READ_SIZE), pattern(FRAGMENT)],
    "cut": [pattern(FRAGMENT + 1), pattern(2 * FRAGMENT + 5), pattern(3 * FRAGMENT), "€" * FRAGMENT],
    "text": ["", "aä€𝄞", "ä" * 200, "€" * LARGE, "a" * LARGE, "b" * FRAGMENT, "c" * (2 * FRAGMENT + 5)],
}


def act(line: Line, step: str, data: st.DataObject) -> None:
    if step in MESSAGES:
        line.send(data.draw(st.sampled_from(MESSAGES[step])))
    elif step == "ping" or step == "pong":
        line.sender.send_control(PING if step == "ping" else PONG, b"?" * data.draw(st.integers(0, 3)))
    elif step == "behind":
        line.sender.send_last(PING, b"!")
    elif step == "write":
        line.write()
    elif step == "congest":
        line.congest()
    elif step == "relieve":
        line.relieve()


@both_roles
@given(data=st.data())
@many
def test_what_is_unsent_is_what_the_wire_does_not_show(role: Role, data: st.DataObject) -> None:
    line = Line(role)
    for step in data.draw(st.lists(STEPS, max_size=14)):
        act(line, step, data)
    if not line.given or data.draw(st.booleans()):
        line.write()
    if line.given:
        line.congest()  # the transport holds a part of the last write, and the rest waits
        for step in data.draw(st.lists(STEPS, max_size=4)):
            act(line, step, data)
    last = line.given
    frames = read_frames(line.writes[-1]) if last else []
    edges, at = {0, last}, 0
    for seen in frames:
        at += header_size(len(seen.payload), seen.masked)
        edges |= {last - at}
        at += len(seen.payload)
        edges |= {last - at, last - at + 1, last - at - 1}
    edges |= set(range(last)) if last < 200 else set(data.draw(st.lists(st.integers(0, last), max_size=5)))
    for held in edges:
        if 0 <= held <= last:
            assert line.sender.unsent(held) == line.sent[line.passed(held) :], held
    if line.given:
        line.relieve()  # all of the write has left, but nobody has asked for more
        assert line.sender.unsent(0) == line.sent[line.passed(0) :]
    line.drain()
    assert line.sender.unsent(0) == []
    assert whole_messages(line.frames()) == [
        (TEXT if isinstance(message, str) else BINARY, encoded(message)) for message in line.sent
    ]


@both_roles
def test_what_is_unsent_is_exact_at_every_byte_of_a_write(role: Role) -> None:
    line = Line(role).send("first").send(b"").send("")
    line.sender.send_control(PING, b"")
    line.send("ä" * 70).send(b"last")
    line.write()
    line.congest().send("waits").send(pattern(2 * FRAGMENT))
    for held in range(len(line.wire) + 1):
        assert line.sender.unsent(held) == line.sent[line.passed(held) :], held


@both_roles
def test_a_message_that_is_being_cut_is_unsent_until_its_last_byte_has_left(role: Role) -> None:
    message = "€" * FRAGMENT
    line = Line(role).send(message).send("after")
    for i in range(3):
        line.write()
        assert line.sender.unsent(line.given) == line.sender.unsent(1) == [message, "after"]
        assert line.sender.unsent(0) == ([message, "after"] if i < 2 else ["after"])
    line.write()
    assert line.sender.unsent(1) == ["after"]
    assert line.sender.unsent(0) == []


@both_roles
@given(data=st.data())
@many
def test_the_amounts_add_up_after_every_step(role: Role, data: st.DataObject) -> None:
    line = Line(role)
    steps = st.lists(STEPS | st.sampled_from(["congest", "relieve"]), max_size=20)
    for step in data.draw(steps):
        act(line, step, data)
        total = sum(len(encoded(message)) for message in line.sent)
        assert line.sender.buffered_amount() == total - line.known
        assert line.sender.bytes_sent == len(line.wire)
        assert line.sender.messages_sent == len(line.sent)
    line.relieve().drain()
    assert line.sender.buffered_amount() == 0
    assert line.sender.is_empty()
    assert line.sender.bytes_sent == len(line.wire)
    noted = [(opcode, fin, size) for ours, opcode, fin, size, _, _ in line.log.entries() if ours]
    assert noted == [(seen.first & 0x0F, seen.first & FIN != 0, len(seen.payload)) for seen in line.frames()][-32:]


@both_roles
@pytest.mark.parametrize("congested", [False, True])
@pytest.mark.parametrize("text", ["\ud800", "\udfff" * (FRAGMENT + 1)])
def test_a_text_with_a_lone_surrogate_changes_nothing(role: Role, congested: bool, text: str) -> None:
    line = Line(role).send("before")
    if congested:
        line.congest()
    with pytest.raises(UnicodeEncodeError):
        line.sender.send(TEXT, text)
    assert (line.sender.messages_sent, line.sender.buffered_amount()) == (1, 6)
    line.send("after").relieve().drain()
    assert whole_messages(line.frames()) == [(TEXT, b"before"), (TEXT, b"after")]


# Memory.


@both_roles
def test_what_has_left_is_forgotten(role: Role) -> None:
    line = Line(role)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for size in (100, LARGE, FRAGMENT, 4 * FRAGMENT):
            line.sender.send(BINARY, bytes(size))
            while line.sender.fill():
                line.sender.data_to_send()
        # But for the write buffer, which the next that needs one borrows.
        assert tracemalloc.get_traced_memory()[0] - before < READ_SIZE
    finally:
        tracemalloc.stop()


@both_roles
def test_dropping_frees_everything_and_keeps_the_amounts(role: Role) -> None:
    line = Line(role)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(2):
            line.sender.send(BINARY, bytes(4 * FRAGMENT))
        assert line.sender.fill()
        line.sender.data_to_send()
        line.congest()
        line.sender.send_control(PING, b"")
        line.sender.send_control(PONG, b"")
        amount = line.sender.buffered_amount()
        line.sender.drop()
        assert tracemalloc.get_traced_memory()[0] - before < READ_SIZE
    finally:
        tracemalloc.stop()
    line.relieve()
    assert not line.sender.fill()
    assert (amount, line.sender.is_empty(), line.sender.unsent(0)) == (8 * FRAGMENT, True, [])


def test_an_attribute_that_nobody_knows_is_refused() -> None:
    things: list[Any] = [ReadBuffer(), Line(Role.CLIENT).sender]
    for thing in things:
        with pytest.raises(AttributeError):
            thing.stray = 1
