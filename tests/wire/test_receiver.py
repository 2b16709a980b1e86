"""Bytes become messages and control frames, wherever they are cut: the Receiver by itself."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol_pair import BINARY, CLOSE, CONTINUATION, PING, PONG, START, TEXT, cut_places, frame, many
from wasclean.model.errors import RemoteProtocolError
from wasclean.model.registry import Role
from wasclean.model.violations import Violation
from wasclean.wire.frames import FrameLog
from wasclean.wire.receiver import ControlFrame, ReadBuffer, Receiver

READ_SIZE = 1 << 16  # of receiver.py; the compiled module keeps it to itself

both_roles = pytest.mark.parametrize("role", Role)


def new_receiver(role: Role, max_size: int | None = None, started: bool = True) -> Receiver:
    receiver = Receiver(role, ReadBuffer(), FrameLog(START), max_size, None)
    if started:
        receiver.start()
    return receiver


def read(receiver: Receiver, data: bytes) -> list[Any]:
    """Let bytes arrive; returns the events, control frames as tuples."""
    events: list[Any] = []
    while data:
        room = receiver.get_buffer()
        count = min(len(room), len(data))
        room[:count] = data[:count]
        del room
        receiver.feed(count)
        while (event := receiver.next_event()) is not None:
            events.append((event.opcode, event.payload) if isinstance(event, ControlFrame) else event)
        data = data[count:]
    return events


@both_roles
def test_one_read_gives_messages_and_control_frames_in_order(role: Role) -> None:
    stream = frame(role, TEXT, b"one") + frame(role, PING, b"?") + frame(role, BINARY, b"") + frame(role, CLOSE)
    assert read(new_receiver(role), stream) == ["one", (PING, b"?"), b"", (CLOSE, b"")]


@both_roles
@given(cuts=cut_places)
@many
def test_it_does_not_matter_how_the_bytes_are_cut(role: Role, cuts: list[int]) -> None:
    stream = (
        *(frame(role, TEXT, "aä€".encode() * 20), frame(role, BINARY, b"first", fin=False), frame(role, PONG, b"!")),
        *(frame(role, CONTINUATION, bytes(200)), frame(role, TEXT, b"")),
    )
    data = b"".join(stream)
    receiver = new_receiver(role)
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    events = [event for i, j in pairwise(places) for event in read(receiver, data[i:j])]
    assert events == ["aä€" * 20, (PONG, b"!"), b"first" + bytes(200), ""]
    assert (receiver.messages_received, receiver.bytes_received, receiver.discarded) == (3, len(data), 0)
    assert receiver.describe_position() == ""


@both_roles
def test_before_it_is_started_bytes_are_counted_and_dropped(role: Role) -> None:
    receiver = new_receiver(role, started=False)
    assert read(receiver, frame(role, TEXT, b"x")) == []
    assert receiver.discarded == receiver.bytes_received > 0


@both_roles
def test_what_follows_a_stop_in_the_same_read_is_dropped(role: Role) -> None:
    receiver = new_receiver(role)
    rest = frame(role, TEXT, b"late")
    data = frame(role, CLOSE) + rest
    receiver.get_buffer()[: len(data)] = data
    receiver.feed(len(data))
    assert isinstance(receiver.next_event(), ControlFrame)
    receiver.stop()
    assert receiver.next_event() is None
    assert (receiver.is_reading, receiver.discarded) == (False, len(rest))
    assert read(receiver, rest) == []
    assert receiver.discarded == 2 * len(rest)


@both_roles
def test_a_stop_drops_an_unfinished_message_and_the_beginning_of_a_header(role: Role) -> None:
    receiver = new_receiver(role)
    read(receiver, frame(role, BINARY, b"12345", fin=False) + b"\x80")
    assert receiver.describe_position() == "1 bytes into a header or a control frame"
    receiver.stop()
    assert (receiver.discarded, receiver.describe_position()) == (5, "")


@both_roles
def test_a_broken_rule_is_raised_behind_the_messages_before_it(role: Role) -> None:
    receiver = new_receiver(role)
    data = frame(role, TEXT, b"whole") + frame(role, 0x3, b"junk")
    receiver.get_buffer()[: len(data)] = data
    receiver.feed(len(data))
    assert receiver.next_event() == "whole"
    with pytest.raises(RemoteProtocolError) as caught:
        receiver.next_event()
    assert caught.value.violation is Violation.RESERVED_OPCODE
    receiver.stop()
    assert receiver.discarded == len(frame(role, 0x3, b"junk"))


@both_roles
def test_a_text_that_is_not_utf8_counts_as_discarded_and_not_as_received(role: Role) -> None:
    receiver = new_receiver(role)
    with pytest.raises(UnicodeDecodeError) as caught:
        read(receiver, frame(role, TEXT, b"\xff12"))
    assert "byte" in receiver.refuse_text(caught.value)
    receiver.stop()
    assert (receiver.messages_received, receiver.discarded) == (0, 3)


@both_roles
@given(size=st.integers(3 * READ_SIZE, 4 * READ_SIZE))
def test_the_rest_of_a_large_frame_is_read_into_its_message(role: Role, size: int) -> None:
    receiver = new_receiver(role)
    payload = bytes(range(256)) * (size // 256 + 1)
    data = frame(role, BINARY, payload[:size])
    shared = receiver.get_buffer()
    assert read(receiver, data[: READ_SIZE + 100]) == []
    assert receiver.is_amid_frame()
    lent = receiver.get_buffer()
    assert len(lent) > 0
    assert lent.obj is not shared.obj
    del lent
    assert read(receiver, data[READ_SIZE + 100 :]) == [payload[:size]]
    assert not receiver.is_amid_frame()


@both_roles
def test_the_position_within_a_message_is_told(role: Role) -> None:
    receiver = new_receiver(role)
    read(receiver, frame(role, BINARY, b"x" * 100)[:-10])
    assert receiver.describe_position() == "90 bytes into the payload of a frame of 100"
    read(receiver, b"x" * 10)
    read(receiver, frame(role, TEXT, b"abc", fin=False))
    assert receiver.describe_position() == "between two fragments of a message, after 3 bytes of it"


@both_roles
def test_looking_for_a_close_frame_consumes_nothing(role: Role) -> None:
    receiver = new_receiver(role)
    data = frame(role, TEXT, b"abc") + frame(role, CLOSE)
    assert read(receiver, data[:3]) == []
    assert receiver.finds_close(data[3:])
    assert not receiver.finds_close(data[3:-3])
    assert read(receiver, data[3:]) == ["abc", (CLOSE, b"")]
