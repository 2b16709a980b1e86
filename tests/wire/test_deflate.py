"""permessage-deflate: what is agreed, and what travels (RFC 7692). The reference is Python's own zlib."""

from __future__ import annotations

import random
import re
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol_pair import (
    BINARY,
    CONTINUATION,
    MIB,
    PING,
    TEXT,
    End,
    Frame,
    Pair,
    few,
    frame,
    read_frames,
)
from wasclean.closing.errors import HandshakeError
from wasclean.closing.outcome import Cause
from wasclean.closing.table import State
from wasclean.model.errors import RemoteProtocolError
from wasclean.model.registry import CloseCode, Role
from wasclean.model.violations import Violation
from wasclean.opening.extensions import Agreed, Parameters, accept, confirm, offer
from wasclean.opening.headers import parse_extensions
from wasclean.options import Limits
from wasclean.wire import deflate as module
from wasclean.wire.deflate import TAIL, Deflate, Inflater

RSV1 = 0x40
FRAGMENT = 1 << 17  # bytes that a message is cut into
PLAIN = Agreed(Parameters(), Deflate())
EAGER = Agreed(Parameters(), Deflate(threshold=0))
ALONE = Agreed(Parameters(True, True), Deflate(threshold=0))

both_roles = pytest.mark.parametrize("role", list(Role))


@pytest.fixture(params=["zlib", "zlib_ng.zlib_ng"], autouse=True)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs with both libraries."""
    library = pytest.importorskip(request.param)
    monkeypatch.setattr(module, "backend", lambda: library)


def deflated(*payloads: bytes, level: int = 6, bits: int = 15) -> list[bytes]:
    """Compress messages as a peer would, with context takeover."""
    stream = zlib.compressobj(level, zlib.DEFLATED, -bits)
    return [(stream.compress(payload) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4] for payload in payloads]


def inflated(payloads: list[bytes], bits: int = 15) -> list[bytes]:
    """Decompress payloads as a peer would."""
    stream = zlib.decompressobj(-bits)
    return [stream.decompress(payload + TAIL) for payload in payloads]


def answer_to(offered: str, deflate: Deflate = Deflate()) -> str | None:  # noqa: B008
    agreed = accept(parse_extensions([offered]), deflate)
    return None if agreed is None else str(agreed.parameters)


# ---- what is agreed ----


@pytest.mark.parametrize(
    ("offered", "answered"),
    [
        ("permessage-deflate", "server_max_window_bits=12"),
        ("permessage-deflate; client_max_window_bits", "server_max_window_bits=12; client_max_window_bits=12"),
        ("permessage-deflate; client_max_window_bits=10", "server_max_window_bits=12; client_max_window_bits=10"),
        ("permessage-deflate; client_max_window_bits=15", "server_max_window_bits=12; client_max_window_bits=12"),
        ('permessage-deflate; server_max_window_bits="9"', "server_max_window_bits=9"),
        ("permessage-deflate; server_max_window_bits=15", "server_max_window_bits=12"),
        (
            "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
            "server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12",
        ),
        ("x-webkit-deflate-frame, permessage-deflate", "server_max_window_bits=12"),
        ("permessage-deflate; server_max_window_bits=7, permessage-deflate", "server_max_window_bits=12"),
        ("permessage-deflate; what=1, permessage-deflate; server_max_window_bits=8", "server_max_window_bits=8"),
    ],
)
def test_a_server_takes_the_first_offer_that_is_valid(offered: str, answered: str) -> None:
    assert answer_to(offered) == f"permessage-deflate; {answered}"


@pytest.mark.parametrize(
    "parameters",
    [
        "server_max_window_bits",
        "server_max_window_bits=7",
        "server_max_window_bits=16",
        "server_max_window_bits=0",
        "server_max_window_bits=08",
        "server_max_window_bits=1e9",
        "server_max_window_bits=10; server_max_window_bits=10",
        "client_max_window_bits=7",
        "client_max_window_bits=99999999999999999999",
        "client_max_window_bits; client_max_window_bits",
        "server_no_context_takeover=1",
        "client_no_context_takeover=true",
        "server_no_context_takeover; server_no_context_takeover",
        "unknown",
        "Server_No_Context_Takeover",
        "constructor",
        "__init__=8",
    ],
)
def test_an_offer_that_breaks_a_rule_is_declined(parameters: str) -> None:
    assert answer_to(f"permessage-deflate; {parameters}") is None


def test_a_server_says_what_it_wants() -> None:
    own = Deflate(True, True, 10, 9)
    assert answer_to("permessage-deflate; client_max_window_bits", own) == (
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; "
        "server_max_window_bits=10; client_max_window_bits=9"
    )
    # "MUST NOT include": the client has not said that it can.
    assert answer_to("permessage-deflate", Deflate(client_max_window_bits=9)) == (
        "permessage-deflate; server_max_window_bits=12"
    )


def test_a_crowded_server_gives_up_context_takeover() -> None:
    assert answer_to("permessage-deflate", Deflate().without_contexts()) == (
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12"
    )


def test_a_client_offers_what_browsers_do_and_what_it_is_told_to() -> None:
    assert offer([Deflate()]) == "permessage-deflate; client_max_window_bits"
    assert offer([Deflate(True, True, 10, 9), Deflate()]) == (
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; "
        "server_max_window_bits=10; client_max_window_bits=9, permessage-deflate; client_max_window_bits"
    )


@pytest.mark.parametrize(
    ("answer", "parameters"),
    [
        ("permessage-deflate", Parameters()),
        ("permessage-deflate; server_no_context_takeover", Parameters(server_no_context_takeover=True)),
        ("permessage-deflate; client_no_context_takeover", Parameters(client_no_context_takeover=True)),
        (
            'permessage-deflate; server_max_window_bits="8"; client_max_window_bits=15',
            Parameters(server_max_window_bits=8, client_max_window_bits=15),
        ),
    ],
)
def test_a_client_takes_an_answer_within_its_offer(answer: str, parameters: Parameters) -> None:
    assert confirm(parse_extensions([answer]), [Deflate()]) == Agreed(parameters, Deflate())


@pytest.mark.parametrize(
    "answer",
    [
        "x",
        "permessage-deflate, permessage-deflate",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; client_max_window_bits=16",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=1000000000",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; unknown=1",
    ],
)
def test_a_client_refuses_an_answer_that_breaks_a_rule(answer: str) -> None:
    with pytest.raises(HandshakeError):
        confirm(parse_extensions([answer]), [Deflate()])


@pytest.mark.parametrize(
    ("deflate", "answer"),
    [
        (Deflate(server_max_window_bits=10), "permessage-deflate"),
        (Deflate(server_max_window_bits=10), "permessage-deflate; server_max_window_bits=11"),
        (Deflate(server_no_context_takeover=True), "permessage-deflate"),
        (Deflate(client_max_window_bits=10), "permessage-deflate; client_max_window_bits=11"),
    ],
)
def test_a_client_refuses_an_answer_beyond_its_offer_unless_another_offer_allows_it(
    deflate: Deflate, answer: str
) -> None:
    with pytest.raises(HandshakeError, match="beyond"):
        confirm(parse_extensions([answer]), [deflate])
    agreed = confirm(parse_extensions([answer]), [deflate, Deflate(level=1)])
    assert agreed is not None
    assert agreed.deflate.level == 1


def test_no_answer_is_no_compression_and_an_answer_without_an_offer_is_an_error() -> None:
    assert confirm([], [Deflate()]) is None
    with pytest.raises(HandshakeError, match="not offered"):
        confirm(parse_extensions(["permessage-deflate"]), [])


@given(st.text(alphabet='permssag-dflt;,="_1580 cv', max_size=80))
@few
def test_whatever_is_offered_is_agreed_on_or_declined(text: str) -> None:
    try:
        extensions = parse_extensions([f"permessage-deflate; {text}"])
    except HandshakeError:
        return
    agreed = accept(extensions, Deflate())
    if agreed is not None:
        assert confirm(parse_extensions([str(agreed.parameters)]), [Deflate()]) is not None


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"level": 10}, ValueError),
        ({"level": -1}, ValueError),
        ({"mem_level": 0}, ValueError),
        ({"server_max_window_bits": 7}, ValueError),
        ({"client_max_window_bits": 16}, ValueError),
        ({"threshold": -1}, ValueError),
        ({"threshold": 1.5}, TypeError),
        ({"level": True}, TypeError),
        ({"required": 1}, TypeError),
        ({"client_no_context_takeover": None}, TypeError),
    ],
)
def test_a_deflate_that_makes_no_sense_is_refused(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=f"Deflate's {next(iter(options))} must be"):
        Deflate(**options)
    with pytest.raises(error, match=f"Deflate's {next(iter(options))} must be"):
        Deflate()._replace(**options)


# ---- what travels ----


def test_the_examples_of_the_rfc_are_read_and_written() -> None:
    end = End(Role.CLIENT, deflate=EAGER)
    end.feed(bytes.fromhex("c107f248cdc9c90700"))  # section 7.2.3.1
    end.feed(bytes.fromhex("4103f248cd 8004c9c90700"))  # in two fragments
    end.feed(bytes.fromhex("c10b000500faff48656c6c6f00"))  # 7.2.3.3: not compressed
    end.feed(bytes.fromhex("c108f348cdc9c9070000"))  # 7.2.3.4: with BFINAL
    end.feed(bytes.fromhex("c10df248050000 00ffffcac9c90700"))  # 7.2.3.5: two blocks
    assert end.messages() == ["Hello"] * 5
    end = End(Role.SERVER, deflate=Agreed(Parameters(), Deflate(threshold=0, level=6)))
    end.connection.send(TEXT, "Hello")
    end.connection.send(TEXT, "Hello")  # 7.2.3.2: the window is shared
    end.flush()
    payloads = [seen.payload for seen in read_frames(end.take())]
    assert inflated(payloads) == [b"Hello", b"Hello"]
    assert len(payloads[1]) < len(payloads[0])


def test_an_empty_message_is_one_byte() -> None:
    end = End(Role.SERVER, deflate=EAGER)
    for text in ("", "", "a", ""):
        end.connection.send(TEXT, text)
    end.flush()
    frames = read_frames(end.take())
    assert [frame.payload for frame in frames if frame.payload == b"\x00"] == [b"\x00"] * 3  # section 7.2.3.6
    peer = End(Role.CLIENT, deflate=EAGER)
    for seen in frames:
        peer.arrive(TEXT, seen.payload, rsv=RSV1)
    assert peer.messages() == ["", "", "a", ""]


@pytest.mark.parametrize("server_bits", [8, 9, 12, 15, None])
@pytest.mark.parametrize("client_bits", [8, 9, 12, 15, None])
@pytest.mark.parametrize("alone", [False, True])
def test_both_ends_understand_each_other(server_bits: int | None, client_bits: int | None, alone: bool) -> None:
    agreed = Agreed(Parameters(alone, alone, server_bits, client_bits), Deflate(threshold=0))
    pair = Pair(deflate=agreed)
    chance = random.Random(1)
    words = [bytes(chance.choices(b"abc", k=chance.randrange(40))) for _ in range(50)]
    sent = [b" ".join(chance.choices(words, k=chance.randrange(1, 200))) for _ in range(30)]
    for message in sent:
        pair.client.connection.send(BINARY, message)
        pair.server.connection.send(BINARY, message[::-1])
    pair.settle()
    assert pair.server.messages() == sent
    assert pair.client.messages() == [message[::-1] for message in sent]


@pytest.mark.parametrize("bits", [8, 9, 10, 15])
def test_what_we_send_needs_no_larger_window_than_was_agreed(bits: int) -> None:
    end = End(Role.SERVER, deflate=Agreed(Parameters(server_max_window_bits=bits), Deflate(threshold=0, level=9)))
    chance = random.Random(2)
    pieces = [chance.randbytes(chance.randrange(3, 30)) for _ in range(40)]
    sent = [b"".join(chance.choices(pieces, k=300)) for _ in range(20)]
    for message in sent:
        end.connection.send(BINARY, message)
        end.flush()
    payloads = [seen.payload for seen in read_frames(end.take())]
    stream = zlib.decompressobj(-max(bits, 8))
    assert [stream.decompress(payload + TAIL) for payload in payloads] == sent


def test_a_peer_without_context_takeover_is_read_message_by_message() -> None:
    end = End(Role.SERVER, deflate=ALONE)
    for _ in range(3):
        end.arrive(TEXT, deflated(b"again and again")[0], rsv=RSV1)
    assert end.messages() == ["again and again"] * 3


@given(st.data())
@few
def test_what_is_sent_in_any_pieces_arrives(data: st.DataObject) -> None:
    role = data.draw(st.sampled_from(list(Role)))
    texts = data.draw(st.lists(st.text(max_size=300), max_size=6))
    stream = b""
    for payload in deflated(*(text.encode() for text in texts)):
        cuts = sorted(data.draw(st.lists(st.integers(0, len(payload)), max_size=3)))
        parts = [payload[a:b] for a, b in zip([0, *cuts], [*cuts, len(payload)], strict=True)]
        for number, part in enumerate(parts):
            first, last = number == 0, number == len(parts) - 1
            stream += frame(role, TEXT if first else CONTINUATION, part, fin=last, rsv=RSV1 if first else 0)
            stream += frame(role, PING, b"between")
    places = data.draw(st.lists(st.integers(0, len(stream)), max_size=10))
    assert End(role, deflate=PLAIN).feed(stream, places).messages() == texts


@both_roles
def test_a_message_that_is_not_compressed_is_read_beside_those_that_are(role: Role) -> None:
    end = End(role, deflate=PLAIN)
    first, second = deflated(b"first", b"first, second")
    end.arrive(TEXT, first, rsv=RSV1).arrive(TEXT, b"plain").arrive(TEXT, second, rsv=RSV1)
    assert end.messages() == ["first", "plain", "first, second"]


def test_small_messages_are_sent_as_they_are_unless_told_otherwise() -> None:
    end = End(Role.SERVER, deflate=Agreed(Parameters(), Deflate(threshold=10)))
    sizes = {9: None, 10: None, 5: True, 500: False}
    for size, compress in sizes.items():
        end.connection.send(TEXT, "x" * size, compress)
    end.flush()
    assert [seen.first & RSV1 for seen in read_frames(end.take())] == [0, RSV1, RSV1, 0]


def test_without_an_agreement_nothing_is_compressed() -> None:
    end = End(Role.SERVER)
    end.connection.send(TEXT, "x" * 5000, True)
    end.flush()
    assert read_frames(end.take()) == [Frame(0x81, b"x" * 5000)]


# ---- large messages, and what has not left ----


def test_a_large_message_is_compressed_fragment_by_fragment_and_the_loop_has_turns() -> None:
    chance = random.Random(3)
    message = bytes(chance.choices(b"abcdefgh", k=3 * FRAGMENT + 5))
    end = End(Role.SERVER, deflate=PLAIN)
    connection = end.connection
    assert connection.send(BINARY, message) == len(message)
    turns = 0
    while connection.fill():
        turns += connection.yields()
        data = connection.data_to_send()
        end.wire += data if isinstance(data, bytes) else b"".join(data)
        if turns == 1 and not any(seen.first == 0x89 for seen in read_frames(bytes(end.wire))):
            connection.send_ping(b"hello")
    frames = read_frames(end.take())
    assert turns == 3
    assert [seen.first for seen in frames] == [RSV1 | BINARY, 0x89, CONTINUATION, CONTINUATION, 0x80]
    assert inflated([b"".join(seen.payload for seen in frames if seen.first != 0x89)]) == [message]
    assert connection.buffered_amount() == 0
    peer = End(Role.CLIENT, deflate=PLAIN).feed(bytes(end.wire))
    assert peer.messages() == [message]


def test_what_has_not_left_is_told_as_it_was_sent() -> None:
    end = End(Role.SERVER, deflate=EAGER)
    connection = end.connection
    texts = ["one " * 50, "two " * 50, "three " * 50, "four " * 50, "five"]
    for text in texts[:2]:
        connection.send(TEXT, text)
    connection.send(TEXT, texts[2], False)
    assert connection.buffered_amount() == sum(map(len, texts[:3]))
    assert connection.fill()
    given = connection.data_to_send()
    assert isinstance(given, bytes)
    connection.pause_writing(end.now)
    for text in texts[3:]:
        connection.send(TEXT, text)
    assert connection.buffered_amount() == sum(map(len, texts))
    assert connection.sender.unsent(len(given)) == texts
    sizes = [2 + len(seen.payload) + (2 if len(seen.payload) > 125 else 0) for seen in read_frames(given)]
    assert connection.sender.unsent(len(given) - sizes[0]) == texts[1:]
    assert connection.sender.unsent(0) == texts[3:]


def test_what_is_framed_and_not_given_yet_is_unsent_too() -> None:
    end = End(Role.SERVER, deflate=EAGER)
    end.connection.send(BINARY, b"staged" * 30)
    assert end.connection.sender.unsent(0) == [b"staged" * 30]


def test_a_message_of_which_some_fragments_have_left_is_unsent_as_a_whole() -> None:
    message = random.Random(4).randbytes(2 * FRAGMENT + 1)
    end = End(Role.SERVER, deflate=PLAIN)
    end.connection.send(BINARY, message)
    assert end.connection.fill()
    end.connection.data_to_send()
    end.connection.pause_writing(end.now)
    assert end.connection.sender.unsent(0) == [message]


# ---- what breaks a rule ----


@both_roles
@pytest.mark.parametrize(
    ("frames", "violation"),
    [
        ([(CONTINUATION, True, RSV1)], Violation.RESERVED_BITS),
        ([(TEXT, False, RSV1), (CONTINUATION, True, RSV1)], Violation.RESERVED_BITS),
        ([(PING, True, RSV1)], Violation.RESERVED_BITS),
        ([(0x8, True, RSV1)], Violation.RESERVED_BITS),
        ([(TEXT, True, 0x20)], Violation.RESERVED_BITS),
        ([(TEXT, True, 0x10)], Violation.RESERVED_BITS),
        ([(TEXT, True, 0x60)], Violation.RESERVED_BITS),
        ([(0x3, True, RSV1)], Violation.RESERVED_BITS),
    ],
)
def test_a_reserved_bit_in_the_wrong_place_is_1002(
    role: Role, frames: list[tuple[int, bool, int]], violation: Violation
) -> None:
    end = End(role, deflate=PLAIN)
    for opcode, fin, rsv in frames:
        end.arrive(opcode, b"", fin=fin, rsv=rsv)
    assert (end.connection.closing.violation, end.connection.closing.sent and end.connection.closing.sent.code) == (
        violation,
        1002,
    )


@both_roles
def test_a_compressed_message_is_1002_unless_that_was_agreed(role: Role) -> None:
    end = End(role).arrive(TEXT, deflated(b"Hello")[0], rsv=RSV1)
    assert (end.messages(), end.connection.closing.violation) == ([], Violation.RESERVED_BITS)


BROKEN = [
    b"\xff",  # a block of the reserved type
    b"\x07\x00\x00",
    b"\x00\x05\x00\x00\x00hello",  # a stored block whose length and complement disagree
    b"\x03\x00" * 20,  # more final blocks than MAX_RESETS
]


@both_roles
@pytest.mark.parametrize("payload", BROKEN)
def test_what_is_not_deflated_is_1007_and_is_not_blamed_on_utf8(role: Role, payload: bytes) -> None:
    end = End(role, deflate=PLAIN).arrive(BINARY, payload, rsv=RSV1)
    assert end.messages() == []
    assert end.connection.closing.violation is Violation.NOT_DEFLATED
    assert end.connection.closing.error is not None
    assert re.search("invalid|more than 8 final blocks", end.connection.closing.error.detail)
    assert end.connection.closing.sent is not None
    assert end.connection.closing.sent.code == CloseCode.INVALID_FRAME_PAYLOAD_DATA
    assert end.connection.closing.cause is Cause.PROTOCOL_ERROR
    assert "RFC 7692" in end.connection.closing.detail


def test_text_that_is_not_utf8_is_1007_in_its_first_bad_fragment() -> None:
    stream = zlib.compressobj(wbits=-15)
    first = stream.compress(b"good \xff bad") + stream.flush(zlib.Z_SYNC_FLUSH)
    end = End(Role.SERVER, deflate=PLAIN).arrive(TEXT, first, rsv=RSV1, fin=False)
    assert end.connection.closing.violation is Violation.TEXT_NOT_UTF8
    end = End(Role.SERVER, deflate=PLAIN).arrive(TEXT, deflated("é".encode()[:1])[0], rsv=RSV1)
    assert end.connection.closing.violation is Violation.TEXT_NOT_UTF8


@pytest.mark.parametrize("limit", [1, 5, 128, 1000, 65535, 65536, 65537, 200_000])
@pytest.mark.parametrize("over", [-1, 0, 1, 2, 1000])
@pytest.mark.parametrize("pattern", [b"x", b"abcdefghij", None])
def test_the_limit_is_exact_to_the_byte_and_nothing_is_cut_off(limit: int, over: int, pattern: bytes | None) -> None:
    size = max(limit + over, 0)
    message = random.Random(6).randbytes(size) if pattern is None else (pattern * size)[:size]
    for cuts in ((), range(0, 2000, 7)):
        end = End(Role.SERVER, deflate=PLAIN, max_message_size=limit)
        end.feed(frame(Role.SERVER, BINARY, deflated(message)[0], rsv=RSV1), cuts)
        if over <= 0:
            assert end.messages() == [message]
        else:
            assert (end.messages(), end.connection.closing.violation) == ([], Violation.MESSAGE_TOO_BIG)


def test_a_bomb_is_inflated_no_further_than_the_limit() -> None:
    bomb = deflated(bytes(200 * MIB), level=9)[0]
    inflater = Inflater(15, True)
    size = sum(map(len, inflater.inflate(bomb[:1000], 2 * MIB, 0)))
    with pytest.raises(RemoteProtocolError) as caught:
        inflater.inflate(bomb[1000:], size + 10, size)
    assert caught.value.violation is Violation.MESSAGE_TOO_BIG
    assert caught.value.detail == f"inflated, it has more bytes than max_message_size, which is {size + 10:,}"
    stream = inflater._stream
    assert len(stream.unconsumed_tail) > len(bomb) - 2000


@both_roles
def test_compressed_bytes_have_a_limit_too(role: Role) -> None:
    end = End(role, deflate=PLAIN, max_message_size=1000)
    end.feed(frame(role, BINARY, b"", rsv=RSV1, declared=1_000_000)[:14])
    assert end.connection.closing.violation is Violation.MESSAGE_TOO_BIG
    end = End(role, deflate=PLAIN, max_message_size=1000)
    end.arrive(BINARY, b"", rsv=RSV1, fin=False)
    for _ in range(400):  # empty stored blocks
        end.arrive(CONTINUATION, b"\x00" + TAIL, fin=False)
    assert end.connection.closing.violation is Violation.MESSAGE_TOO_BIG


@pytest.mark.slow
@both_roles
@pytest.mark.parametrize(
    "flushes", [True, False], ids=["each piece is flushed", "it is cut when it has been compressed"]
)
def test_a_compressed_message_in_many_fragments_is_no_flood(role: Role, flushes: bool) -> None:
    deflater = zlib.compressobj(1, zlib.DEFLATED, -15)
    if flushes:  # a few bytes each
        payload = b"0123456789abcdef" * (4 * MIB // 16)
        pieces = [
            deflater.compress(payload[at : at + 64]) + deflater.flush(zlib.Z_SYNC_FLUSH) for at in range(0, 4 * MIB, 64)
        ]
        assert sum(map(len, pieces)) < 12 * len(pieces)
    else:
        payload = random.Random(1).randbytes(4 * MIB)
        whole = deflater.compress(payload) + deflater.flush(zlib.Z_SYNC_FLUSH)
        pieces = [whole[at : at + 64] for at in range(0, len(whole), 64)]
    end = End(role, deflate=PLAIN, max_message_size=None, max_fragments=Limits.options["max_fragments"].default)
    end.feed(frame(role, BINARY, pieces[0], fin=False, rsv=RSV1))
    end.feed(b"".join(frame(role, CONTINUATION, piece, fin=False) for piece in pieces[1:]) + frame(role, CONTINUATION))
    assert end.connection.closing.violation is None
    assert end.messages() == [payload]


def test_no_limit_is_no_limit() -> None:
    end = End(Role.SERVER, deflate=PLAIN, max_message_size=None)
    message = b"0123456789" * 300_000
    end.feed(frame(Role.SERVER, BINARY, deflated(message)[0], rsv=RSV1))
    assert end.messages() == [message]
    end.feed(frame(Role.SERVER, BINARY, b"", rsv=RSV1, declared=(1 << 63) - 1)[:10])
    assert end.state is State.OPEN


def test_a_final_block_ends_the_window_and_not_the_connection() -> None:
    final = zlib.compressobj(wbits=-15)
    ended = final.compress(b"ended ") + final.flush()
    end = End(Role.SERVER, deflate=PLAIN)
    end.arrive(TEXT, ended, rsv=RSV1)  # nothing behind the final block
    end.arrive(TEXT, ended + deflated(b"and begun again")[0], rsv=RSV1)
    end.arrive(TEXT, ended + b"\x00", rsv=RSV1)
    assert end.messages() == ["ended ", "ended and begun again", "ended "]


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
@few
def test_any_bytes_are_inflated_or_refused(data: bytes, cuts: list[int]) -> None:
    end = End(Role.SERVER, deflate=PLAIN, max_message_size=5000)
    end.feed(frame(Role.SERVER, BINARY, data, rsv=RSV1), cuts)
    assert end.connection.closing.violation in (None, Violation.NOT_DEFLATED, Violation.MESSAGE_TOO_BIG)
    assert len(end.messages()) == (end.connection.closing.violation is None)


def test_nothing_is_kept_before_the_first_compressed_message_nor_after_the_end() -> None:
    end = End(Role.SERVER, deflate=PLAIN)
    deflater, inflater = PLAIN.deflater(Role.SERVER), PLAIN.inflater(Role.SERVER)
    assert (deflater._stream, inflater._stream) == (None, None)
    end.connection.send(TEXT, "x" * 2000)
    end.arrive(TEXT, deflated(b"x" * 2000)[0], rsv=RSV1)
    end.connection.connection_lost(end.now)
    assert end.state is State.CLOSED


@pytest.mark.parametrize("role", Role)
def test_what_could_not_be_inflated_is_counted_as_it_travels(role: Role) -> None:
    good, bad = deflated(b"abc")[0], b"\xff" * 10
    end = End(role, deflate=PLAIN)
    end.feed(frame(role, BINARY, good + b"\x00\x00\xff\xff", rsv=RSV1, fin=False) + frame(role, CONTINUATION, bad))
    assert end.connection.closing.violation is Violation.NOT_DEFLATED
    assert end.connection.receiver.discarded == len(b"abc") + len(bad)
