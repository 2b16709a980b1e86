"""The primitives on bytes: what each does, the same in Python and in C."""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
import warnings
from importlib.util import module_from_spec, spec_from_file_location
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wasclean.wire
from tests.protocol_pair import BINARY, PING, TEXT, Frame, Utf8, few, many, read_frames, unmask
from wasclean.wire import octets

FIN = 0x80
SIZES = [0, 1, 2, 7, 8, 9, 124, 125, 126, 127, 128, 65535, 65536, 65537, 100_000]


def load_sources() -> ModuleType:
    """octets.py, also where a compiled octets lies beside it."""
    spec = spec_from_file_location("octets_in_python", Path(wasclean.wire.__file__).with_name("octets.py"))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PYTHON: Any = load_sources()
IMPLEMENTATIONS: list[Any] = [PYTHON, *([octets] if octets.COMPILED else [])]
NAMES = ["Python", "C"][: len(IMPLEMENTATIONS)]

everywhere = pytest.mark.parametrize("module", IMPLEMENTATIONS, ids=NAMES)


def result(function: Any, *args: Any) -> Any:
    """Return the result of a call, or the type of its exception, with the offsets of a UnicodeDecodeError."""
    try:
        return function(*args)
    except UnicodeDecodeError as error:
        return UnicodeDecodeError, error.start, error.end
    except (IndexError, UnicodeEncodeError) as error:
        return type(error)


def key(mask: int) -> bytes:
    return mask.to_bytes(4, "little")


# Masks.


@everywhere
@given(
    data=st.binary(max_size=70),
    mask=st.binary(min_size=4, max_size=4),
    phase=st.integers(0, 9),
    before=st.integers(0, 9),
)
@many
def test_a_mask_is_applied_as_the_rfc_says(module: Any, data: bytes, mask: bytes, phase: int, before: int) -> None:
    buffer = bytearray(b"." * before + data + b"..")
    module.apply_mask(buffer, before, before + len(data), int.from_bytes(mask, "little"), phase)
    assert buffer == b"." * before + unmask(bytes(phase) + data, mask)[phase:] + b".."


@everywhere
@given(data=st.binary(max_size=70), mask=st.integers(0, (1 << 32) - 1), phase=st.integers(0, 1 << 40))
@few
def test_masking_twice_changes_nothing(module: Any, data: bytes, mask: int, phase: int) -> None:
    buffer = bytearray(data)
    module.apply_mask(buffer, 0, len(buffer), mask, phase)
    module.apply_mask(buffer, 0, len(buffer), mask, phase)
    assert buffer == data


@everywhere
@given(data=st.binary(max_size=70), cuts=st.lists(st.integers(0, 70)), mask=st.integers(0, (1 << 32) - 1))
@few
def test_a_payload_can_be_unmasked_in_pieces(module: Any, data: bytes, cuts: list[int], mask: int) -> None:
    whole, pieces = bytearray(data), bytearray(data)
    module.apply_mask(whole, 0, len(data), mask, 0)
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for start, end in pairwise(places):
        module.apply_mask(pieces, start, end, mask, start)
    assert pieces == whole


@everywhere
@given(data=st.binary(max_size=70), mask=st.integers(0, (1 << 32) - 1), phase=st.integers(0, 7), at=st.integers(0, 9))
@few
def test_what_is_moved_is_unmasked_on_its_way(module: Any, data: bytes, mask: int, phase: int, at: int) -> None:
    source, target, place = bytearray(b"??" + data + b"?"), bytearray(len(data) + 9), bytearray(data)
    in_place = module.apply_mask(place, 0, len(data), mask, phase)
    moved = module.move_unmasked(source, 2, 2 + len(data), target, at, mask, phase)
    assert target == bytes(at) + place + bytes(9 - at)
    assert moved == in_place == place.isascii()


@everywhere
@pytest.mark.parametrize(
    ("start", "end", "at"), [(-1, 2, 0), (0, 5, 0), (3, 2, 0), (0, 2, -1), (0, 2, 3), (0, 2, 1 << 62)]
)
def test_nothing_is_moved_from_or_to_places_outside(module: Any, start: int, end: int, at: int) -> None:
    source, target = bytearray(b"abcd"), bytearray(b"....")
    with pytest.raises(IndexError):
        module.move_unmasked(source, start, end, target, at, 0, 0)
    assert target == b"...."


@everywhere
def test_a_thousand_masks_are_all_different(module: Any) -> None:
    # One pair among a thousand random masks is alike once in 8600 runs; two pairs never.
    masks = [module.new_mask() for _ in range(1000)]
    assert len(set(masks)) >= 999
    assert all(0 <= mask < 1 << 32 for mask in masks)


@everywhere
def test_the_bits_of_masks_are_even(module: Any) -> None:
    masks = [module.new_mask() for _ in range(4000)]
    for bit in range(32):
        assert 1700 < sum(mask >> bit & 1 for mask in masks) < 2300


@everywhere
def test_every_masked_frame_has_a_mask_of_its_own(module: Any) -> None:
    seen = set()
    for _ in range(1000):
        out = bytearray()
        module.put_frame(out, 0, FIN | TEXT, "x", True)
        seen.add(bytes(out[2:6]))
    assert len(seen) >= 999


@everywhere
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork() here")
def test_a_forked_child_has_masks_of_its_own(module: Any) -> None:
    module.new_mask()  # the parent has some in store
    readable, writable = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of fork() in a process with threads
        child = os.fork()
    if child == 0:
        try:
            os.write(writable, b"".join(key(module.new_mask()) for _ in range(500)))
        finally:
            os._exit(0)
    os.close(writable)
    with open(readable, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    theirs = {data[i : i + 4] for i in range(0, len(data), 4)}
    ours = {key(module.new_mask()) for _ in range(500)}
    assert len(theirs) >= 499
    assert len(ours & theirs) <= 1


# Frames.


@everywhere
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("masked", [False, True])
def test_a_frame_is_written_in_the_fewest_bytes(module: Any, size: int, masked: bool) -> None:
    payload = bytes(i & 0xFF for i in range(size))
    out = bytearray()
    end = module.put_frame(out, 0, FIN | BINARY, payload, masked)
    assert end == (2 if size < 126 else 4 if size < 65536 else 10) + (4 if masked else 0) + size
    assert read_frames(bytes(out[:end])) == [Frame(FIN | BINARY, payload, masked)]


@everywhere
@pytest.mark.parametrize(
    ("size", "header"), [(0, "8200"), (125, "827d"), (126, "827e007e"), (65536, "827f0000000000010000")]
)
def test_a_header_is_what_the_rfc_says(module: Any, size: int, header: str) -> None:
    assert module.put_header(FIN | BINARY, size, False) == bytes.fromhex(header)
    masked = bytearray(bytes.fromhex(header))
    masked[1] |= 0x80
    assert module.put_header(FIN | BINARY, size, True) == masked


@everywhere
def test_a_header_holds_lengths_up_to_the_largest(module: Any) -> None:
    assert module.put_header(FIN | TEXT, (1 << 63) - 1, False) == b"\x81\x7f\x7f" + b"\xff" * 7


@everywhere
@given(text=st.text(max_size=80), masked=st.booleans())
@few
def test_text_is_written_as_utf8(module: Any, text: str, masked: bool) -> None:
    out = bytearray()
    end = module.put_frame(out, 0, FIN | TEXT, text, masked)
    assert read_frames(bytes(out[:end])) == [Frame(FIN | TEXT, text.encode(), masked)]


@everywhere
@pytest.mark.parametrize("masked", [False, True])
def test_frames_are_written_one_behind_the_other_over_what_was_there(module: Any, masked: bool) -> None:
    out = bytearray(b"\xee" * 40)
    first = module.put_frame(out, 3, FIN | TEXT, "ab", masked)
    second = module.put_frame(out, first, FIN | PING, b"c" * 60, masked)
    assert out[:3] == b"\xee" * 3
    assert read_frames(bytes(out[3:second])) == [
        Frame(FIN | TEXT, b"ab", masked),
        Frame(FIN | PING, b"c" * 60, masked),
    ]


@everywhere
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("text", ["\ud800", "ok so far \udfff", "\ude00" * 300])
def test_a_lone_surrogate_writes_nothing(module: Any, masked: bool, text: str) -> None:
    out = bytearray(b"before")
    with pytest.raises(UnicodeEncodeError):
        module.put_frame(out, 6, FIN | TEXT, text, masked)
    assert out[:6] == b"before"


@everywhere
@pytest.mark.parametrize("payload", [5, None, 1.5, [b"x"]])
def test_a_payload_of_another_type_is_refused(module: Any, payload: object) -> None:
    with pytest.raises(TypeError):
        module.put_frame(bytearray(), 0, FIN | TEXT, payload, False)


# Text.

GOOD = ["", "a", "\x7f", "\x80", "\u07ff", "\u0800", "\ud7ff", "\ue000", "\uffff", "\U00010000", "\U0010ffff", "aä€𝄞"]
#: A wrong sequence, and how many bytes of it prove that it is.
BAD = [
    (b"\x80", 1),  # a continuation
    (b"\xbf", 1),
    (b"\xc0\x80", 1),  # overlong
    (b"\xc1\xbf", 1),
    (b"\xe0\x80\x80", 2),
    (b"\xe0\x9f\xbf", 2),
    (b"\xf0\x80\x80\x80", 2),
    (b"\xf0\x8f\xbf\xbf", 2),
    (b"\xed\xa0\x80", 2),  # a surrogate
    (b"\xed\xbf\xbf", 2),
    (b"\xf4\x90\x80\x80", 2),  # beyond U+10FFFF
    (b"\xf5\x80\x80\x80", 1),
    (b"\xf8\x88\x80\x80\x80", 1),
    (b"\xfe", 1),
    (b"\xff", 1),
    (b"\xc3a", 2),  # cut short by another character
    (b"\xe2\x82a", 3),
    (b"\xf0\x9d\x84a", 4),
    (b"\xe2\xe2", 2),
]


@everywhere
@pytest.mark.parametrize("text", [*GOOD, "ASCII of some length", "ASCII, and at its end an é"])
@pytest.mark.parametrize("mask", [0, 0x01020304])
def test_text_is_read(module: Any, text: str, mask: int) -> None:
    data = text.encode()
    buffer = bytearray(b"\xff" + data + b"\xff")
    assert module.check_utf8(buffer, 1, 1 + len(data)) == 1 + len(data)
    module.apply_mask(buffer, 1, 1 + len(data), mask, 0)
    read = module.get_text(buffer, 1, 1 + len(data), mask)
    assert read == text
    assert read.isascii() == text.isascii()
    assert (buffer[0], buffer[-1]) == (0xFF, 0xFF)


@everywhere
@pytest.mark.parametrize(("data", "proof"), BAD)
@pytest.mark.parametrize("before", ["", "a", "€"])
def test_what_is_not_utf8_is_refused_at_its_first_wrong_byte(module: Any, data: bytes, proof: int, before: str) -> None:
    good = before.encode()
    buffer = bytearray(good + data)
    with pytest.raises(UnicodeDecodeError):
        module.get_text(buffer, 0, len(buffer), 0)
    for size in range(proof):
        assert module.check_utf8(buffer, 0, len(good) + size) == len(good)
    for size in range(proof, len(data) + 1):
        with pytest.raises(UnicodeDecodeError):
            module.check_utf8(buffer, 0, len(good) + size)


@everywhere
@pytest.mark.parametrize("text", ["ä", "€", "𝄞"])
def test_a_character_cut_short_is_no_text_but_may_become_one(module: Any, text: str) -> None:
    data = b"a" + text.encode()
    for size in range(2, len(data)):
        with pytest.raises(UnicodeDecodeError):
            module.get_text(bytearray(data), 0, size, 0)
        assert module.check_utf8(bytearray(data), 0, size) == 1


@everywhere
@given(
    data=st.lists(
        st.sampled_from(
            [b"a", b"\xc3", b"\xa4", b"\xe2\x82", b"\xac", b"\xed\x9f", b"\xed\xa0", b"\xf4\x8f\xbf", b"\xbf", b"\xf0"]
        )
    ).map(b"".join)
)
@many
def test_utf8_is_what_rfc_3629_says(module: Any, data: bytes) -> None:
    utf8, complete = Utf8(), 0
    for i, octet in enumerate(data):
        if not utf8.takes(octet):
            assert result(module.check_utf8, bytearray(data), 0, i) == complete
            assert result(module.check_utf8, bytearray(data), 0, i + 1)[0] is UnicodeDecodeError
            return
        if utf8.is_complete:
            complete = i + 1
    assert module.check_utf8(bytearray(data), 0, len(data)) == complete


@everywhere
def test_bytes_are_copied(module: Any) -> None:
    buffer = bytearray(b"abcdef")
    data = module.get_bytes(buffer, 1, 4)
    buffer[2] = 0
    assert data == b"bcd"
    assert type(data) is bytes


# Bounds.

OUTSIDE = [(-1, 2), (0, 5), (3, 2), (5, 5), (-3, -1), (0, 1 << 62)]


@everywhere
@pytest.mark.parametrize(("start", "end"), OUTSIDE)
def test_a_bound_outside_of_the_buffer_is_an_index_error(module: Any, start: int, end: int) -> None:
    buffer = bytearray(b"abcd")
    for function in (module.get_bytes, module.check_utf8):
        with pytest.raises(IndexError):
            function(buffer, start, end)
    for mask in (0, 0x01010101):
        with pytest.raises(IndexError):
            module.get_text(buffer, start, end, mask)
    with pytest.raises(IndexError):
        module.apply_mask(buffer, start, end, 0x01010101, 0)
    assert buffer == b"abcd"


@everywhere
@pytest.mark.parametrize("at", [-1, 5, 1 << 62])
def test_a_frame_outside_of_the_buffer_is_an_index_error(module: Any, at: int) -> None:
    buffer = bytearray(b"abcd")
    with pytest.raises(IndexError):
        module.put_frame(buffer, at, FIN | TEXT, "x", False)
    assert buffer == b"abcd"


# Parts of large payloads.


@everywhere
@pytest.mark.parametrize("kind", [bytes, str])
@pytest.mark.parametrize("size", SIZES)
def test_a_part_of_a_payload_is_masked_into_a_frame_of_its_own(module: Any, size: int, kind: type) -> None:
    payload = bytes(32 + i % 95 for i in range(size + 5))
    given = payload if kind is bytes else payload.decode()
    made = module.masked_frame(TEXT, given, 3, 3 + size)
    assert isinstance(made, bytes)
    assert read_frames(made) == [Frame(TEXT, payload[3 : 3 + size], masked=True)]


@everywhere
@pytest.mark.parametrize("payload", [b"abcdef", "abcdef"], ids=["bytes", "str"])
def test_a_view_is_bytes_like_and_a_whole_bytes_object_is_its_own(module: Any, payload: str | bytes) -> None:
    assert bytes(module.view(payload, 2, 5)) == b"cde"
    assert len(module.view(payload, 2, 5)) == 3
    whole = module.view(payload, 0, 6)
    assert bytes(whole) == b"abcdef"
    assert b"".join([whole, memoryview(whole)[4:]]) == b"abcdefef"
    assert (whole is payload) == isinstance(payload, bytes)


@everywhere
def test_a_view_outlives_everybody_else_who_had_the_payload(module: Any) -> None:
    parts = [module.view(chr(97 + i) * 1000, 500, 1000) for i in range(20)]
    assert [bytes(part) for part in parts] == [bytes([97 + i]) * 500 for i in range(20)]


@everywhere
def test_a_view_can_not_be_written_to(module: Any) -> None:
    with pytest.raises(TypeError):
        memoryview(module.view("abc", 0, 3))[0] = 0


@everywhere
def test_a_length_that_is_no_length_is_refused(module: Any) -> None:
    with pytest.raises(ValueError, match=r"bytes"):
        module.put_header(FIN | TEXT, -1, False)


# Sockets.


@everywhere
@pytest.mark.skipif(os.name != "posix", reason="only there")
def test_send_now_hands_bytes_to_the_kernel(module: Any) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        assert module.send_now(ours.fileno(), b"hello", False) == 5
        assert theirs.recv(10) == b"hello"
        assert module.send_now(ours.fileno(), b"", False) == 0


@everywhere
@pytest.mark.skipif(sys.platform != "linux", reason="only there")
def test_what_more_follows_shares_a_packet_with_what_was_sent_before(module: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ours = socket.create_connection(listening.getsockname())
        theirs, _ = listening.accept()
    with ours, theirs:
        for end in (ours, theirs):
            end.setblocking(False)
        before = packets(theirs)
        assert module.send_now(ours.fileno(), b"bye", True) == 3
        ours.shutdown(socket.SHUT_WR)
        assert theirs.recv(10) == b"bye"
        assert theirs.recv(10) == b""
        assert packets(theirs) - before == (1 if module.COMPILED else 2)


def packets(connection: socket.socket) -> int:
    """Return the number of received segments: tcpi_segs_in of Linux' struct tcp_info."""
    return int.from_bytes(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)[140:144], sys.byteorder)


@everywhere
@pytest.mark.skipif(os.name != "posix", reason="only there")
def test_send_now_says_how_much_the_kernel_took(module: Any) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        data = bytes(64 << 20)
        taken = module.send_now(ours.fileno(), data, False)
        assert 0 < taken < len(data)
        while module.send_now(ours.fileno(), data, False):
            pass
        assert module.send_now(ours.fileno(), b"x", False) == 0


@everywhere
@pytest.mark.skipif(os.name != "posix", reason="only there")
def test_send_now_tells_an_error_by_its_negative_number(module: Any) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        ours.setblocking(False)
        theirs.close()
        for _ in range(2):  # and no SIGPIPE
            assert module.send_now(ours.fileno(), b"x", False) in (-errno.EPIPE, -errno.ECONNRESET)
        with pytest.raises(OSError) as caught:  # noqa: PT011 - the number says it
            ours.send(b"x")
        assert caught.value.errno in (errno.EPIPE, errno.ECONNRESET)
        number = ours.fileno()
    assert module.send_now(number, b"x", False) == -errno.EBADF


@everywhere
@pytest.mark.skipif(os.name != "posix", reason="only there")
def test_receive_now_reads_what_there_is_into_memory(module: Any) -> None:
    memory = memoryview(bytearray(8))
    ours, theirs = socket.socketpair()
    with ours:
        ours.setblocking(False)
        assert module.receive_now(ours.fileno(), memory) == -errno.EAGAIN
        theirs.sendall(b"hello")
        assert module.receive_now(ours.fileno(), memory[2:5]) == 3
        assert module.receive_now(ours.fileno(), memory[5:]) == 2
        assert bytes(memory) == b"\0\0hello\0"
        theirs.close()
        assert module.receive_now(ours.fileno(), memory) == 0
        number = ours.fileno()
    assert module.receive_now(number, memory) == -errno.EBADF


# Notes.

NOTE_SIZE = 16
MAX_NOTED = (1 << 32) - 1


@everywhere
@given(
    time=st.floats(allow_nan=False),
    size=st.integers(0, MAX_NOTED),
    kind=st.integers(0, 255),
    at=st.integers(0, 3 * NOTE_SIZE),
)
@few
def test_a_note_is_read_as_it_was_written(module: Any, time: float, size: int, kind: int, at: int) -> None:
    notes = bytearray(b"\xee" * 4 * NOTE_SIZE)
    module.put_note(notes, at, time, size, kind)
    assert module.get_note(notes, at) == (time, size, kind)
    notes[at : at + NOTE_SIZE] = b"\xee" * NOTE_SIZE
    assert notes == b"\xee" * 4 * NOTE_SIZE


@everywhere
@pytest.mark.parametrize("at", [2 * NOTE_SIZE, 3 * NOTE_SIZE, 1 << 60])
def test_a_note_outside_of_the_buffer_is_an_error(module: Any, at: int) -> None:
    notes = bytearray(3 * NOTE_SIZE - 1)
    with pytest.raises(struct.error):
        module.put_note(notes, at, 1.0, 2, 3)
    with pytest.raises(struct.error):
        module.get_note(notes, at)
    assert notes == bytes(3 * NOTE_SIZE - 1)


@pytest.mark.skipif(not octets.COMPILED, reason="this run is on the pure build: there is nothing to compare")
def test_python_reads_the_notes_of_c_and_c_those_of_python() -> None:
    for writer, reader in (IMPLEMENTATIONS, IMPLEMENTATIONS[::-1]):
        notes = bytearray(2 * NOTE_SIZE)
        writer.put_note(notes, NOTE_SIZE, 12.5, MAX_NOTED, 0x9A)
        assert reader.get_note(notes, NOTE_SIZE) == (12.5, MAX_NOTED, 0x9A)


# Both.


@pytest.mark.skipif(not octets.COMPILED, reason="this run is on the pure build: there is nothing to compare")
@given(data=st.data())
@many
def test_python_and_c_do_the_same(data: st.DataObject) -> None:
    buffer = data.draw(st.binary(max_size=40) | st.text(max_size=15).map(str.encode))
    bounds = st.integers(-2, len(buffer) + 2)
    start, end = data.draw(bounds), data.draw(bounds)
    mask, phase = data.draw(st.integers(0, (1 << 32) - 1)), data.draw(st.integers(0, 7))
    payload = data.draw(st.text(st.characters(), max_size=200) | st.binary(max_size=200))
    size = data.draw(st.integers(0, (1 << 63) - 1) | st.integers(0, 70_000))
    outcomes = []
    for module in IMPLEMENTATIONS:
        masked, out = bytearray(buffer), bytearray(buffer)
        written = result(module.put_frame, out, start, FIN | TEXT, payload, False)
        outcomes.append(
            (
                result(module.get_text, bytearray(buffer), start, end, 0),
                result(module.get_text, bytearray(masked), start, end, mask),
                result(module.get_bytes, bytearray(buffer), start, end),
                result(module.check_utf8, bytearray(buffer), start, end),
                result(module.apply_mask, masked, start, end, mask, phase) is IndexError,
                bytes(masked),
                written,
                bytes(out[:written]) if isinstance(written, int) else b"",
                module.put_header(FIN | BINARY, size, bool(mask & 1)),
            )
        )
    assert outcomes[0] == outcomes[1]


@everywhere
def test_each_says_whether_it_is_compiled(module: Any) -> None:
    assert (module is not PYTHON) == module.COMPILED


# Growing.


@everywhere
def test_a_bytearray_grows_keeps_what_it_has_and_never_shrinks(module: Any) -> None:
    buffer = bytearray(b"abc")
    module.grow(buffer, 1000)
    assert (len(buffer), bytes(buffer[:3])) == (1000, b"abc")
    module.grow(buffer, 10)
    assert len(buffer) == 1000


@everywhere
def test_a_bytearray_that_is_in_use_does_not_grow(module: Any) -> None:
    buffer = bytearray(b"abc")
    with memoryview(buffer), pytest.raises(BufferError):
        module.grow(buffer, 1 << 20)
