"""Frame headers: every rule of RFC 6455 section 5, decided at the first byte that breaks it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol_pair import (
    BINARY,
    CLOSE,
    CONTINUATION,
    MASK,
    PING,
    PONG,
    START,
    TEXT,
    End,
    close_payload,
    few,
    frame,
    many,
)
from wasclean.model.errors import RemoteProtocolError
from wasclean.model.registry import Opcode, Role
from wasclean.model.violations import Violation
from wasclean.opening.extensions import Agreed, Parameters
from wasclean.wire.deflate import Deflate
from wasclean.wire.frames import FrameLog, FrameReader
from wasclean.wire.octets import COMPILED

DATA = [CONTINUATION, TEXT, BINARY]
CONTROL = [CLOSE, PING, PONG]
RESERVED = [0x3, 0x4, 0x5, 0x6, 0x7, 0xB, 0xC, 0xD, 0xE, 0xF]
LARGEST = (1 << 63) - 1
HELLO = bytes.fromhex("f248cdc9c90700")  # RFC 7692 section 7.2.3.1

both_roles = pytest.mark.parametrize("role", Role)


def header(role: Role, opcode: int, length: int, *, form: int = 0, fin: bool = True, rsv: int = 0) -> bytes:
    """The header alone of a frame from the peer of ``role``."""
    return frame(role, opcode, declared=length, form=form, fin=fin, rsv=rsv)


def read(role: Role, data: bytes) -> tuple[int, bool, int, int, int]:
    """The size of a header, and what it says."""
    reader = FrameReader(role)
    size = reader.read_header(bytearray(data), 0, len(data))
    return size, reader.fin, reader.opcode, reader.length, reader.mask


def verdict(role: Role, data: bytes) -> tuple[Violation, int]:
    """The rule that the bytes break, and how many of them prove it."""
    for size in range(len(data) + 1):
        try:
            assert FrameReader(role).read_header(bytearray(data), 0, size) == 0
        except RemoteProtocolError as error:
            return error.violation, size
    raise AssertionError("no rule is broken")


@both_roles
@pytest.mark.parametrize("opcode", DATA + CONTROL)
@pytest.mark.parametrize("fin", [True, False])
def test_a_header_is_read(role: Role, opcode: int, fin: bool) -> None:
    if opcode in CONTROL and not fin:
        return
    mask = int.from_bytes(MASK, "little") if role is Role.SERVER else 0
    size = 6 if role is Role.SERVER else 2
    assert read(role, header(role, opcode, 5, fin=fin)) == (size, fin, opcode, 5, mask)


@both_roles
@pytest.mark.parametrize(
    ("length", "size"), [(0, 2), (125, 2), (126, 4), (127, 4), (65535, 4), (65536, 10), (1 << 32, 10), (LARGEST, 10)]
)
def test_every_length_is_read(role: Role, length: int, size: int) -> None:
    assert read(role, header(role, BINARY, length))[::3] == (size + (4 if role is Role.SERVER else 0), length)


@both_roles
@given(length=st.integers(0, LARGEST), opcode=st.sampled_from(DATA), fin=st.booleans(), before=st.integers(0, 20))
@few
def test_a_header_is_read_at_any_place(role: Role, length: int, opcode: int, fin: bool, before: int) -> None:
    data = header(role, opcode, length, fin=fin)
    reader = FrameReader(role)
    buffer = bytearray(b"\xff" * before + data + b"\xff" * 3)
    assert reader.read_header(buffer, before, len(buffer)) == len(data)
    assert (reader.fin, reader.opcode, reader.length) == (fin, opcode, length)


@both_roles
@pytest.mark.parametrize("length", [0, 125, 126, 65535, 65536, LARGEST])
def test_a_header_that_comes_in_two_parts_is_the_same_header(role: Role, length: int) -> None:
    data = header(role, TEXT, length)
    for cut in range(len(data)):
        reader = FrameReader(role)
        assert reader.read_header(bytearray(data), 0, cut) == 0
        assert reader.read_header(bytearray(data), 0, len(data)) == len(data)
        assert (reader.fin, reader.opcode, reader.length) == (True, TEXT, length)


def test_what_is_not_there_yet_is_not_looked_at() -> None:
    reader = FrameReader(Role.SERVER)
    assert reader.read_header(bytearray(b"\x81\x00\xff\xff"), 0, 1) == 0
    assert reader.read_header(bytearray(b"\xff\xff"), 1, 1) == 0


@both_roles
@pytest.mark.parametrize("rsv", [0x40, 0x20, 0x10, 0x70])
@pytest.mark.parametrize("opcode", DATA + CONTROL)
def test_a_reserved_bit_is_refused_at_its_byte(role: Role, rsv: int, opcode: int) -> None:
    assert verdict(role, header(role, opcode, 0, rsv=rsv)) == (Violation.RESERVED_BITS, 1)


@both_roles
@pytest.mark.parametrize("opcode", RESERVED)
@pytest.mark.parametrize("fin", [True, False])
def test_a_reserved_opcode_is_refused_at_its_byte_whatever_the_length(role: Role, opcode: int, fin: bool) -> None:
    assert verdict(role, header(role, opcode, 512 << 20, fin=fin)) == (Violation.RESERVED_OPCODE, 1)


@both_roles
@pytest.mark.parametrize("opcode", CONTROL)
def test_a_fragmented_control_frame_is_refused_at_its_first_byte(role: Role, opcode: int) -> None:
    assert verdict(role, header(role, opcode, 0, fin=False)) == (Violation.CONTROL_FRAGMENTED, 1)


@both_roles
@pytest.mark.parametrize("opcode", CONTROL)
@pytest.mark.parametrize("length", [126, 65536])
def test_a_control_frame_longer_than_125_bytes_is_refused_at_its_second_byte(
    role: Role, opcode: int, length: int
) -> None:
    assert verdict(role, header(role, opcode, length)) == (Violation.CONTROL_TOO_LONG, 2)


@both_roles
@pytest.mark.parametrize("opcode", CONTROL)
def test_a_control_frame_may_have_125_bytes(role: Role, opcode: int) -> None:
    assert read(role, header(role, opcode, 125))[3] == 125


@pytest.mark.parametrize("opcode", DATA + CONTROL)
def test_a_server_refuses_a_frame_without_a_mask_at_its_second_byte(opcode: int) -> None:
    assert verdict(Role.SERVER, header(Role.CLIENT, opcode, 0)) == (Violation.FRAME_NOT_MASKED, 2)


@pytest.mark.parametrize("opcode", DATA + CONTROL)
def test_a_client_refuses_a_masked_frame_at_its_second_byte(opcode: int) -> None:
    assert verdict(Role.CLIENT, header(Role.SERVER, opcode, 0)) == (Violation.FRAME_MASKED, 2)


@both_roles
@pytest.mark.parametrize(("form", "length"), [(16, 0), (16, 5), (16, 125), (64, 0), (64, 5), (64, 126), (64, 65535)])
def test_a_length_in_more_bytes_than_it_needs_is_refused(role: Role, form: int, length: int) -> None:
    assert verdict(role, header(role, BINARY, length, form=form)) == (Violation.LENGTH_NOT_MINIMAL, 2 + form // 8)


@both_roles
@pytest.mark.parametrize("length", [1 << 63, (1 << 63) + 5, (1 << 64) - 4, (1 << 64) - 1])
def test_the_most_significant_bit_of_a_length_is_refused_at_its_byte(role: Role, length: int) -> None:
    assert verdict(role, header(role, BINARY, length)) == (Violation.LENGTH_OUT_OF_RANGE, 3)


@pytest.mark.parametrize("mask", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x01\x02\x03\x04", b"\0\0\0\x80"])
def test_the_mask_has_its_first_byte_lowest(mask: bytes) -> None:
    data = frame(Role.SERVER, TEXT, b"x", mask=mask)
    assert read(Role.SERVER, data)[4] == int.from_bytes(mask, "little")


def test_a_header_leaves_nothing_to_the_next() -> None:
    reader = FrameReader(Role.SERVER)
    for opcode, length, fin in [(BINARY, LARGEST, False), (PING, 3, True), (CONTINUATION, 126, True), (TEXT, 0, True)]:
        data = header(Role.SERVER, opcode, length, fin=fin)
        assert reader.read_header(bytearray(data), 0, len(data)) == len(data)
        assert (reader.opcode, reader.length, reader.fin) == (opcode, length, fin)


@both_roles
@given(data=st.binary(max_size=16))
@many
def test_any_bytes_are_a_header_or_part_of_one_or_break_one_rule_for_good(role: Role, data: bytes) -> None:
    try:
        violation, size = verdict(role, data)
    except AssertionError:
        return
    assert violation.section in ("5.1", "5.2", "5.5")
    for longer in range(size, len(data) + 1):
        with pytest.raises(RemoteProtocolError) as caught:
            FrameReader(role).read_header(bytearray(data), 0, longer)
        assert caught.value.violation is violation


def test_a_violation_says_which_rule_was_broken() -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        read(Role.SERVER, b"\x83")
    assert str(caught.value) == (
        "the opcode is reserved (RFC 6455 section 5.2): opcode 0x3, whose header begins with 83"
    )
    assert str(RemoteProtocolError(Violation.RESERVED_OPCODE)) == "the opcode is reserved (RFC 6455 section 5.2)"


@pytest.mark.parametrize("violation", Violation)
def test_every_violation_fits_into_a_close_frame(violation: Violation) -> None:
    assert len(violation.text.encode()) <= 123
    assert violation.code in (1002, 1007, 1008, 1009)


# The log of the last frames.

NOTES = 32
FIN, RSV1, SENT = 0x80, 0x40, 0x10
MAX_NOTED = (1 << 32) - 1

only_python_can_note = pytest.mark.skipif(COMPILED, reason="FrameLog.note() is C here, and only C can call it")


def test_a_log_begins_empty_and_small() -> None:
    log = FrameLog(START)
    assert log.entries() == []
    assert log.last_sent() == ("", 0, 0.0)
    with pytest.raises(AttributeError):
        log.stray = 1  # type: ignore[attr-defined]


@only_python_can_note
@given(
    notes=st.lists(
        st.tuples(
            st.sampled_from(Opcode),
            st.booleans(),
            st.booleans(),
            st.integers(0, MAX_NOTED),
            st.floats(1e-9, 1e12),
            st.booleans(),
        ),
        max_size=100,
    )
)
@few
def test_a_log_holds_the_last_32_frames_in_their_order(
    notes: list[tuple[Opcode, bool, bool, int, float, bool]],
) -> None:
    log = FrameLog(START)
    for i, (opcode, fin, sent, size, time, compressed) in enumerate(notes):
        log.now = time
        log.note(opcode | (FIN if fin else 0) | (SENT if sent else 0) | (RSV1 if compressed else 0), size)
        expected = [(sent, opcode, fin, *rest) for opcode, fin, sent, *rest in notes[: i + 1][-NOTES:]]
        assert log.entries() == expected


@both_roles
@pytest.mark.parametrize("count", [1, 31, 32, 33, 64, 65, 1000])
def test_a_connection_knows_the_last_32_frames(role: Role, count: int) -> None:
    end = End(role)
    for i in range(count):
        end.now = START + i
        end.connection.touch(end.now)
        if i % 2:
            end.arrive(TEXT, b"x" * i)
        else:
            end.connection.send(BINARY, b"x" * i)
    end.now += 0.5
    expected = [
        (i % 2 == 0, Opcode.TEXT if i % 2 else Opcode.BINARY, True, i, count - 1 - i + 0.5, False) for i in range(count)
    ]
    assert [tuple(note) for note in end.connection.frames(end.now)] == expected[-NOTES:]


@both_roles
def test_the_log_has_every_kind_of_frame_of_both_sides(role: Role) -> None:
    end = End(role)
    end.arrive(TEXT, b"a" * 200, fin=False).arrive(PING, b"?").arrive(CONTINUATION, b"a" * 70_000).arrive(PONG, b"!")
    end.connection.send(TEXT, "ä" * 100)
    end.connection.send(BINARY, bytes((1 << 17) + 5))
    end.flush()
    end.arrive(CLOSE, close_payload(1000, "bye"))
    assert [(note.sent, note.opcode.name, note.fin, note.size) for note in end.connection.frames(end.now)] == [
        (False, "TEXT", False, 200),
        (False, "PING", True, 1),
        (True, "PONG", True, 1),
        (False, "CONTINUATION", True, 70_000),
        (False, "PONG", True, 1),
        (True, "TEXT", True, 200),
        (True, "BINARY", False, 1 << 17),
        (True, "CONTINUATION", True, 5),
        (False, "CLOSE", True, 5),
        (True, "CLOSE", True, 5),
    ]
    end.connection.connection_lost(end.now)
    assert len(end.connection.frames(end.now)) == 10


@both_roles
def test_the_log_tells_which_messages_are_compressed(role: Role) -> None:
    end = End(role, deflate=Agreed(Parameters(), Deflate(threshold=100)))
    for text in ("a", "a" * 1000):
        end.connection.send(TEXT, text)
        end.flush()
    end.arrive(TEXT, HELLO[:1], fin=False, rsv=RSV1).arrive(CONTINUATION, HELLO[1:]).arrive(TEXT, HELLO, rsv=RSV1)
    end.arrive(BINARY, b"b")
    notes = [(note.sent, note.opcode.name, note.compressed) for note in end.connection.frames(end.now)]
    assert notes == [
        (True, "TEXT", False),
        (True, "TEXT", True),
        (False, "TEXT", True),
        (False, "CONTINUATION", False),
        (False, "TEXT", True),
        (False, "BINARY", False),
    ]


@both_roles
def test_the_log_has_no_payload(role: Role) -> None:
    end = End(role).arrive(TEXT, b"a secret")
    end.connection.send(TEXT, "another")
    end.connection.send_ping(b"a third")
    end.flush()
    told = repr(end.connection.frames(end.now))
    assert not any(word in told for word in ("secret", "another", "third"))


@both_roles
@pytest.mark.parametrize("declared", [1 << 20, MAX_NOTED, MAX_NOTED + 1, LARGEST])
def test_a_frame_that_is_refused_for_its_size_is_noted(role: Role, declared: int) -> None:
    end = End(role, max_message_size=1000).arrive(BINARY, declared=declared)
    assert end.connection.closing.violation is Violation.MESSAGE_TOO_BIG
    assert end.connection.frames(end.now)[0].size == min(declared, MAX_NOTED)
