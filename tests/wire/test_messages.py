"""Fragments become messages: order, UTF-8, limits, memory and time (RFC 6455 sections 5.4, 8.1 and 10.4)."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol_pair import (
    BINARY,
    CONTINUATION,
    MASK,
    MIB,
    PING,
    TEXT,
    End,
    Recorder,
    few,
    frame,
    many,
    unmask,
)
from tests.work import count_lines
from wasclean.closing.table import State
from wasclean.model.errors import RemoteProtocolError
from wasclean.model.registry import Role
from wasclean.model.violations import Violation
from wasclean.options import Limits
from wasclean.wire import messages
from wasclean.wire.messages import MessageReader

LARGEST = (1 << 63) - 1
KEY = int.from_bytes(MASK, "little")

both_roles = pytest.mark.parametrize("role", Role)


@pytest.fixture(autouse=True)
def nothing_spared() -> None:
    """Nothing is left of earlier messages."""
    messages._spares.clear()


@contextmanager
def memory() -> Iterator[Callable[[], int]]:
    """Gives what tells how many bytes have been allocated meanwhile, at the peak."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        yield lambda: tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def add(reader: MessageReader, data: bytes, mask: int = 0, phase: int = 0) -> None:
    """Bytes arrive in the read buffer."""
    reader.copy(bytearray(b"??" + data), 2, 2 + len(data), mask, phase)


def masking_nothing(role: Role) -> bytes:
    """A key for frames to a server, with which one zero in four is a one; for those to a client none."""
    return b"\0\0\0\1" if role is Role.SERVER else b""


def violation_of(end: End) -> Violation | None:
    """What the end failed for; it has failed exactly if there was something."""
    violation = end.connection.closing.violation
    assert (violation is None) == (end.state is State.OPEN)
    return violation


class Forgetful(Recorder):
    """Keeps no message."""

    def message_received(self, message: str | bytes) -> None:
        """Nothing."""


# The reader alone.


def test_a_message_is_put_together() -> None:
    reader = MessageReader(None, None)
    assert (reader.opcode, reader.size) == (0, 0)
    reader.begin_frame(TEXT, 3)
    assert (reader.opcode, reader.size) == (TEXT, 0)
    add(reader, b"a")
    add(reader, b"bc")
    reader.begin_frame(CONTINUATION, 0)
    reader.begin_frame(CONTINUATION, 1)
    add(reader, b"d")
    assert (reader.opcode, reader.size) == (TEXT, 4)
    assert reader.finish() == "abcd"
    assert (reader.opcode, reader.size) == (0, 0)


@pytest.mark.parametrize(("opcode", "empty"), [(TEXT, ""), (BINARY, b"")])
def test_an_empty_message_has_its_type(opcode: int, empty: str | bytes) -> None:
    reader = MessageReader(None, None)
    reader.begin_frame(opcode, 0)
    assert reader.finish() == empty


def test_a_message_leaves_nothing_to_the_next() -> None:
    reader = MessageReader(4, 2)
    for _ in range(3):
        reader.begin_frame(TEXT, 2)
        add(reader, b"ab")
        reader.begin_frame(CONTINUATION, 2)
        add(reader, b"cd")
        assert reader.finish() == "abcd"


def test_an_unfinished_message_can_be_dropped() -> None:
    reader = MessageReader(4, 1)
    reader.begin_frame(TEXT, 4)
    add(reader, b"a\xe2\x82")
    reader.drop()
    assert (reader.opcode, reader.size) == (0, 0)
    reader.begin_frame(BINARY, 4)
    add(reader, b"\xff" * 4)
    assert reader.finish() == b"\xff" * 4


def test_payload_is_unmasked_with_the_place_it_has_in_its_frame() -> None:
    data = bytes(range(50))
    reader = MessageReader(None, None)
    reader.begin_frame(BINARY, 50)
    masked = unmask(data, MASK)
    for start, end in [(0, 1), (1, 7), (7, 8), (8, 50)]:
        add(reader, masked[start:end], KEY, start)
    assert reader.finish() == data


def test_there_is_as_much_room_as_has_arrived() -> None:
    reader = MessageReader(None, None)
    reader.begin_frame(BINARY, LARGEST)
    add(reader, b"x" * 1000)
    assert 1000 <= len(reader.room(LARGEST - 1000)) <= 2000
    assert len(reader.room(10)) == 10


def test_there_is_no_more_room_than_is_wanted() -> None:
    reader = MessageReader(1500, None)
    reader.begin_frame(BINARY, 1500)
    add(reader, b"x" * 1000)
    room = reader.room(500)
    assert len(room) == 500
    room[:] = b"y" * 500
    del room
    reader.add(500, 0, 1000)
    assert reader.finish() == b"x" * 1000 + b"y" * 500


@pytest.mark.parametrize("limit", [0, 1, 5, LARGEST])
def test_the_size_limit_is_exact(limit: int) -> None:
    reader = MessageReader(limit, None)
    reader.begin_frame(BINARY, limit)
    if limit < LARGEST:
        with pytest.raises(RemoteProtocolError) as caught:
            MessageReader(limit, None).begin_frame(BINARY, limit + 1)
        assert caught.value.violation is Violation.MESSAGE_TOO_BIG


def test_lengths_that_would_overflow_are_only_too_big() -> None:
    reader = MessageReader(None, None)
    reader.begin_frame(BINARY, 1)
    add(reader, b"x")
    reader.begin_frame(CONTINUATION, LARGEST - 1)
    reader.drop()
    reader.begin_frame(BINARY, 1)
    add(reader, b"x")
    with pytest.raises(RemoteProtocolError) as caught:
        reader.begin_frame(CONTINUATION, LARGEST)
    assert caught.value.violation is Violation.MESSAGE_TOO_BIG


# Order (section 5.4).


@both_roles
@pytest.mark.parametrize("fin", [True, False])
def test_a_continuation_of_nothing_is_refused(role: Role, fin: bool) -> None:
    assert violation_of(End(role).arrive(CONTINUATION, b"x", fin=fin)) is Violation.NOTHING_TO_CONTINUE


@both_roles
def test_a_continuation_after_the_end_is_refused(role: Role) -> None:
    end = End(role).arrive(TEXT, b"a", fin=False).arrive(CONTINUATION, b"b")
    assert end.messages() == ["ab"]
    assert violation_of(end.arrive(CONTINUATION, b"c")) is Violation.NOTHING_TO_CONTINUE


@both_roles
@pytest.mark.parametrize("first", [TEXT, BINARY])
@pytest.mark.parametrize("second", [TEXT, BINARY])
def test_a_message_inside_another_is_refused(role: Role, first: int, second: int) -> None:
    end = End(role).arrive(first, b"a", fin=False)
    assert violation_of(end.arrive(second, b"b")) is Violation.MESSAGE_UNFINISHED
    assert end.messages() == []


@both_roles
@pytest.mark.parametrize("message", ["€uro 𝄞", b"\0\xff\x80"])
def test_fragments_and_empty_fragments_make_one_message(role: Role, message: str | bytes) -> None:
    data = message.encode() if isinstance(message, str) else message
    end = End(role).arrive(TEXT if isinstance(message, str) else BINARY, b"", fin=False)
    for octet in data:
        end.arrive(CONTINUATION, bytes([octet]), fin=False)
        end.arrive(CONTINUATION, b"", fin=False)
    assert end.messages() == []
    assert end.arrive(CONTINUATION, b"").messages() == [message]


@both_roles
def test_pings_between_fragments_are_answered_at_once_wherever_the_bytes_are_split(role: Role) -> None:
    data = (
        frame(role, PING, b"0")
        + frame(role, TEXT, b"a\xe2", fin=False)
        + frame(role, PING, b"1")
        + frame(role, CONTINUATION, b"\x82\xac", fin=False)
        + frame(role, PING, b"2" * 125)
        + frame(role, CONTINUATION, b"b")
    )
    for cut in range(len(data)):
        end = End(role).feed(data, [cut])
        assert end.messages() == ["a€b"]
        assert [payload for _, payload in end.written()] == [b"0", b"1", b"2" * 125]


# UTF-8 (section 8.1): a text fails at the first byte at which it is none.

WRONG = [
    (b"\xc0", b"\x80"),
    (b"\xed\xa0", b"\x80"),
    (b"\xf4\x90", b"\x80\x80"),
    (b"\xe0\x80", b"\x80"),
    (b"\xff", b""),
    (b"\x80", b""),
    (b"ab\xc3a", b"bc"),
    ("κόσμε".encode() + b"\xed\xa0", b"\x80edited"),
]


@both_roles
@pytest.mark.parametrize(("proof", "rest"), WRONG)
def test_a_frame_that_is_not_utf8_is_refused(role: Role, proof: bytes, rest: bytes) -> None:
    end = End(role).arrive(TEXT, proof + rest)
    assert violation_of(end) is Violation.TEXT_NOT_UTF8
    assert end.messages() == []


@both_roles
@pytest.mark.parametrize(("proof", "rest"), WRONG)
def test_an_unfinished_frame_fails_at_the_first_wrong_byte(role: Role, proof: bytes, rest: bytes) -> None:
    data = frame(role, TEXT, proof + rest + b"x" * 1000)
    header = len(data) - len(proof) - len(rest) - 1000
    end = End(role).feed(data[: header + len(proof) - 1], range(1000))
    assert violation_of(end) is None
    end.feed(data[header + len(proof) - 1 : header + len(proof)])
    assert violation_of(end) is Violation.TEXT_NOT_UTF8


@both_roles
@pytest.mark.parametrize(("proof", "rest"), WRONG)
def test_an_unfinished_message_fails_at_the_first_wrong_fragment(role: Role, proof: bytes, rest: bytes) -> None:
    end = End(role).arrive(TEXT, "ä".encode(), fin=False)
    for octet in proof[:-1]:
        end.arrive(CONTINUATION, bytes([octet]), fin=False)
    assert violation_of(end) is None
    assert violation_of(end.arrive(CONTINUATION, proof[-1:], fin=False)) is Violation.TEXT_NOT_UTF8


@both_roles
@pytest.mark.parametrize("cut_short", ["ä", "€", "𝄞"])
def test_a_text_must_not_end_inside_a_character(role: Role, cut_short: str) -> None:
    data = b"a" + cut_short.encode()[:-1]
    assert violation_of(End(role).arrive(TEXT, data)) is Violation.TEXT_NOT_UTF8
    end = End(role).arrive(TEXT, data, fin=False)
    assert violation_of(end) is None
    assert violation_of(end.arrive(CONTINUATION, b"")) is Violation.TEXT_NOT_UTF8


@both_roles
def test_binary_messages_may_have_any_bytes(role: Role) -> None:
    data = bytes(range(256))
    end = End(role).arrive(BINARY, data).arrive(BINARY, data[:200], fin=False).arrive(CONTINUATION, data[200:])
    assert end.messages() == [data, data]


# Limits (section 10.4): bytes are counted before they come, fragments also when they are empty.


@both_roles
def test_a_message_may_have_as_many_bytes_as_the_limit(role: Role) -> None:
    end = End(role, max_message_size=300).arrive(BINARY, b"x" * 300)
    end.arrive(BINARY, b"y" * 299, fin=False).arrive(CONTINUATION, b"y")
    assert [len(message) for message in end.messages()] == [300, 300]
    assert violation_of(end) is None


@both_roles
@pytest.mark.parametrize("size", [301, 65536, 100_000_000_000, LARGEST])
def test_one_byte_more_is_refused_at_the_header(role: Role, size: int) -> None:
    header = frame(role, BINARY, declared=size)
    end = End(role, max_message_size=300).feed(header[:-1], range(20))
    assert violation_of(end) is None
    assert violation_of(end.feed(header[-1:])) is Violation.MESSAGE_TOO_BIG
    assert end.closes() == [b"\x03\xf1" + Violation.MESSAGE_TOO_BIG.text.encode()]


@both_roles
def test_the_limit_counts_all_fragments(role: Role) -> None:
    end = End(role, max_message_size=MIB).arrive(BINARY, bytes(MIB // 2), fin=False)
    end.arrive(CONTINUATION, bytes(MIB // 2), fin=False)
    assert violation_of(end) is None
    end.arrive(CONTINUATION, b"", fin=False)
    assert violation_of(end) is None
    assert violation_of(end.feed(frame(role, CONTINUATION, declared=1))) is Violation.MESSAGE_TOO_BIG


@both_roles
def test_the_limit_is_for_each_message(role: Role) -> None:
    end = End(role, max_message_size=10)
    for _ in range(20):
        end.arrive(TEXT, b"12345", fin=False).arrive(CONTINUATION, b"67890").arrive(TEXT, b"1234567890")
    assert len(end.messages()) == 40


@both_roles
@pytest.mark.parametrize("limit", [1, 2, 1 << 20, None])
def test_a_length_that_overflows_a_sum_is_refused(role: Role, limit: int | None) -> None:
    end = End(role, max_message_size=limit).arrive(BINARY, b"x", fin=False)
    end.feed(frame(role, CONTINUATION, declared=LARGEST) + bytes(70_000))
    assert violation_of(end) is Violation.MESSAGE_TOO_BIG


@both_roles
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("pieces", [[70_000], [1, 1, 10], [0, 65536, 65536, 65536, 200_000]])
def test_without_a_limit_the_largest_frame_is_read_as_it_comes(role: Role, opcode: int, pieces: list[int]) -> None:
    end = End(role, max_message_size=None).feed(frame(role, opcode, declared=LARGEST, mask=masking_nothing(role)))
    with memory() as peak:
        for piece in pieces:
            end.feed(bytes(piece))
        assert violation_of(end) is None
        assert peak() < 6 * sum(pieces) + 100_000
    assert end.messages() == []


@both_roles
@pytest.mark.parametrize("payload", [b"", b"x"])
@pytest.mark.parametrize("limit", [1, 2, 100])
def test_fragments_are_counted_also_empty_ones(role: Role, payload: bytes, limit: int) -> None:
    end = End(role, max_fragments=limit).arrive(BINARY, payload, fin=False)
    for _ in range(limit - 1):
        end.arrive(CONTINUATION, payload, fin=False)
    assert violation_of(end) is None
    assert violation_of(end.arrive(CONTINUATION, payload)) is Violation.TOO_MANY_FRAGMENTS
    assert end.closes()[0][:2] == b"\x03\xf0"


@both_roles
def test_a_message_may_have_as_many_fragments_as_the_limit(role: Role) -> None:
    end = End(role, max_fragments=3)
    for _ in range(3):
        end.arrive(BINARY, b"a", fin=False).arrive(PING).arrive(CONTINUATION, b"", fin=False).arrive(CONTINUATION, b"c")
    assert end.messages() == [b"ac"] * 3


def in_pieces(role: Role, opcode: int, pieces: Sequence[bytes]) -> bytes:
    """A message in fragments, and an empty one at its end."""
    fragments = [frame(role, CONTINUATION if i else opcode, piece, fin=False) for i, piece in enumerate(pieces)]
    return b"".join(fragments) + frame(role, CONTINUATION)


@both_roles
@pytest.mark.parametrize("size", [16, 64, 1000])
def test_a_message_in_many_fragments_that_are_not_tiny_is_no_flood(role: Role, size: int) -> None:
    text = ("aä€𝄞" * (1 << 19))[: 1 << 20]  # most fragments end inside a character
    payload = text.encode()
    pieces = [payload[at : at + size] for at in range(0, len(payload), size)]
    end = End(role, max_message_size=None, max_fragments=Limits.options["max_fragments"].default)
    end.feed(in_pieces(role, TEXT, pieces) + in_pieces(role, BINARY, pieces))
    assert violation_of(end) is None
    assert end.messages() == [text, payload]


@both_roles
@pytest.mark.parametrize(("first", "rest"), [(b"", b""), (b"x", b"x"), (bytes(16), bytes(15))])
def test_a_flood_of_tiny_fragments_ends_at_the_first_one_beyond_the_limit(
    role: Role, first: bytes, rest: bytes
) -> None:
    most = Limits.options["max_fragments"].default
    end = End(role, max_fragments=most).feed(in_pieces(role, BINARY, [first, *[rest] * (most - 2)]))
    assert end.messages() == [first + rest * (most - 2)]
    end.feed(in_pieces(role, BINARY, [first, *[rest] * (most - 1)]))
    assert violation_of(end) is Violation.TOO_MANY_FRAGMENTS


@both_roles
def test_a_large_fragment_pays_for_empty_ones_at_sixteen_bytes_each(role: Role) -> None:
    end = End(role, max_fragments=10).arrive(BINARY, bytes(16 * 100), fin=False)
    for _ in range(100):
        end.arrive(CONTINUATION, fin=False)
    assert violation_of(end) is None
    assert violation_of(end.arrive(CONTINUATION, bytes(15))) is Violation.TOO_MANY_FRAGMENTS


@given(
    role=st.sampled_from(Role),
    fragments=st.lists(st.integers(0, 30), min_size=1, max_size=8),
    max_size=st.integers(1, 100),
    max_fragments=st.integers(1, 8),
)
@many
def test_the_first_header_beyond_a_limit_decides(
    role: Role, fragments: list[int], max_size: int, max_fragments: int
) -> None:
    end = End(role, max_message_size=max_size, max_fragments=max_fragments)
    total, expected = 0, None
    for count, size in enumerate(fragments, 1):
        total += size
        if total > max_size:
            expected = Violation.MESSAGE_TOO_BIG
        elif count > max_fragments and total < 16 * (count - 1):
            expected = Violation.TOO_MANY_FRAGMENTS
        last = count == len(fragments)
        end.arrive(CONTINUATION if count > 1 else BINARY, bytes(size), fin=last)
        assert violation_of(end) is expected
        if expected is not None:
            return
    assert end.messages() == [bytes(total)]


# Memory: never more than twice what has arrived, and nothing for what was only declared.


@both_roles
@pytest.mark.parametrize("declared", [100_000_000_000, LARGEST])
def test_a_declared_length_allocates_nothing(role: Role, declared: int) -> None:
    header = frame(role, BINARY, declared=declared)
    for limit in (1 << 20, None):
        end = End(role, max_message_size=limit)
        with memory() as peak:
            end.connection.receive_data(header, end.now)
            assert peak() < 10_000


@both_roles
def test_an_unfinished_message_holds_twice_its_bytes_at_most(role: Role) -> None:
    end = End(role, max_message_size=16 * MIB).feed(frame(role, BINARY, declared=16 * MIB))
    data, arrived = bytes(40_000), 0
    with memory() as peak:
        while arrived < 3 * MIB:
            end.connection.receive_data(data, end.now)
            arrived += len(data)
            assert tracemalloc.get_traced_memory()[0] < 2.3 * arrived + 200_000
        assert peak() < 5 * arrived  # while it moves


@both_roles
def test_a_message_read_byte_by_byte_is_one_buffer(role: Role) -> None:
    size = 30_000
    data = frame(role, BINARY, bytes(size))
    end = End(role)
    with memory() as peak:
        for at in range(len(data) - 1):
            end.connection.receive_data(data[at : at + 1], end.now)
        assert peak() < 4 * size + 20_000


@both_roles
@pytest.mark.parametrize("payload", [b"", b"x"])
def test_tiny_fragments_are_one_buffer(role: Role, payload: bytes) -> None:
    count = 20_000
    end = End(role).arrive(BINARY, payload, fin=False)
    fragment = frame(role, CONTINUATION, payload, fin=False) * 100
    with memory() as peak:
        for _ in range(count // 100):
            end.connection.receive_data(fragment, end.now)
        assert peak() < 4 * count + 20_000
    assert violation_of(end) is None


@both_roles
def test_a_finished_message_is_kept_by_nobody(role: Role) -> None:
    end = End(role, application=Forgetful())
    with memory() as peak:
        for size in (100_000, MIB, 1000):
            end.arrive(BINARY, bytes(size))
        assert peak() > MIB
        messages._spares.clear()
        assert tracemalloc.get_traced_memory()[0] < 20_000


def test_a_message_is_put_together_in_what_an_earlier_one_was() -> None:
    used: list[bytearray] = []
    for size in (MIB, 1000, MIB):
        reader = MessageReader(None, None)
        reader.begin_frame(BINARY, size)
        add(reader, bytes([len(used)]) * size)
        assert messages._spares == []
        assert reader.finish() == bytes([len(used)]) * size
        used += messages._spares
    assert used[0] is used[1] is used[2]


def test_what_is_spared_for_other_messages_is_bounded() -> None:
    readers = [MessageReader(None, None) for _ in range(messages.SPARES + 1)]
    for reader in readers:
        reader.begin_frame(BINARY, 1000)
        add(reader, bytes(1000))
    large = MessageReader(None, None)
    large.begin_frame(BINARY, messages.SPARE_SIZE + 1)
    add(large, bytes(messages.SPARE_SIZE + 1))
    large.drop()
    assert messages._spares == []
    for reader in readers:
        reader.drop()
    assert len(messages._spares) == messages.SPARES


@both_roles
@pytest.mark.parametrize("way", ["fail", "close", "lost"])
def test_an_unfinished_message_is_freed_when_it_can_no_longer_be_finished(role: Role, way: str) -> None:
    end = End(role)
    with memory():
        end.feed(frame(role, BINARY, declared=MIB) + bytes(500_000))
        assert tracemalloc.get_traced_memory()[0] > 500_000
        if way == "fail":
            end.connection.fail(Violation.RESERVED_BITS, end.now)
        else:
            end.connection.connection_lost(end.now)
        messages._spares.clear()
        assert tracemalloc.get_traced_memory()[0] < 100_000


@both_roles
def test_what_arrives_after_a_failure_is_dropped(role: Role) -> None:
    end = End(role).feed(b"\x83")
    garbage = bytes(65_536)
    with memory() as peak:
        for _ in range(200):
            end.connection.receive_data(garbage, end.now)
        assert peak() < 20_000


# Time: linear, in bytes, in reads and in fragments.


def seconds(work: Callable[[], None]) -> float:
    """The least CPU time of three."""
    times = []
    for _ in range(3):
        before = process_time()
        work()
        times.append(process_time() - before)
    return min(times)


def by_bytes(size: int) -> None:
    """A large frame that comes in small reads."""
    end = End(Role.SERVER, max_message_size=None)
    end.connection.receive_data(frame(Role.SERVER, TEXT, declared=1 << 40), end.now)
    data = unmask(b"x" * 64, MASK)
    for _ in range(size // 64):
        end.connection.receive_data(data, end.now)
    assert end.state is State.OPEN


def by_fragments(size: int) -> None:
    """A message in fragments of one byte."""
    end = End(Role.SERVER, max_message_size=None)
    end.connection.receive_data(frame(Role.SERVER, TEXT, b"x", fin=False), end.now)
    data = frame(Role.SERVER, CONTINUATION, b"x", fin=False) * 20
    for _ in range(size // 400):
        end.connection.receive_data(data, end.now)
    assert end.state is State.OPEN


@pytest.mark.parametrize("work", [by_bytes, by_fragments])
def test_eight_times_the_input_takes_eight_times_the_time(work: Callable[[int], None]) -> None:
    size = 150_000
    once, often = seconds(lambda: work(size)), seconds(lambda: work(8 * size))
    assert often < 24 * once + 0.02  # 64 times if it were quadratic


def test_a_frame_of_the_largest_length_is_refused_in_no_time() -> None:
    data = frame(Role.SERVER, BINARY, declared=LARGEST) * 2

    def work() -> None:
        assert violation_of(End(Role.SERVER).feed(data)) is Violation.MESSAGE_TOO_BIG

    work()  # whatever is imported once
    assert count_lines(work) < 1000


@given(data=st.data(), role=st.sampled_from(Role))
@few
def test_a_message_is_the_same_however_it_is_fragmented_and_split(data: st.DataObject, role: Role) -> None:
    text = data.draw(st.text(max_size=200))
    whole = text.encode()
    places = [0, *sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=5))), len(whole)]
    stream = b"".join(
        frame(role, CONTINUATION if i else TEXT, whole[start:end], fin=i == len(places) - 2)
        for i, (start, end) in enumerate(pairwise(places))
    )
    assert End(role).feed(stream, data.draw(st.lists(st.integers(0, len(stream))))).messages() == [text]
