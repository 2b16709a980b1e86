"""One connection without I/O: what bytes, calls and times do to it, for both roles."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.protocol_pair import (
    BINARY,
    CLOSE,
    CONTINUATION,
    MIB,
    PING,
    PONG,
    START,
    TEXT,
    End,
    Pair,
    Recorder,
    Reference,
    close_payload,
    cut_places,
    few,
    frame,
    many,
    payloads,
    read_frames,
    streams,
    texts,
)
from wasclean.closing.keepalive import READ_GRACE
from wasclean.closing.outcome import Cause, Initiator, Reason, Stats
from wasclean.closing.table import Ending, State
from wasclean.connection import Application, Connection
from wasclean.model.errors import LocalProtocolError
from wasclean.model.registry import CLOSE_TIMEOUT, LINGER, OPEN_TIMEOUT, CloseFrame, Role
from wasclean.model.violations import Violation
from wasclean.wire.receiver import ReadBuffer

READ_SIZE = 1 << 16  # of receiver.py, and of sender.py, as are the next two: the compiled modules keep them
LARGE = 1 << 14
FRAGMENT = 1 << 17
LOG_SIZE = 32 * 16  # bytes of a FrameLog

both_roles = pytest.mark.parametrize("role", Role)
every_role = st.sampled_from(Role)

MAY_BE_SENT = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
MUST_NOT_BE_SENT = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 5001, 32768, 65535]


def assert_failed(end: End, violation: Violation) -> None:
    """The peer broke a rule while the connection was OPEN: RFC 6455 section 7.1.7, and the peer is told why."""
    c = end.connection
    assert (c.closing.state, c.closing.violation, c.closing.failed, c.closing.initiator) == (
        State.FAILING,
        violation,
        True,
        "local",
    )
    assert c.closing.sent == CloseFrame(violation.code, violation.text)
    assert c.closing.received is None
    assert c.closing.ending is Ending.HALF_CLOSE
    assert not c.closing.was_clean
    assert end.closes() == [close_payload(violation.code, violation.text)]


# Any bytes, split anywhere.


@both_roles
@given(data=st.data())
@many
def test_any_stream_split_anywhere_gives_the_same(role: Role, data: st.DataObject) -> None:
    stream = data.draw(streams(role))
    whole = End(role).feed(stream)
    assert End(role).feed(stream, data.draw(cut_places)).outcome() == whole.outcome()
    assert End(role).feed(stream, range(len(stream))).outcome() == whole.outcome()


@both_roles
@given(data=st.data(), max_size=st.sampled_from([0, 1, 100, 127, MIB]), max_fragments=st.sampled_from([1, 2, 3, 100]))
@many
def test_any_stream_gives_what_the_rfc_says(role: Role, data: st.DataObject, max_size: int, max_fragments: int) -> None:
    stream = data.draw(streams(role))
    expected = Reference(role, stream, max_size, max_fragments)
    end = End(role, max_message_size=max_size, max_fragments=max_fragments).feed(stream, data.draw(cut_places))
    assert end.events == expected.seen()
    assert end.written() == expected.answers()
    last = expected.events[-1] if expected.events else ("nothing",)
    if last[0] == "fail":
        assert_failed(end, last[1])
    elif last[0] == "close":
        assert (end.state, end.connection.closing.received) == (State.CLOSE_EXCHANGED, last[1])
        assert end.connection.closing.was_clean
    else:
        assert end.state is State.OPEN


@both_roles
@given(data=st.data())
@few
def test_a_violation_is_answered_as_soon_as_its_first_byte_is_there(role: Role, data: st.DataObject) -> None:
    stream = data.draw(streams(role))
    expected = Reference(role, stream)
    if expected.events and expected.events[-1][0] == "fail":
        end = End(role).feed(stream[: expected.used - 1])
        assert end.state is State.OPEN
        end.feed(stream[expected.used - 1 : expected.used])
        assert_failed(end, expected.events[-1][1])


def test_two_connections_can_share_their_memory() -> None:
    memory, ends = ReadBuffer(), [Recorder(), Recorder()]
    first, second = (Connection(Role.SERVER, end, memory, START, max_message_size=MIB) for end in ends)
    for end, connection in zip(ends, (first, second), strict=True):
        end.connection = connection
        connection.established(START)
    streams = [
        frame(Role.SERVER, TEXT, letter * 300) + frame(Role.SERVER, PING, letter * 20) for letter in (b"a", b"b")
    ]
    for one, other in zip(*streams, strict=True):
        first.receive_data(bytes([one]), START)
        second.receive_data(bytes([other]), START)
    assert [end.events for end in ends] == [[("message", "a" * 300)], [("message", "b" * 300)]]
    for connection, letter in ((first, b"a"), (second, b"b")):
        assert connection.fill()
        assert connection.data_to_send() == bytes([0x80 | PONG, 20]) + letter * 20


def test_bytes_before_the_handshake_is_over_mean_nothing() -> None:
    end = End(Role.SERVER, established=False).arrive(TEXT, b"early").feed(b"\xff\xff")
    assert (end.events, end.state) == ([], State.CONNECTING)
    end.connection.established(end.now)
    assert end.arrive(TEXT, b"now").messages() == ["now"]


@both_roles
def test_the_examples_of_the_rfc_are_read(role: Role) -> None:
    examples = {  # section 5.7
        Role.CLIENT: "810548656c6c6f 010348656c 80026c6f 890548656c6c6f 8a0548656c6c6f",
        Role.SERVER: "818537fa213d7f9f4d5158 898537fa213d7f9f4d5158 8a8537fa213d7f9f4d5158",
    }
    end = End(role).feed(bytes.fromhex(examples[role]))
    assert end.messages() == ["Hello", "Hello"][: 2 if role is Role.CLIENT else 1]
    assert end.events[-1] == ("pong", b"Hello")
    assert end.written() == [(PONG, b"Hello")]


# What is sent.


@both_roles
@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, LARGE - 1, LARGE, 65535, 65536, FRAGMENT])
def test_a_message_is_sent_in_one_frame(role: Role, size: int) -> None:
    end = End(role)
    for opcode, payload in ((TEXT, "x" * size), (BINARY, b"y" * size)):
        end.connection.send(opcode, payload)
        assert end.connection.buffered_amount() == size
        end.flush()
        assert end.connection.buffered_amount() == 0
    assert end.written() == [(TEXT, b"x" * size), (BINARY, b"y" * size)]


@both_roles
@pytest.mark.parametrize("size", [1, 30, 31, 32, 41, 42, 43, 62, 63, 5000, LARGE - 1, LARGE, 32_768, 70_000])
@pytest.mark.parametrize("letter", ["ä", "€", "𝄞"])
def test_the_bytes_of_a_text_are_counted_and_not_its_characters(role: Role, size: int, letter: str) -> None:
    end, encoded = End(role), (letter * size).encode()
    end.connection.send(TEXT, letter * size)
    assert end.connection.buffered_amount() == len(encoded)
    end.congest()
    end.connection.send(TEXT, letter * size)
    assert end.connection.buffered_amount() == 2 * len(encoded)
    end.relieve()
    assert end.connection.buffered_amount() == 0
    assert end.written_messages() == [(TEXT, encoded)] * 2


@both_roles
@pytest.mark.parametrize("congested", [False, True])
@pytest.mark.parametrize("text", ["\ud800", "\udfff" * 50_000])
def test_a_lone_surrogate_is_not_sent(role: Role, congested: bool, text: str) -> None:
    end = End(role)
    if congested:
        end.congest()
    with pytest.raises(UnicodeEncodeError):
        end.connection.send(TEXT, text)
    assert end.connection.buffered_amount() == 0
    end.connection.send(TEXT, "fine")
    end.relieve()
    assert end.written() == [(TEXT, b"fine")]


def test_large_payloads_of_a_server_are_not_copied() -> None:
    end = End(Role.SERVER)
    payload = bytes(LARGE)
    end.connection.send(TEXT, "before")
    end.connection.send(BINARY, payload)
    end.connection.send(TEXT, "after")
    assert end.connection.fill()
    data = end.connection.data_to_send()
    assert isinstance(data, list)
    assert any(part is payload for part in data)
    assert b"".join(data) == b"\x81\x06before" + b"\x82\x7e\x40\x00" + payload + b"\x81\x05after"


def test_a_large_payload_of_a_client_is_not_changed() -> None:
    end, payload = End(Role.CLIENT), bytes(range(256)) * 300
    end.connection.send(BINARY, payload)
    end.flush()
    assert payload == bytes(range(256)) * 300
    assert end.written() == [(BINARY, payload)]
    assert payload not in end.wire


def test_every_frame_of_a_client_has_a_mask_of_its_own() -> None:
    end, keys = End(Role.CLIENT), set()
    for i in range(300):
        end.connection.send(BINARY, b"x" * (LARGE if i % 10 == 0 else 10))
        end.flush()
        header = 6 if i % 10 else 8
        keys.add(end.take()[header - 4 : header])
    assert len(keys) >= 299


@both_roles
@given(data=st.data())
@few
def test_messages_and_pings_leave_each_in_the_order_in_which_they_were_sent(role: Role, data: st.DataObject) -> None:
    end, amount = End(role), 0
    messages: list[tuple[int, bytes]] = []
    pings: list[tuple[int, bytes]] = []
    for i, step in enumerate(data.draw(st.lists(st.integers(0, 11), max_size=25))):
        if step < 6:
            size = data.draw(st.sampled_from([0, 1, 125, 126, LARGE - 1, LARGE, READ_SIZE, 100_000, FRAGMENT + 1]))
            payload = (b"%d " % i * size)[:size]
            end.connection.send(BINARY, payload)
            messages.append((BINARY, payload))
            amount += size
        elif step < 8:
            end.connection.send_ping(b"%d" % i)
            pings.append((PING, b"%d" % i))
        elif step == 8:
            end.congest()
        elif step == 9:
            end.connection.resume_writing()  # and nobody flushes yet
        elif step == 10:
            end.relieve()
            amount = 0
        else:
            end.flush()
        assert end.connection.buffered_amount() <= amount
    end.relieve()  # pings that wait would not leave any more
    end.connection.send_close(1000, "bye", end.now)
    end.relieve()
    assert end.written_messages() == messages
    assert [seen for seen in end.controls() if seen[0] == PING] == pings
    assert end.closes() == [close_payload(1000, "bye")]
    assert end.connection.buffered_amount() == 0
    assert end.connection.is_flushed


@pytest.mark.parametrize("role", Role)
def test_nothing_can_be_sent_before_open_or_after_close(role: Role) -> None:
    waiting, closing = End(role, established=False), End(role).close(1000)
    for end, state in ((waiting, "connecting"), (closing, "close sent")):
        with pytest.raises(LocalProtocolError, match=f"no message can be sent: the connection is {state}"):
            end.connection.send(TEXT, "x")
        with pytest.raises(LocalProtocolError, match=f"no ping can be sent: the connection is {state}"):
            end.connection.send_ping(b"x")
        end.flush()
        assert end.connection.buffered_amount() == 0
    assert closing.written() == [(CLOSE, close_payload(1000))]


def test_an_idle_connection_has_nothing_to_write_and_no_deadline() -> None:
    end = End(Role.SERVER)
    assert not end.connection.fill()
    assert end.connection.is_flushed
    assert end.connection.next_deadline() is None
    end.connection.handle_deadline(1e9)
    assert end.state is State.OPEN


# Backpressure.


@both_roles
def test_what_is_sent_while_the_transport_is_congested_waits(role: Role) -> None:
    end = End(role)
    end.congest()
    for i in range(100):
        end.connection.send(TEXT, f"{i}")
        end.connection.send_ping(b"%d" % i)
        end.connection.send_ping(b"%d behind" % i, behind=True)
    end.flush()
    assert (bytes(end.wire), end.connection.buffered_amount(), end.connection.is_flushed) == (b"", 190, False)
    end.relieve()
    overtaking = [(PING, b"%d" % i) for i in range(100)]
    waiting = [seen for i in range(100) for seen in ((TEXT, b"%d" % i), (PING, b"%d behind" % i))]
    assert end.written() == overtaking + waiting
    assert (end.connection.buffered_amount(), end.connection.is_flushed) == (0, True)


@both_roles
def test_what_the_transport_holds_counts_as_buffered(role: Role) -> None:
    end = End(role)
    end.connection.send(BINARY, b"x" * 1000)
    assert end.connection.fill()
    end.connection.data_to_send()
    end.congest()
    assert not end.connection.fill()
    assert end.connection.buffered_amount() == 1000
    end.connection.send(BINARY, b"y" * 100)
    assert end.connection.buffered_amount() == 1100
    end.relieve()
    assert end.connection.buffered_amount() == 0


@both_roles
@pytest.mark.parametrize("size", [10, 1000, LARGE, 100_000])
def test_a_queue_goes_out_piece_by_piece_until_the_transport_is_congested_again(role: Role, size: int) -> None:
    end, count = End(role), 500_000 // size
    end.congest()
    for _ in range(count):
        end.connection.send(BINARY, b"x" * size)
    left = count * size
    while left:
        end.capacity = 0
        end.connection.resume_writing()
        end.flush()
        piece = end.take()
        assert 0 < len(piece) < READ_SIZE + size + 20
        before, left = left, left - sum(len(seen.payload) for seen in read_frames(piece))
        assert end.connection.buffered_amount() == before  # what the transport holds may not have left
    end.relieve()
    assert end.connection.buffered_amount() == 0
    assert len(end.written()) == count


@both_roles
def test_every_ping_is_answered_while_the_transport_takes_the_answers(role: Role) -> None:
    end = End(role)
    pings = [b"%d" % i for i in range(5000)]
    end.feed(b"".join(frame(role, PING, payload) for payload in pings))
    assert end.written() == [(PONG, payload) for payload in pings]


@both_roles
def test_only_the_latest_ping_is_answered_when_the_transport_was_congested(role: Role) -> None:
    end = End(role)
    end.connection.send(TEXT, "before")
    end.flush()
    end.congest()
    end.connection.send(TEXT, "queued")
    flood = b"".join(frame(role, PING, b"%125d" % i) for i in range(1000))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(20):
            end.connection.receive_data(flood, end.now)
            end.flush()
        assert tracemalloc.get_traced_memory()[0] - before < 5000
    finally:
        tracemalloc.stop()
    assert end.connection.buffered_amount() == 6
    end.relieve()
    assert end.written() == [(TEXT, b"before"), (PONG, b"%125d" % 999), (TEXT, b"queued")]
    end.arrive(PING, b"again")
    assert end.written()[-1] == (PONG, b"again")


@both_roles
def test_a_pong_that_waits_is_not_sent_behind_a_close_frame(role: Role) -> None:
    end = End(role)
    end.congest()
    end.arrive(PING, b"x")
    end.connection.send_close(1000, "", end.now)
    end.arrive(PING, b"y")
    end.relieve()
    assert end.written() == [(PONG, b"y"), (CLOSE, close_payload(1000))]
    end = End(role)
    end.congest()
    end.arrive(PING, b"x")
    end.connection.resume_writing()  # and before anybody flushes
    end.connection.send_close(1000, "", end.now)
    end.flush()
    assert end.written() == [(PONG, b"x"), (CLOSE, close_payload(1000))]


@both_roles
def test_pongs_do_not_count_as_buffered(role: Role) -> None:
    end = End(role)
    end.connection.receive_data(frame(role, PING, b"x" * 125), end.now)
    assert end.connection.buffered_amount() == 0


@both_roles
def test_pongs_that_nobody_asked_for_are_told_and_forgotten(role: Role) -> None:
    class Counter(Recorder):
        count = 0

        def pong_received(self, payload: bytes) -> None:
            self.count += 1

    counter = Counter()
    end = End(role, application=counter)
    flood = frame(role, PONG, b"x" * 125) * 1000
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(20):
            end.connection.receive_data(flood, end.now)
        assert tracemalloc.get_traced_memory()[0] - before < 5000
    finally:
        tracemalloc.stop()
    assert counter.count == 20_000
    assert end.wire == b""


@both_roles
def test_an_idle_connection_holds_next_to_no_memory(role: Role) -> None:
    buffer, connections, nobody = ReadBuffer(), [], Application()
    tracemalloc.start()
    try:
        for i in range(200):
            if i == 100:
                before = tracemalloc.get_traced_memory()[0]
            connection = Connection(role, nobody, buffer, START, max_message_size=MIB)
            connections.append(connection)
            connection.established(START)
            connection.receive_data(frame(role, TEXT, b"x" * 10_000), START)
            connection.receive_data(frame(role, TEXT, b"x" * 100, fin=False) + frame(role, CONTINUATION), START)
            connection.send(TEXT, "x" * 10_000)
            assert connection.fill()
            connection.data_to_send()
            assert not connection.fill()
        assert tracemalloc.get_traced_memory()[0] - before < 100 * (1500 + LOG_SIZE)
    finally:
        tracemalloc.stop()


# Large messages.


@both_roles
@pytest.mark.parametrize("size", [LARGE, READ_SIZE - 20, READ_SIZE, READ_SIZE + 1, 3 * READ_SIZE, 1_000_000])
@pytest.mark.parametrize("piece", [1000, 16384, READ_SIZE, 1_000_000])
@pytest.mark.parametrize("text", [False, True])
def test_a_large_message_arrives_whole(role: Role, size: int, piece: int, text: bool) -> None:
    whole = ("aä€𝄞" * (size // 10 + 1)).encode()[: size - size % 10]
    data = frame(role, TEXT if text else BINARY, whole) + frame(role, TEXT, b"next")
    end = End(role, max_message_size=None).feed(data, range(0, len(data), piece))
    assert end.messages() == [whole.decode() if text else whole, "next"]


@both_roles
def test_what_is_left_of_a_large_frame_is_read_straight_into_its_message(role: Role) -> None:
    size = 1 << 20
    data = frame(role, BINARY, bytes(i % 251 for i in range(size)))
    end, at = End(role), 0
    largest = 0
    while at < len(data):
        room = end.connection.receiver.get_buffer()
        largest = max(largest, len(room))
        count = min(len(room), len(data) - at, 100_000)
        room[:count] = data[at : at + count]
        del room  # it is valid until then
        end.connection.buffer_updated(count, end.now)
        at += count
    assert largest > 4 * READ_SIZE
    assert end.messages() == [bytes(i % 251 for i in range(size))]


@both_roles
def test_a_read_that_was_begun_may_end_after_the_connection_failed(role: Role) -> None:
    for way in ("fail", "lost", "terminate"):
        end = End(role).feed(frame(role, BINARY, declared=MIB) + bytes(READ_SIZE * 2))
        room = end.connection.receiver.get_buffer()
        if way == "fail":
            end.connection.fail(Violation.RESERVED_BITS, end.now)
        elif way == "lost":
            end.connection.connection_lost(end.now)
        else:
            end.connection.terminate(end.now)
        room[:4] = b"\x83\x83\x83\x83"
        end.connection.buffer_updated(len(room), end.now)
        assert end.messages() == []
        assert len(end.connection.receiver.get_buffer()) == READ_SIZE


@both_roles
def test_the_room_to_read_into_is_never_empty(role: Role) -> None:
    end = End(role)
    for octet in frame(role, PING, b"x" * 125)[:-1]:
        room = end.connection.receiver.get_buffer()
        assert len(room) >= READ_SIZE - 140
        room[0] = octet
        end.connection.buffer_updated(1, end.now)
    assert end.events == []


@both_roles
def test_two_thousand_messages_and_a_close_in_one_burst_arrive_in_order(role: Role) -> None:
    data = b"".join(frame(role, TEXT, b"%d" % i) for i in range(2000)) + frame(role, CLOSE, close_payload(4000, "so"))
    end = End(role).feed(data)
    end.connection.receive_eof(end.now)
    assert end.messages() == [f"{i}" for i in range(2000)]
    assert end.connection.closing.received == CloseFrame(4000, "so")
    assert end.closes() == [close_payload(4000, "so")]
    assert end.connection.closing.was_clean


# The closing handshake, with a peer that keeps the rules.


def finish(pair: Pair) -> None:
    pair.settle()
    assert {end.state for end in pair.ends} == {State.CLOSE_EXCHANGED}
    assert {end.connection.closing.ending for end in pair.ends} == {Ending.FINISH}
    pair.lose()
    assert {end.state for end in pair.ends} == {State.CLOSED}
    assert all(end.connection.closing.was_clean and len(end.closes()) == 1 for end in pair.ends)


@both_roles
@pytest.mark.parametrize("code", [None, *MAY_BE_SENT])
def test_a_close_frame_is_answered_with_the_same_code(role: Role, code: int | None) -> None:
    reason = "" if code is None else "so long"
    pair = Pair()
    we, they = (pair.client, pair.server) if role is Role.CLIENT else (pair.server, pair.client)
    we.close(code, reason)
    assert we.state is State.CLOSE_SENT
    finish(pair)
    for end in pair.ends:
        assert end.connection.closing.sent == end.connection.closing.received == CloseFrame(code, reason)
        assert not end.connection.closing.failed
    assert (we.connection.closing.initiator, they.connection.closing.initiator) == ("local", "remote")
    assert we.closes() == they.closes() == [close_payload(code, reason)]


@both_roles
def test_an_empty_close_frame_is_answered_by_an_empty_one(role: Role) -> None:
    end = End(role).arrive(CLOSE)
    assert end.closes() == [b""]
    assert end.connection.closing.sent == end.connection.closing.received == CloseFrame(None, "")


@both_roles
@pytest.mark.parametrize("reason", ["x" * 123, "ä" * 61, "€" * 41, "𝄞" * 30, "a\0\x1b[2J\n"])
def test_a_reason_goes_there_and_back_unchanged(role: Role, reason: str) -> None:
    pair = Pair()
    pair.client.close(4999, reason)
    finish(pair)
    assert (
        pair.server.connection.closing.received == pair.client.connection.closing.received == CloseFrame(4999, reason)
    )


def test_two_close_frames_that_cross_close_cleanly() -> None:
    pair = Pair()
    pair.client.close(4000, "client")
    pair.server.close(4001, "server")
    finish(pair)
    for end, other in ((pair.client, pair.server), (pair.server, pair.client)):
        assert end.connection.closing.received == other.connection.closing.sent
        assert end.connection.closing.initiator == "simultaneous"
    assert pair.client.connection.closing.received == CloseFrame(4001, "server")


@both_roles
@pytest.mark.parametrize(
    ("sent", "answer", "initiator"),
    [
        (CloseFrame(4000, "we"), CloseFrame(4000, "we"), "local"),
        (CloseFrame(4000, "we"), CloseFrame(4000, "their words"), "local"),
        (CloseFrame(4000, "we"), CloseFrame(1000, ""), "local"),
        (CloseFrame(4000, "we"), CloseFrame(None, ""), "local"),
        (CloseFrame(None, ""), CloseFrame(None, ""), "local"),
        (CloseFrame(4000, "we"), CloseFrame(1001, ""), "simultaneous"),
        (CloseFrame(4000, "we"), CloseFrame(1000, "their words"), "simultaneous"),
        (CloseFrame(None, ""), CloseFrame(4001, ""), "simultaneous"),
    ],
)
def test_an_answer_that_differs_counts_and_may_be_none(
    role: Role, sent: CloseFrame, answer: CloseFrame, initiator: str
) -> None:
    end = End(role).close(sent.code, sent.reason).arrive(CLOSE, close_payload(*answer))
    c = end.connection
    assert (c.closing.sent, c.closing.received, c.closing.initiator) == (sent, answer, initiator)
    assert c.closing.was_clean
    assert end.closes() == [close_payload(*sent)]


@both_roles
def test_a_close_frame_that_comes_before_ours_has_left_is_simultaneous(role: Role) -> None:
    end = End(role)
    end.congest()
    end.connection.send_close(4000, "", end.now)
    end.arrive(CLOSE, close_payload(4000))
    assert (end.state, end.connection.closing.initiator) == (State.CLOSE_EXCHANGED, "simultaneous")
    end.relieve()
    assert end.closes() == [close_payload(4000)]
    assert end.connection.closing.was_clean


@both_roles
def test_the_first_close_counts(role: Role) -> None:
    end = End(role).close(4000, "first").close(4001, "second", 99.0)
    assert end.closes() == [close_payload(4000, "first")]
    assert end.connection.closing.sent == CloseFrame(4000, "first")
    assert end.connection.next_deadline() == START + CLOSE_TIMEOUT


@both_roles
def test_messages_arrive_until_the_answer_does(role: Role) -> None:
    end = End(role).close(1000).arrive(TEXT, b"late").arrive(PING, b"?").arrive(BINARY, b"er", fin=False)
    end.arrive(CONTINUATION, b"!").arrive(CLOSE, close_payload(1000)).arrive(TEXT, b"too late")
    assert end.messages() == ["late", b"er!"]
    assert end.written() == [(CLOSE, close_payload(1000))]  # and no pong


@both_roles
def test_closing_does_not_discard_what_was_sent(role: Role) -> None:
    end = End(role)
    end.congest()
    for i in range(100):
        end.connection.send(BINARY, b"%d" % i * 50_000)
    end.close(1000, "bye")
    assert end.connection.closing.sent is None
    end.relieve()
    assert end.written_messages() == [(BINARY, b"%d" % i * 50_000) for i in range(100)]
    assert end.closes() == [close_payload(1000, "bye")]
    assert end.connection.closing.sent == CloseFrame(1000, "bye")
    assert end.connection.buffered_amount() == 0


# The closing handshake, with a peer that does not.


@both_roles
@pytest.mark.parametrize("code", MUST_NOT_BE_SENT)
def test_a_close_frame_with_a_reserved_code_breaks_a_rule(role: Role, code: int) -> None:
    assert_failed(End(role).arrive(CLOSE, close_payload(code, "x")), Violation.CLOSE_CODE_RESERVED)


@both_roles
def test_a_close_frame_of_one_byte_breaks_a_rule(role: Role) -> None:
    assert_failed(End(role).arrive(CLOSE, b"\x03"), Violation.CLOSE_TOO_SHORT)


@both_roles
@pytest.mark.parametrize("reason", [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"cut \xe2\x82"])
def test_a_reason_that_is_not_utf8_breaks_a_rule(role: Role, reason: bytes) -> None:
    assert_failed(End(role).arrive(CLOSE, b"\x03\xe8" + reason), Violation.CLOSE_REASON_NOT_UTF8)


MALFORMED = [
    (PING, {"rsv": 0x40}, Violation.RESERVED_BITS),
    (TEXT, {"rsv": 0x20}, Violation.RESERVED_BITS),
    (CONTINUATION, {"rsv": 0x10}, Violation.RESERVED_BITS),
    (CLOSE, {"rsv": 0x40}, Violation.RESERVED_BITS),
    (3, {}, Violation.RESERVED_OPCODE),
    (3, {"declared": 512 << 20}, Violation.RESERVED_OPCODE),
    (11, {}, Violation.RESERVED_OPCODE),
    (PING, {"fin": False}, Violation.CONTROL_FRAGMENTED),
    (CLOSE, {"fin": False}, Violation.CONTROL_FRAGMENTED),
    (PING, {"declared": 126}, Violation.CONTROL_TOO_LONG),
    (PONG, {"declared": 65536}, Violation.CONTROL_TOO_LONG),
    (CLOSE, {"declared": 126}, Violation.CONTROL_TOO_LONG),
    (BINARY, {"declared": 5, "form": 16}, Violation.LENGTH_NOT_MINIMAL),
    (BINARY, {"declared": 5, "form": 64}, Violation.LENGTH_NOT_MINIMAL),
    (BINARY, {"declared": 1 << 63}, Violation.LENGTH_OUT_OF_RANGE),
    (BINARY, {"declared": (1 << 63) + 5}, Violation.LENGTH_OUT_OF_RANGE),
    (BINARY, {"declared": (1 << 64) - 4}, Violation.LENGTH_OUT_OF_RANGE),
    (BINARY, {"declared": (1 << 63) - 1}, Violation.MESSAGE_TOO_BIG),
    (CONTINUATION, {}, Violation.NOTHING_TO_CONTINUE),
]


@both_roles
@pytest.mark.parametrize(("opcode", "options", "violation"), MALFORMED)
def test_a_malformed_frame_is_answered_by_a_close_frame(
    role: Role, opcode: int, options: dict[str, Any], violation: Violation
) -> None:
    data = frame(role, TEXT, b"good") + frame(role, opcode, **options) + frame(role, TEXT, b"never read")
    end = End(role).feed(data)
    assert_failed(end, violation)
    assert end.messages() == ["good"]


#: Frames that break a rule, and what is told of them.
PARTICULARS: list[tuple[list[tuple[int, bytes, dict[str, Any]]], Violation, str | dict[Role, str]]] = [
    (
        [(TEXT, b"", {"rsv": 0x50})],
        Violation.RESERVED_BITS,
        "RSV1 and RSV3 of a text frame, whose header begins with d1",
    ),
    ([(3, b"", {"rsv": 0x20})], Violation.RESERVED_BITS, "RSV2 of opcode 0x3, whose header begins with a3"),
    ([(11, b"", {})], Violation.RESERVED_OPCODE, "opcode 0xb, whose header begins with 8b"),
    ([(BINARY, b"", {"declared": 5, "form": 64})], Violation.LENGTH_NOT_MINIMAL, "5 in 8 bytes"),
    ([(BINARY, b"", {"declared": 125, "form": 16})], Violation.LENGTH_NOT_MINIMAL, "125 in 2 bytes"),
    ([(BINARY, b"", {"declared": 1 << 63})], Violation.LENGTH_OUT_OF_RANGE, "the length's first byte is 0x80"),
    ([(PING, b"", {"fin": False})], Violation.CONTROL_FRAGMENTED, "a ping frame, whose header begins with 09"),
    (
        [(CLOSE, b"", {"declared": 126})],
        Violation.CONTROL_TOO_LONG,
        {
            Role.CLIENT: "a close frame, whose header begins with 88 7e",
            Role.SERVER: "a close frame, whose header begins with 88 fe",
        },
    ),
    ([(CONTINUATION, b"x", {})], Violation.NOTHING_TO_CONTINUE, "a frame of 1 byte"),
    (
        [(TEXT, b"a", {"fin": False}), (CONTINUATION, b"b", {"fin": False}), (BINARY, b"c", {})],
        Violation.MESSAGE_UNFINISHED,
        "a binary message after 2 frames of a text one",
    ),
    ([(CLOSE, b"\x03", {})], Violation.CLOSE_TOO_SHORT, "it is 03"),
    ([(CLOSE, close_payload(1005), {})], Violation.CLOSE_CODE_RESERVED, "code 1005"),
    (
        [(CLOSE, close_payload(0, "kicked\x1b[2J\n"), {})],
        Violation.CLOSE_CODE_RESERVED,
        r"code 0 with the reason 'kicked\x1b[2J\n'",
    ),
    (
        [(CLOSE, b"\x03\xee\xff", {})],
        Violation.CLOSE_CODE_RESERVED,
        r"code 1006 with the reason '\\xff'",
    ),
    (
        [(CLOSE, b"\x03\xe8ab\xc3c", {})],
        Violation.CLOSE_REASON_NOT_UTF8,
        "code 1000, and in the reason c3 at offset 2 (invalid continuation byte)",
    ),
    (
        [(TEXT, b"x" * 2000 + b"\xf0\x9f\x92", {"fin": False}), (CONTINUATION, b"", {})],
        Violation.TEXT_NOT_UTF8,
        "f0 9f 92 at offset 2,000 (unexpected end of data)",
    ),
    (
        [(TEXT, b"x" * 200, {"fin": False}), (CONTINUATION, "€".encode() + b"x" * 97 + b"\xed\xa0\x80", {})],
        Violation.TEXT_NOT_UTF8,
        "ed at offset 300 (invalid continuation byte)",
    ),
    (
        [(TEXT, b"x" * 200 + b"\xf4\x90\x80", {})],
        Violation.TEXT_NOT_UTF8,
        "f4 at offset 200 (invalid continuation byte)",
    ),
    (
        [(BINARY, b"x" * 1000, {"fin": False}), (CONTINUATION, b"", {"declared": 1 << 40})],
        Violation.MESSAGE_TOO_BIG,
        "a frame of 1,099,511,627,776 bytes after 1,000 bytes, and max_message_size is 4,000",
    ),
    (
        [(TEXT, b"", {"fin": False})] * 2,
        Violation.MESSAGE_UNFINISHED,
        "a text message after 1 frame of a text one",
    ),
]


@both_roles
@pytest.mark.parametrize(("frames", "violation", "expected"), PARTICULARS)
def test_a_violation_says_what_was_sent_wherever_the_bytes_are_cut(
    role: Role,
    frames: list[tuple[int, bytes, dict[str, Any]]],
    violation: Violation,
    expected: str | dict[Role, str],
) -> None:
    stream = b"".join(frame(role, opcode, payload, **options) for opcode, payload, options in frames)
    told = expected if isinstance(expected, str) else expected[role]
    for cuts in ([], [1], [len(stream) - 1], list(range(1, len(stream)))):
        error = End(role, max_message_size=4000).feed(stream, cuts).connection.closing.error
        assert error is not None
        assert (error.violation, error.detail) == (violation, told)
        assert str(error) == f"{violation}: {told}"
        assert error.__traceback__ is None


@pytest.mark.parametrize("role", Role)
def test_a_frame_masked_for_the_other_role_says_how_it_begins(role: Role) -> None:
    other = Role.CLIENT if role is Role.SERVER else Role.SERVER
    detail = End(role).feed(frame(other, TEXT, b"x")).connection.closing.detail
    assert detail.endswith(f": a text frame, whose header begins with 81 {'01' if role is Role.SERVER else '81'}")


@both_roles
def test_a_frame_masked_for_the_other_role_is_answered_by_a_close_frame(role: Role) -> None:
    other = Role.CLIENT if role is Role.SERVER else Role.SERVER
    violation = Violation.FRAME_NOT_MASKED if role is Role.SERVER else Violation.FRAME_MASKED
    assert_failed(End(role).feed(frame(other, TEXT, b"x")), violation)


@both_roles
@pytest.mark.parametrize(("opcode", "options", "violation"), MALFORMED)
def test_a_malformed_frame_after_our_close_frame_is_not_answered_by_another(
    role: Role, opcode: int, options: dict[str, Any], violation: Violation
) -> None:
    end = End(role).close(1000, "bye").feed(frame(role, opcode, **options))
    c = end.connection
    assert (c.closing.state, c.closing.violation, c.closing.failed, c.closing.initiator) == (
        State.FAILING,
        violation,
        True,
        "local",
    )
    assert end.closes() == [close_payload(1000, "bye")]
    assert (c.closing.ending, c.closing.received, c.closing.was_clean) == (Ending.HALF_CLOSE, None, False)


@both_roles
def test_a_close_frame_after_a_failure_does_not_make_it_clean(role: Role) -> None:
    end = End(role).feed(b"\x83").arrive(CLOSE, close_payload(1002))
    assert_failed(end, Violation.RESERVED_OPCODE)


@both_roles
def test_both_ends_may_fail_at_once(role: Role) -> None:
    pair = Pair()
    for end in pair.ends:
        end.connection.fail(Violation.RESERVED_BITS, end.now)
    pair.settle()
    assert all(len(end.closes()) == 1 and end.state is State.FAILING for end in pair.ends)


@both_roles
def test_what_follows_the_close_frame_is_ignored(role: Role) -> None:
    after = frame(role, TEXT, b"x") + frame(role, PING) + frame(role, CLOSE, close_payload(4002)) + b"\x83\xff"
    data = frame(role, CLOSE, close_payload(4001, "the first"))
    for end in (End(role).feed(data + after), End(role).feed(data).feed(after, range(100))):
        assert (end.events, end.closes()) == ([], [close_payload(4001, "the first")])
        assert end.connection.closing.received == CloseFrame(4001, "the first")
        assert end.connection.closing.was_clean
        assert not end.connection.closing.failed


@both_roles
def test_a_close_frame_between_fragments_drops_the_message(role: Role) -> None:
    end = End(role).arrive(TEXT, b"half a ", fin=False).arrive(CLOSE, close_payload(1001)).arrive(CONTINUATION, b"word")
    assert end.messages() == []
    assert end.closes() == [close_payload(1001)]
    assert (end.connection.closing.initiator, end.connection.closing.was_clean) == ("remote", True)


@both_roles
def test_a_longest_close_frame_may_be_split_anywhere(role: Role) -> None:
    data = frame(role, CLOSE, close_payload(4999, "€" * 41))
    for cut in range(len(data)):
        end = End(role).feed(data[:cut])
        assert end.state is State.OPEN
        assert end.feed(data[cut:]).connection.closing.received == CloseFrame(4999, "€" * 41)


@both_roles
def test_refusing_is_failing_with_a_code_of_our_own(role: Role) -> None:
    end = End(role)
    end.connection.refuse(1008, "too much", end.now, Reason(Cause.POLICY, "particulars"))
    end.flush()
    c = end.connection
    assert (c.closing.initiator, c.closing.cause, c.closing.detail) == (Initiator.LOCAL, Cause.POLICY, "particulars")
    assert (c.closing.state, c.closing.failed, c.closing.violation, c.closing.sent) == (
        State.FAILING,
        True,
        None,
        CloseFrame(1008, "too much"),
    )
    assert end.closes() == [close_payload(1008, "too much")]


@both_roles
@pytest.mark.parametrize(
    ("way", "arguments", "state", "count"),
    [
        ("send_close", (1000, "", START), State.CLOSE_SENT, 3),
        ("terminate", (START,), State.FAILING, 1),
        ("refuse", (1008, "", START, Reason(Cause.POLICY)), State.FAILING, 1),
        ("connection_lost", (START,), State.CLOSED, 1),
    ],
)
def test_an_application_that_ends_the_connection_at_a_message_is_obeyed_at_once(
    role: Role, way: str, arguments: tuple[Any, ...], state: State, count: int
) -> None:
    class Ending(Recorder):
        def message_received(self, message: str | bytes) -> None:
            super().message_received(message)
            getattr(self.connection, way)(*arguments)

    end = End(role, application=Ending())
    end.feed(frame(role, TEXT, b"a") * 2 + frame(role, TEXT, b"b", fin=False) + frame(role, CONTINUATION))
    assert (end.state, len(end.messages())) == (state, count)
    assert len(end.closes()) <= 1


# The end of TCP.


@both_roles
def test_eof_without_a_close_frame_is_no_clean_end(role: Role) -> None:
    end = End(role).arrive(TEXT, b"a").arrive(TEXT, b"b", fin=False)
    end.connection.receive_eof(end.now)
    end.flush()
    c = end.connection
    assert (c.closing.state, c.closing.ending, c.closing.initiator, c.closing.failed) == (
        State.FAILING,
        Ending.HANG_UP,
        "remote",
        False,
    )
    assert (end.messages(), end.frames()) == (["a"], [])
    c.connection_lost(end.now)
    assert (c.closing.state, c.closing.was_clean, c.closing.sent, c.closing.received) == (
        State.CLOSED,
        False,
        None,
        None,
    )


@both_roles
def test_eof_after_our_close_frame_is_no_clean_end(role: Role) -> None:
    end = End(role).close(1000)
    end.connection.receive_eof(end.now)
    assert (end.state, end.connection.closing.ending, end.connection.closing.initiator) == (
        State.FAILING,
        Ending.HANG_UP,
        "local",
    )
    assert not end.connection.closing.was_clean


@both_roles
def test_a_peer_may_half_close_behind_its_close_frame(role: Role) -> None:
    end = End(role)
    end.congest()
    end.connection.receive_data(frame(role, CLOSE, close_payload(1000)), end.now)
    end.connection.receive_eof(end.now)
    assert end.connection.closing.ending is Ending.HANG_UP
    assert not end.connection.is_flushed
    end.relieve()
    assert end.connection.is_flushed
    assert end.closes() == [close_payload(1000)]
    assert end.connection.closing.was_clean


@both_roles
def test_a_lost_connection_is_clean_only_if_both_close_frames_have_left(role: Role) -> None:
    for left in (True, False):
        end = End(role)
        if not left:
            end.congest()
        end.arrive(CLOSE, close_payload(4000))
        end.connection.connection_lost(end.now)
        assert (end.state, end.connection.closing.was_clean) == (State.CLOSED, left)
        assert end.connection.closing.received == CloseFrame(4000, "")
        assert (end.connection.closing.sent is not None) == left


@both_roles
def test_sent_is_said_only_when_it_has_left(role: Role) -> None:
    end = End(role)
    end.connection.send_close(4000, "", end.now)
    assert end.connection.closing.sent is None
    end.flush()
    assert end.connection.closing.sent == CloseFrame(4000, "")
    end = End(role)
    end.congest()
    end.connection.send(BINARY, bytes(MIB))
    end.connection.send(BINARY, b"x")
    end.close(4000)
    assert end.connection.closing.sent is None
    end.connection.connection_lost(end.now)
    end.relieve()
    assert (end.connection.closing.sent, bytes(end.wire), end.connection.buffered_amount()) == (None, b"", MIB + 1)


@both_roles
def test_a_close_frame_is_sent_only_when_its_piece_of_the_queue_is(role: Role) -> None:
    end = End(role)
    end.congest()
    for _ in range(5):
        end.connection.send(BINARY, bytes(100_000))
    end.close(4000)
    for _ in range(5):
        assert end.connection.closing.sent is None
        end.capacity = 0
        end.connection.resume_writing()
        end.flush()
    while not end.closes():
        assert end.connection.closing.sent is None
        end.capacity = 0
        end.connection.resume_writing()
        end.flush()
    end.relieve()
    assert end.connection.closing.sent == CloseFrame(4000, "")


@both_roles
def test_a_close_frame_that_the_transport_still_holds_is_not_clean_yet(role: Role) -> None:
    end = End(role)
    end.capacity = 0
    end.arrive(CLOSE, close_payload(4000))
    assert (end.connection.closing.sent, end.connection.is_flushed) == (None, False)
    assert not end.connection.closing.was_clean
    end.relieve()
    assert end.connection.closing.sent == CloseFrame(4000, "")
    assert end.connection.closing.was_clean


@both_roles
def test_what_has_not_left_stays_buffered_after_the_end(role: Role) -> None:
    end = End(role)
    end.connection.send(TEXT, "abc")
    end.connection.connection_lost(end.now)
    assert end.connection.buffered_amount() == 3
    assert not end.connection.fill()


@both_roles
def test_terminate_ends_at_once_and_says_nothing(role: Role) -> None:
    end = End(role)
    end.connection.send(TEXT, "x")
    end.connection.terminate(end.now)
    c = end.connection
    assert (c.closing.state, c.closing.ending, c.closing.initiator, c.closing.failed) == (
        State.FAILING,
        Ending.ABORT,
        "local",
        False,
    )
    assert (c.closing.sent, c.closing.was_clean) == (None, False)
    c.connection_lost(end.now)
    assert c.closing.state is State.CLOSED


@both_roles
def test_after_both_close_frames_nothing_makes_the_end_unclean(role: Role) -> None:
    for way in ("eof", "terminate", "deadline", "lost", "garbage"):
        end = End(role).close(1000).arrive(CLOSE, close_payload(1000))
        c = end.connection
        if way == "eof":
            c.receive_eof(end.now)
        elif way == "terminate":
            c.terminate(end.now)
        elif way == "deadline":
            c.handle_deadline(end.now + 60)
        elif way == "garbage":
            c.receive_data(b"\xff" * 100, end.now)
        c.connection_lost(end.now)
        assert (c.closing.state, c.closing.was_clean, c.closing.initiator) == (State.CLOSED, True, "local")


@pytest.mark.parametrize(
    ("way", "ending", "initiator"),
    [
        ("send_close", Ending.ABORT, "local"),
        ("terminate", Ending.ABORT, "local"),
        ("refuse", Ending.HANG_UP, "local"),
        ("receive_eof", Ending.HANG_UP, "network"),
    ],
)
def test_before_the_handshake_is_over_no_frame_is_sent(way: str, ending: Ending, initiator: str) -> None:
    end = End(Role.CLIENT, established=False)
    c = end.connection
    arguments = {"send_close": (1000, "", START), "refuse": (1002, "", START, Reason(Cause.HANDSHAKE_INVALID))}.get(
        way, (START,)
    )
    getattr(c, way)(*arguments)
    end.flush()
    assert (c.closing.state, c.closing.ending, c.closing.initiator, end.frames()) == (
        State.FAILING,
        ending,
        initiator,
        [],
    )
    c.connection_lost(end.now)
    assert (c.closing.state, c.closing.sent, c.closing.was_clean) == (State.CLOSED, None, False)


def test_a_transport_lost_before_the_handshake_is_over_is_the_networks() -> None:
    end = End(Role.CLIENT, established=False)
    end.connection.connection_lost(end.now, Reason(Cause.CONNECT_FAILED))
    assert (end.state, end.connection.closing.initiator) == (State.CLOSED, "network")


# Time: one absolute deadline for the whole closing.


@both_roles
def test_the_opening_has_a_deadline(role: Role) -> None:
    assert End(role, established=False).connection.next_deadline() == START + OPEN_TIMEOUT
    end = End(role, established=False, open_timeout=3)
    assert end.connection.next_deadline() == START + 3
    end.connection.handle_deadline(START + 2.999)
    assert end.state is State.CONNECTING
    end.connection.handle_deadline(START + 3)
    assert (end.state, end.connection.closing.ending) == (State.FAILING, Ending.ABORT)


@both_roles
@pytest.mark.parametrize(
    ("of_connection", "of_call", "seconds"), [(None, None, 5.0), (7.0, None, 7.0), (7.0, 0.5, 0.5)]
)
def test_the_timeout_of_the_closing_can_be_chosen(
    role: Role, of_connection: float | None, of_call: float | None, seconds: float
) -> None:
    end = End(role) if of_connection is None else End(role, close_timeout=of_connection)
    assert end.close(1000, "", of_call).connection.next_deadline() == START + seconds


@both_roles
def test_no_traffic_moves_the_deadline(role: Role) -> None:
    end = End(role).close(1000)
    for i in range(490):
        end.now = START + i / 100
        end.arrive(TEXT, b"still talking").arrive(PING).arrive(PONG).close(1000)
        end.connection.handle_deadline(end.now)
        assert (end.state, end.connection.next_deadline()) == (State.CLOSE_SENT, START + CLOSE_TIMEOUT)
    end.connection.handle_deadline(START + CLOSE_TIMEOUT)
    assert (end.state, end.connection.closing.ending) == (State.FAILING, Ending.ABORT)
    assert end.connection.closing.initiator == "local"
    assert not end.connection.closing.was_clean
    assert end.connection.next_deadline() is None


@both_roles
def test_a_close_frame_that_dribbles_does_not_move_the_deadline(role: Role) -> None:
    end = End(role).close(1000)
    for octet in frame(role, CLOSE, close_payload(1000, "slow"))[:5]:
        end.now += 1
        end.feed(bytes([octet]))
    end.connection.handle_deadline(end.now)
    assert (end.state, end.connection.closing.ending) == (State.FAILING, Ending.ABORT)


@both_roles
@pytest.mark.parametrize(("answered", "deadline"), [(1.0, 3.0), (4.0, 5.0)])
def test_the_answer_brings_the_deadline_forward_and_never_back(role: Role, answered: float, deadline: float) -> None:
    end = End(role).close(1000)
    end.now = START + answered
    end.arrive(CLOSE, close_payload(1000))
    assert end.connection.next_deadline() == START + deadline
    end.connection.handle_deadline(START + deadline)
    assert (end.state, end.connection.closing.ending) == (State.CLOSE_EXCHANGED, Ending.ABORT)
    assert end.connection.closing.was_clean


@both_roles
def test_a_violation_after_our_close_frame_does_not_move_the_deadline_back(role: Role) -> None:
    end = End(role).close(1000, "", 1.0).feed(b"\x83")
    assert end.connection.next_deadline() == START + 1
    end = End(role).close(1000, "", 60.0).feed(b"\x83")
    assert end.connection.next_deadline() == START + LINGER


@both_roles
def test_the_peers_close_frame_and_a_failure_set_a_deadline_too(role: Role) -> None:
    assert End(role).arrive(CLOSE).connection.next_deadline() == START + LINGER
    assert End(role).feed(b"\x83").connection.next_deadline() == START + LINGER


@both_roles
def test_a_peer_that_never_reads_does_not_stop_the_deadline(role: Role) -> None:
    end = End(role)
    end.congest()
    end.connection.send(BINARY, bytes(1000))
    end.close(1000)
    end.now = START + CLOSE_TIMEOUT
    end.connection.handle_deadline(end.now)
    c = end.connection
    assert (c.closing.state, c.closing.ending, c.closing.sent, c.buffered_amount()) == (
        State.FAILING,
        Ending.ABORT,
        None,
        1000,
    )


# Two connections and a link that delays and cuts.


@given(data=st.data(), cut=st.integers(1, 40))
@few
def test_two_ends_hear_what_the_other_says_and_agree_on_the_end(data: st.DataObject, cut: int) -> None:
    pair = Pair()
    said: dict[End, list[Any]] = {pair.client: [], pair.server: []}
    for step in data.draw(st.lists(st.integers(0, 13), max_size=25)):
        end = pair.ends[step % 2]
        if step < 8 and end.connection.is_open:
            message: str | bytes = data.draw(texts if step < 4 else payloads)
            end.connection.send(TEXT if step < 4 else BINARY, message)
            said[end].append(message)
        elif step < 10:
            pair.deliver(end, cut)
        elif step < 12 and end.connection.is_open:
            end.connection.send_ping(b"?")
        elif step >= 12:
            end.close(4000 + step)
    pair.client.close(1000)
    finish(pair)
    for end in pair.ends:
        other = pair.other(end)
        assert end.connection.closing.received == other.connection.closing.sent
        # Nothing is lost, but for what the other said after it had heard the first Close frame: nothing.
        assert end.messages() == said[other]
    initiators = {end.connection.closing.initiator for end in pair.ends}
    assert initiators <= {"local", "remote", "simultaneous"}
    assert initiators != {"remote"}


@given(data=st.data())
@few
def test_a_link_that_breaks_anywhere_leaves_two_ends_that_end(data: st.DataObject) -> None:
    pair = Pair()
    for _ in range(5):
        pair.client.connection.send(TEXT, "x" * 50)
        pair.server.connection.send(TEXT, "y" * 50)
    (pair.client if data.draw(st.booleans()) else pair.server).close(4000)
    for size in data.draw(st.lists(st.integers(0, 150), max_size=6)):
        pair.deliver(pair.ends[size % 2], size)
    for end in pair.ends:
        if data.draw(st.booleans()):
            end.connection.receive_eof(end.now)
            end.flush()
        end.connection.connection_lost(end.now)
        assert end.state is State.CLOSED
        assert end.connection.closing.was_clean == (
            end.connection.closing.received is not None and end.connection.closing.sent is not None
        )
        assert all(a != b for a, b in pairwise(end.application.states))


# Why it ended, and who began.


def lose(end: End) -> None:
    end.connection.connection_lost(end.now)


def reset(end: End) -> None:
    end.connection.connection_lost(end.now, Reason(Cause.TCP_RESET, "Connection reset by peer"))


def reset_without_words(end: End) -> None:
    end.connection.connection_lost(end.now, Reason(Cause.TCP_RESET))


def eof(end: End) -> None:
    end.connection.receive_eof(end.now)


def truncate(end: End) -> None:
    end.connection.receive_eof(end.now, True)


def stop(end: End) -> None:
    end.connection.terminate(end.now)


def time_is_up(end: End) -> None:
    deadline = end.connection.next_deadline()
    assert deadline is not None
    end.now = deadline
    end.connection.handle_deadline(end.now)


def peer_closes(code: int | None) -> Callable[[End], object]:
    return lambda end: end.arrive(CLOSE, close_payload(code))


def malformed(opcode: int, payload: bytes = b"", **options: Any) -> Callable[[End], object]:
    return lambda end: end.arrive(opcode, payload, **options)


LOCAL, REMOTE, NETWORK = Initiator.LOCAL, Initiator.REMOTE, Initiator.NETWORK
UNANSWERED = "the peer did not answer our Close frame"
STUCK = "our Close frame, or what was sent before it, could not leave"

#: What happens to an open connection, and what is told of it.
ENDS: list[tuple[str, list[Callable[[End], object]], Initiator, Cause, str]] = [
    ("we close", [lambda end: end.close(1000), peer_closes(1000)], LOCAL, Cause.LOCAL_CLOSE, ""),
    ("the peer closes", [peer_closes(1000)], REMOTE, Cause.PEER_CLOSE, ""),
    ("the peer closes with nothing", [peer_closes(None)], REMOTE, Cause.PEER_CLOSE, ""),
    ("the peer goes away", [peer_closes(1001)], REMOTE, Cause.PEER_CLOSE, ""),
    *(
        (f"the peer closes with {code}", [peer_closes(code)], REMOTE, Cause.PEER_REPORTED_ERROR, "")
        for code in (1002, 1003, 1007, 1009)
    ),
    ("the peer refuses", [peer_closes(1008)], REMOTE, Cause.PEER_CLOSE, ""),
    ("we terminate", [stop], LOCAL, Cause.TERMINATED, ""),
    ("fin", [eof], REMOTE, Cause.TCP_FIN, ""),
    (
        "fin in a frame",
        [malformed(TEXT, b"abc", declared=10), eof],
        REMOTE,
        Cause.TCP_FIN_MID_FRAME,
        "EOF 3 bytes into the payload of a frame of 10",
    ),
    ("reset", [reset], REMOTE, Cause.TCP_RESET, "Connection reset by peer"),
    ("truncated", [truncate], REMOTE, Cause.TLS_TRUNCATED, ""),
    ("no answer", [lambda end: end.close(1000), time_is_up], LOCAL, Cause.CLOSE_TIMEOUT, UNANSWERED),
    (
        "no way out",
        [lambda end: end.congest(), lambda end: end.close(1000), time_is_up],
        LOCAL,
        Cause.CLOSE_TIMEOUT,
        STUCK,
    ),
    (
        "reserved opcode",
        [malformed(3)],
        LOCAL,
        Cause.PROTOCOL_ERROR,
        "the opcode is reserved (RFC 6455 section 5.2): opcode 0x3, whose header begins with 83",
    ),
    (
        "bad text",
        [malformed(TEXT, b"\xff")],
        LOCAL,
        Cause.INVALID_UTF8,
        "a text message is not UTF-8 (RFC 6455 section 8.1): ff at offset 0 (invalid start byte)",
    ),
    (
        "bad reason",
        [malformed(CLOSE, b"\x03\xe8\xff")],
        LOCAL,
        Cause.INVALID_UTF8,
        "the reason of a Close frame is not UTF-8 (RFC 6455 section 5.5.1): "
        "code 1000, and in the reason ff at offset 0 (invalid start byte)",
    ),
    (
        "too big",
        [malformed(TEXT, declared=2 * MIB)],
        LOCAL,
        Cause.MESSAGE_TOO_BIG,
        "a message is larger than max_message_size (RFC 6455 section 10.4): a frame of 2,097,152 bytes, and "
        "max_message_size is 1,048,576",
    ),
    (
        "too many",
        [malformed(TEXT, fin=False), malformed(CONTINUATION, fin=False), malformed(CONTINUATION)],
        LOCAL,
        Cause.POLICY,
        f"{Violation.TOO_MANY_FRAGMENTS}: 0 bytes in 3 fragments; the limit is 2",
    ),
]


@both_roles
@pytest.mark.parametrize(("steps", "initiator", "cause", "detail"), [end[1:] for end in ENDS], ids=[e[0] for e in ENDS])
def test_every_end_has_its_cause_and_somebody_who_began_it(
    role: Role, steps: list[Callable[[End], object]], initiator: Initiator, cause: Cause, detail: str
) -> None:
    end = End(role, max_fragments=2)
    c = end.connection
    assert (c.closing.initiator, c.closing.cause, c.closing.detail) == (None, None, "")
    for step in steps:
        step(end)
        end.flush()
    lose(end)
    assert (c.closing.state, c.closing.initiator, c.closing.cause, c.closing.detail) == (
        State.CLOSED,
        initiator,
        cause,
        detail,
    )
    assert c.closing.was_clean == (c.closing.sent is not None and c.closing.received is not None)


GIVEN = [cause for cause in Cause if cause not in (Cause.PEER_CLOSE, Cause.PEER_REPORTED_ERROR)]


@both_roles
@pytest.mark.parametrize("cause", GIVEN)
def test_the_owner_of_a_connection_may_end_it_for_reasons_of_his_own(role: Role, cause: Cause) -> None:
    for way in ("close", "refuse", "terminate", "lost"):
        end = End(role)
        c = end.connection
        if way == "close":
            c.send_close(1001, "", end.now, why=Reason(cause, "because"))
        elif way == "refuse":
            c.refuse(1008, "", end.now, Reason(cause, "because"))
        elif way == "terminate":
            c.terminate(end.now, Reason(cause, "because"))
        else:
            c.connection_lost(end.now, Reason(cause, "because"))
        assert (c.closing.cause, c.closing.detail) == (cause, "because")
        assert c.closing.initiator == (REMOTE if way == "lost" else LOCAL)
        lose(end)
        assert (c.closing.cause, c.closing.detail) == (cause, "because")


@pytest.mark.parametrize(
    ("way", "initiator", "cause"),
    [
        ("deadline", LOCAL, Cause.OPEN_TIMEOUT),
        ("eof", NETWORK, Cause.TCP_FIN),
        ("truncated", NETWORK, Cause.TLS_TRUNCATED),
        ("close", LOCAL, Cause.LOCAL_CLOSE),
        ("terminate", LOCAL, Cause.TERMINATED),
        ("refuse", LOCAL, Cause.HANDSHAKE_INVALID),
        *(
            (cause, NETWORK, cause)
            for cause in (Cause.CONNECT_FAILED, Cause.PROXY_FAILED, Cause.TLS_FAILED, Cause.TCP_RESET)
        ),
    ],
)
def test_an_opening_that_fails_has_a_cause_too(way: str, initiator: Initiator, cause: Cause) -> None:
    end = End(Role.CLIENT, established=False)
    c = end.connection
    if way == "deadline":
        time_is_up(end)
    elif way == "eof" or way == "truncated":
        c.receive_eof(end.now, way == "truncated")
    elif way == "close":
        c.send_close(1000, "", end.now)
    elif way == "terminate":
        stop(end)
    elif way == "refuse":
        c.refuse(1002, "", end.now, Reason(cause))
    else:
        c.connection_lost(end.now, Reason(cause))
    reset(end)  # what follows does not count
    assert (c.closing.state, c.closing.initiator, c.closing.cause, c.closing.was_clean) == (
        State.CLOSED,
        initiator,
        cause,
        False,
    )


@both_roles
@pytest.mark.parametrize(
    ("step", "cause"),
    [
        (eof, Cause.TCP_FIN),
        (truncate, Cause.TLS_TRUNCATED),
        (reset, Cause.TCP_RESET),
        (time_is_up, Cause.CLOSE_TIMEOUT),
        (stop, Cause.TERMINATED),
        (malformed(3), Cause.PROTOCOL_ERROR),
        (malformed(TEXT, declared=2 * MIB), Cause.MESSAGE_TOO_BIG),
        (malformed(TEXT, b"\xff"), Cause.INVALID_UTF8),
        (lambda end: end.connection.refuse(1008, "", end.now, Reason(Cause.SLOW_CONSUMER)), Cause.SLOW_CONSUMER),
        (lambda end: end.connection.terminate(end.now, Reason(Cause.PROCESS_EXIT)), Cause.PROCESS_EXIT),
    ],
)
def test_what_breaks_a_closing_counts_more_than_what_began_it(
    role: Role, step: Callable[[End], object], cause: Cause
) -> None:
    end = End(role).close(1000)
    assert end.connection.closing.cause is Cause.LOCAL_CLOSE
    step(end)
    end.flush()
    for late in (stop, eof, reset):  # and the first that breaks it counts
        if end.state is not State.CLOSED:
            late(end)
    assert (end.connection.closing.initiator, end.connection.closing.cause) == (LOCAL, cause)
    assert not end.connection.closing.was_clean


@both_roles
@pytest.mark.parametrize("step", [eof, truncate, reset, stop, time_is_up, lose])
@pytest.mark.parametrize("ours", [False, True])
def test_a_clean_end_keeps_the_cause_that_began_it(role: Role, step: Callable[[End], object], ours: bool) -> None:
    end = End(role)
    if ours:
        end.connection.send_close(1001, "", end.now, why=Reason(Cause.SERVER_SHUTDOWN, "because"))
        end.flush()
    end.arrive(CLOSE, close_payload(1001))
    step(end)
    lose(end)
    expected = (LOCAL, Cause.SERVER_SHUTDOWN, "because") if ours else (REMOTE, Cause.PEER_CLOSE, "")
    c = end.connection
    assert (c.closing.was_clean, c.closing.initiator, c.closing.cause, c.closing.detail) == (True, *expected)


@both_roles
@pytest.mark.parametrize(("step", "cause"), [(reset, Cause.TCP_RESET), (stop, Cause.TERMINATED)])
def test_an_answer_that_never_left_is_no_clean_end(role: Role, step: Callable[[End], object], cause: Cause) -> None:
    end = End(role)
    end.congest()
    end.arrive(CLOSE, close_payload(1000))
    assert end.connection.closing.cause is Cause.PEER_CLOSE
    step(end)
    assert (end.connection.closing.was_clean, end.connection.closing.initiator, end.connection.closing.cause) == (
        False,
        REMOTE,
        cause,
    )


@both_roles
def test_an_answer_that_could_not_leave_in_time_is_told(role: Role) -> None:
    end = End(role)
    end.congest()
    end.arrive(CLOSE, close_payload(1000))
    time_is_up(end)
    c = end.connection
    assert (c.closing.initiator, c.closing.cause, c.closing.detail, c.closing.ending) == (
        REMOTE,
        Cause.CLOSE_TIMEOUT,
        STUCK,
        Ending.ABORT,
    )


@both_roles
def test_who_closes_at_the_same_time_keeps_his_own_cause(role: Role) -> None:
    end = End(role)
    end.connection.send_close(1011, "", end.now, why=Reason(Cause.HANDLER_ERROR, "ValueError"))
    end.flush()
    end.arrive(CLOSE, close_payload(1009))
    c = end.connection
    assert (c.closing.initiator, c.closing.cause, c.closing.detail) == (
        Initiator.SIMULTANEOUS,
        Cause.HANDLER_ERROR,
        "ValueError",
    )


@both_roles
def test_a_second_close_has_no_say(role: Role) -> None:
    end = End(role).close(1000)
    end.connection.send_close(1001, "", end.now, why=Reason(Cause.SERVER_SHUTDOWN, "late"))
    assert (end.connection.closing.cause, end.connection.closing.detail) == (Cause.LOCAL_CLOSE, "")


@both_roles
def test_nothing_changes_the_cause_after_the_end(role: Role) -> None:
    end = End(role)
    reset(end)
    for late in (stop, eof, reset, lambda end: end.close(1000)):
        late(end)
    assert (end.connection.closing.initiator, end.connection.closing.cause) == (REMOTE, Cause.TCP_RESET)


# Where the peer's bytes ended, and what we had said before.


@both_roles
@pytest.mark.parametrize("truncated", [False, True])
def test_an_eof_is_described_wherever_it_comes(role: Role, truncated: bool) -> None:
    first = frame(role, TEXT, b"a" * 1200, fin=False)
    second = frame(role, CONTINUATION, b"b" * 300)
    data = first + second
    header = len(first) - 1200
    for cut in range(len(data) + 1):
        end = End(role).feed(data[:cut])
        end.connection.receive_eof(end.now, truncated)
        if cut in (0, len(data)):
            expected = ""
        elif cut < header:
            expected = f"EOF {cut} bytes into a header or a control frame"
        elif cut < len(first):
            expected = f"EOF {cut - header:,} bytes into the payload of a frame of 1,200"
        elif cut == len(first):
            expected = "EOF between two fragments of a message, after 1,200 bytes of it"
        elif cut < len(first) + header:
            expected = f"EOF {cut - len(first)} bytes into a header or a control frame"
        else:
            expected = f"EOF {cut - len(first) - header} bytes into the payload of a frame of 300"
        cause = Cause.TCP_FIN_MID_FRAME if expected else Cause.TCP_FIN
        assert end.connection.closing.detail == expected
        assert end.connection.closing.cause is (Cause.TLS_TRUNCATED if truncated else cause)


@both_roles
def test_an_eof_in_a_control_frame_is_one_inside_of_something(role: Role) -> None:
    data = frame(role, CLOSE, close_payload(1000, "so long"))
    for cut in range(1, len(data)):
        end = End(role).feed(data[:cut])
        eof(end)
        assert end.connection.closing.cause is Cause.TCP_FIN_MID_FRAME
        assert end.connection.closing.detail == f"EOF {cut} bytes into a header or a control frame"


@both_roles
def test_a_reset_inside_of_a_frame_says_where_if_nothing_else_is_known(role: Role) -> None:
    end = End(role).feed(frame(role, BINARY, bytes(4096))[:-4])
    end.connection.connection_lost(end.now, Reason(Cause.TCP_RESET))
    assert end.connection.closing.detail == "4,092 bytes into the payload of a frame of 4,096"
    end = End(role).feed(frame(role, BINARY, bytes(4096))[:-4])
    reset(end)
    assert end.connection.closing.detail == "Connection reset by peer"


@both_roles
@pytest.mark.parametrize("way", [eof, peer_closes(1009), reset_without_words])
@pytest.mark.parametrize(
    ("message", "described"),
    [
        ("ä" * 50, "a text message of 100 bytes"),
        ("", "a text message of 0 bytes"),
        (bytes(FRAGMENT), "a binary message of 131,072 bytes"),
        (bytes(2_100_000), "a binary message of 2,100,000 bytes"),
    ],
)
def test_what_was_said_just_before_the_peer_went_is_told(
    role: Role, way: Callable[[End], object], message: str | bytes, described: str
) -> None:
    for later, told in ((0.003, f"3 ms after we sent {described}"), (1.5, "")):
        end = End(role)
        end.connection.send(TEXT, "an older one")
        end.flush()
        end.now += 10
        end.connection.touch(end.now)
        end.connection.send(TEXT if isinstance(message, str) else BINARY, message)
        end.flush()
        end.now += later
        end.connection.touch(end.now)
        end.connection.send_ping(b"pings do not count")
        end.flush()
        way(end)
        assert end.connection.closing.detail == told


# What is counted.


@both_roles
@given(data=st.data())
@many
def test_every_byte_that_arrives_is_counted(role: Role, data: st.DataObject) -> None:
    stream = data.draw(streams(role))
    end = End(role).feed(stream, data.draw(cut_places))
    stats = end.connection.stats(end.now)
    assert stats.bytes_received == len(stream)
    assert stats.messages_received == len(end.messages())
    assert stats.bytes_sent == len(end.wire)
    end.feed(b"more")
    assert end.connection.receiver.bytes_received == len(stream) + 4


@both_roles
@given(data=st.data())
@many
def test_what_was_not_delivered_is_counted_however_it_is_cut(role: Role, data: st.DataObject) -> None:
    stream = data.draw(streams(role))
    expected = Reference(role, stream)
    assume(("fail", Violation.TEXT_NOT_UTF8) not in expected.events)
    end = End(role).feed(stream, data.draw(cut_places))
    eof(end)
    assert end.connection.receiver.discarded == expected.discarded
    end.feed(b"more")
    assert end.connection.receiver.discarded == expected.discarded + 4


@both_roles
@pytest.mark.parametrize(
    "pieces",
    [
        [(TEXT, b"a\xffb", True)],
        [(TEXT, b"a\xe2\x82", True)],
        [(TEXT, b"abc", False), (CONTINUATION, b"d\xffe", True)],
        [(TEXT, b"abc", False), (CONTINUATION, b"d\xe2", True)],
        [(TEXT, b"abc", False), (CONTINUATION, b"d\xffe", False)],
    ],
)
def test_so_is_a_text_that_is_not_utf8(role: Role, pieces: list[tuple[int, bytes, bool]]) -> None:
    stream = b"".join(frame(role, opcode, payload, fin=fin) for opcode, payload, fin in pieces)
    stream += frame(role, TEXT, b"never read")
    expected = Reference(role, stream)
    assert expected.events == [("fail", Violation.TEXT_NOT_UTF8)]
    for cuts in ([], range(len(stream)), *([cut] for cut in range(1, len(stream)))):
        assert End(role).feed(stream, cuts).connection.receiver.discarded == expected.discarded, cuts


@both_roles
def test_stats_tell_what_has_passed_and_when(role: Role) -> None:
    end = End(role, established=False)
    assert end.connection.stats(START + 1) == Stats(None, None, None, 0, 0, 0, 0, None, 0)
    end.connection.established(START + 1)
    assert end.connection.stats(START + 3) == Stats(2, None, None, 0, 0, 0, 0, None, 0)
    end.now = START + 4
    end.connection.touch(end.now)
    end.connection.send(TEXT, "ours")
    assert end.connection.stats(START + 5).buffered == 4
    end.flush()
    end.now = START + 6
    end.arrive(BINARY, b"theirs").arrive(PONG, b"?")
    size = len(frame(role, BINARY, b"theirs")) + len(frame(role, PONG, b"?"))
    wire = 6 + (4 if role is Role.CLIENT else 0)
    assert end.connection.stats(START + 7.5) == Stats(6.5, 1.5, 3.5, size, wire, 1, 1, None, 0)
    lose(end)
    assert end.connection.stats(START + 7.5) == Stats(6.5, 1.5, 3.5, size, wire, 1, 1, None, 0)


@both_roles
def test_a_connection_knows_what_it_has_not_sent(role: Role) -> None:
    end = End(role)
    end.connection.send(TEXT, "left")
    end.flush()
    end.connection.send(BINARY, b"held")
    end.capacity = 0
    end.flush()
    end.connection.send(TEXT, "waits")
    end.close(1000)
    assert end.connection.sender.unsent(0) == ["waits"]
    assert end.connection.sender.unsent(1) == [b"held", "waits"]
    reset(end)
    assert end.connection.sender.unsent(1) == []


@both_roles
def test_whoever_is_told_of_the_end_can_still_ask_what_was_not_sent(role: Role) -> None:
    class Asking(Recorder):
        unsent: list[str | bytes] | None = None

        def state_changed(self) -> None:
            super().state_changed()
            assert self.connection is not None
            if self.connection.closing.state is State.CLOSED:
                self.unsent = self.connection.sender.unsent(0)

    asking = Asking()
    end = End(role, application=asking)
    end.congest()
    end.connection.send(TEXT, "waits")
    reset(end)
    assert asking.unsent == ["waits"]


# Alarms that come late.


def opening(role: Role) -> End:
    return End(role, established=False)


def closing(role: Role) -> End:
    return End(role).close(1000)


def lingering(role: Role) -> End:
    return closing(role).arrive(CLOSE, close_payload(1000))


def failing(role: Role) -> End:
    return End(role).feed(b"\x83")


waiting = pytest.mark.parametrize("begin", [opening, closing, lingering, failing])


@both_roles
@waiting
@pytest.mark.parametrize("late", [0.0, 0.001, 0.049])
def test_an_alarm_on_time_strikes_at_once(role: Role, begin: Callable[[Role], End], late: float) -> None:
    end = begin(role)
    deadline = end.connection.next_deadline()
    assert deadline is not None
    before = end.connection.closing.ending
    end.connection.handle_deadline(deadline - 0.001)
    assert end.connection.closing.ending is before
    assert end.connection.next_deadline() == deadline
    end.connection.handle_deadline(deadline + late)
    assert end.connection.closing.ending is Ending.ABORT


@both_roles
@waiting
@pytest.mark.parametrize("late", [0.051, 1.0, 3600.0])
def test_an_alarm_that_comes_late_looks_once_more_before_it_strikes(
    role: Role, begin: Callable[[Role], End], late: float
) -> None:
    end = begin(role)
    deadline = end.connection.next_deadline()
    assert deadline is not None
    before = end.connection.closing.ending
    end.connection.handle_deadline(deadline + late)
    assert end.connection.closing.ending is before
    assert end.connection.next_deadline() == pytest.approx(deadline + late + READ_GRACE)
    end.connection.handle_deadline(deadline + late + READ_GRACE / 2)
    assert end.connection.closing.ending is before
    end.connection.handle_deadline(deadline + late + 100)
    assert end.connection.closing.ending is Ending.ABORT


@both_roles
def test_an_answer_that_waited_while_the_loop_was_blocked_makes_the_end_clean(role: Role) -> None:
    end = closing(role)
    end.now += 60
    end.connection.handle_deadline(end.now)
    end.arrive(CLOSE, close_payload(1000))
    end.now += READ_GRACE
    end.connection.handle_deadline(end.now)
    lose(end)
    c = end.connection
    assert (c.closing.was_clean, c.closing.cause, c.closing.received) == (True, Cause.LOCAL_CLOSE, CloseFrame(1000, ""))


# A Close frame among bytes that nobody reads.


@both_roles
@pytest.mark.parametrize("ending", ["close", "close with a reason", "error", "nothing"])
def test_a_close_frame_is_found_wherever_reading_has_stopped(role: Role, ending: str) -> None:
    before = frame(role, TEXT, b"a" * 130) + frame(role, PING, b"?") + frame(role, BINARY, b"b" * 20, fin=False)
    before += frame(role, CONTINUATION, b"") + frame(role, PONG, b"\x88\x00")
    last = {
        "close": frame(role, CLOSE),
        "close with a reason": frame(role, CLOSE, close_payload(1000, "so long")),
        "error": b"\x83",
        "nothing": b"",
    }[ending]
    data = before + last + frame(role, TEXT, b"behind")
    proof = {"error": 1, "nothing": len(data)}.get(ending, 6 if role is Role.SERVER else 2)  # bytes that prove it
    for read in range(len(before) + 1):
        end = End(role).feed(data[:read])
        for waits in range(read, len(data) + 1):
            found = ending != "nothing" and waits >= len(before) + proof
            assert end.connection.receiver.finds_close(data[read:waits]) == found, (read, waits)
        assert end.state is State.OPEN
        end.feed(data[read:])  # looking has changed nothing
        assert end.messages() == ["a" * 130, b"b" * 20, *(["behind"] if ending == "nothing" else [])]


@both_roles
def test_a_close_frame_is_found_behind_a_large_message(role: Role) -> None:
    data = frame(role, BINARY, bytes(300_000)) + frame(role, CLOSE)
    for read in (0, 1, 20, 70_000, 200_000, 299_999, 300_000, len(data) - 6, len(data) - 1):
        end = End(role).feed(data[:read])
        if end.state is State.OPEN:
            assert end.connection.receiver.finds_close(data[read:]), read
            assert not end.connection.receiver.finds_close(data[read : len(data) - 6]), read


@both_roles
def test_what_looks_like_a_close_frame_inside_of_a_message_is_none(role: Role) -> None:
    inside = frame(role, CLOSE, close_payload(1000))
    end = End(role).feed(frame(role, BINARY, declared=100) + inside)
    assert not end.connection.receiver.finds_close(inside * 3)
    whole = frame(role, BINARY, inside * 3, mask=bytes(4) if role is Role.SERVER else b"")
    assert not End(role).connection.receiver.finds_close(whole)
