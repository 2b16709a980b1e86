"""TLS without I/O: what one end seals the other reads, and what is lost with bytes that do not arrive is known."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.certificates import client_context, server_context
from wasclean.aio.tls import TLS

RECORD = 1 << 14  # bytes at most in one


def read(tls: TLS, room: int = RECORD) -> bytes:
    """All that can be read, into rooms of that size."""
    data = bytearray()
    place = bytearray(room)
    while count := tls.read(memoryview(place)):
        data += place[:count]
    return bytes(data)


def feed(tls: TLS, data: bytes) -> None:
    tls.feed(memoryview(data))


def flat(sealed: Any) -> bytes:
    return b"".join(sealed) if isinstance(sealed, list) else sealed


def end(one: TLS, other: TLS) -> None:
    """End one side; the other notices, and there is nothing else to read."""
    one.end()
    feed(other, one.take())
    assert read(other) == b""
    assert other.ended


def shake_hands(*ends: TLS) -> None:
    """Let both say what they have to until the handshake is complete, or has failed."""
    client, server = ends
    for _ in range(4):
        client.shake_hands()
        feed(server, client.take())
        server.shake_hands()
        feed(client, server.take())
    assert [end.take() for end in ends] == [b"", b""]


def pair(client_rules: ssl.SSLContext | None = None, name: str = "localhost") -> tuple[TLS, TLS]:
    """Both ends of a connection."""
    client = TLS(client_rules or client_context(), server_hostname=name)
    server = TLS(server_context(), server_side=True)
    shake_hands(client, server)
    return client, server


def older() -> ssl.SSLContext:
    """A client's rules, for TLS 1.2."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


VERSIONS = pytest.mark.parametrize("rules", [None, older()], ids=["1.3", "1.2"])
WAYS = pytest.mark.parametrize("to_server", [True, False], ids=["to the server", "to the client"])


@VERSIONS
@WAYS
def test_what_one_end_seals_the_other_reads(rules: ssl.SSLContext | None, to_server: bool) -> None:
    ends = pair(rules)
    receiver, sender = ends if not to_server else ends[::-1]
    feed(receiver, sender.seal(b"hello"))
    feed(receiver, sender.seal(b" world"))
    assert read(receiver) == b"hello world"
    assert read(receiver) == b""
    assert not receiver.ended
    assert receiver.error is None


CHUNKS = st.lists(st.binary(max_size=50) | st.integers(0, 3 * RECORD).map(lambda size: b"x" * size), max_size=4)


@given(chunks=CHUNKS, room=st.integers(1, 40_000), piece=st.integers(1, 70_000))
def test_chunks_of_any_size_arrive_in_any_pieces_and_into_any_room(chunks: list[bytes], room: int, piece: int) -> None:
    client, server = pair()
    sealed = flat(client.seal([memoryview(chunk) for chunk in chunks]))
    assert client.sealed == sum(map(len, chunks))
    assert len(sealed) <= client.sealed + 22 * (client.sealed // RECORD + 1)  # in as few records as there can be
    data = b""
    for start in range(0, len(sealed), piece):
        feed(server, sealed[start : start + piece])
        data += read(server, room)
    assert data == b"".join(chunks)


@given(size=st.integers(1, 4 * RECORD) | st.sampled_from([RECORD, 2 * RECORD]), part=st.floats(0, 1))
def test_it_is_known_what_can_not_be_read_of_what_arrives_in_part(size: int, part: float) -> None:
    client, server = pair()
    sealed = flat(client.seal(b"x" * size))
    left = round(len(sealed) * part)
    feed(server, sealed[: len(sealed) - left])
    assert client.unread(left) == size - len(read(server))
    assert client.unread(left + 1000) >= client.unread(left)  # a close_notify was behind it
    assert client.unread(0) == 0


def test_half_a_record_is_nothing_yet() -> None:
    client, server = pair()
    sealed = client.seal(b"hello")
    feed(server, sealed[:-1])
    assert read(server) == b""
    assert not server.ended
    feed(server, sealed[-1:])
    assert server.holds()
    assert read(server) == b"hello"
    assert not server.holds()


def test_a_record_is_read_in_parts_if_there_is_no_room_for_more() -> None:
    client, server = pair()
    feed(server, client.seal(b"hello"))
    place = memoryview(bytearray(4))
    assert server.read(place) == 4
    assert server.holds()
    assert server.read(place) == 1
    assert not server.holds()


@VERSIONS
@WAYS
def test_an_end_is_told_behind_all_that_was_sealed(rules: ssl.SSLContext | None, to_server: bool) -> None:
    ends = pair(rules)
    receiver, sender = ends if not to_server else ends[::-1]
    sealed = sender.seal(b"last words")
    sender.end()
    notice = sender.take()
    assert notice
    feed(receiver, sealed)
    assert read(receiver) == b"last words"
    assert not receiver.ended
    feed(receiver, notice)
    assert read(receiver) == b""
    assert receiver.ended
    assert receiver.error is None
    end(receiver, sender)


def test_after_our_end_the_other_side_can_still_speak() -> None:
    client, server = pair()
    end(client, server)
    feed(client, server.seal(b"and another thing"))
    assert read(client) == b"and another thing"
    end(server, client)


def test_an_end_before_what_was_sent_to_us_is_read_drops_that() -> None:
    client, server = pair()
    feed(server, flat(client.seal(b"x" * 100_000)))
    server.end()
    feed(client, server.take())
    read(client)
    assert client.ended


def test_no_end_is_told_before_the_handshake_is_complete() -> None:
    client = TLS(client_context(), server_hostname="localhost")
    client.end()
    assert client.take() == b""
    assert client.seal(b"too soon") == b""
    assert client.sealed == 8
    assert read(client) == b""
    assert not client.established


def test_both_ends_know_why_a_handshake_has_failed() -> None:
    client, server = pair(name="other.example")
    assert not client.established
    assert isinstance(client.error, ssl.SSLCertVerificationError)
    assert "Hostname mismatch" in str(client.error)
    assert "bad certificate" in str(server.error)  # the alert
    assert not client.shake_hands()


def test_what_is_no_tls_is_an_error_and_the_other_end_is_told() -> None:
    client, server = pair()
    feed(server, b"GET / HTTP/1.1\r\n\r\n")
    assert read(server) == b""
    assert isinstance(server.error, ssl.SSLError)
    assert not server.holds()
    feed(client, server.take())
    assert read(client) == b""
    assert isinstance(client.error, ssl.SSLError)


def test_nothing_can_be_sealed_after_an_error_and_it_is_known_what_was_not() -> None:
    _, server = pair()
    feed(server, b"GET / HTTP/1.1\r\n\r\n")
    read(server)
    assert flat(server.seal(b"x" * 100_000)) == b""
    assert server.unread(1) == 100_000


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="server_hostname"):
        TLS(client_context(), server_hostname="")


class Opaque:
    """An ssl.SSLObject that does not show what it passes on to, which no documentation promises."""

    def __init__(self, inner: ssl.SSLObject) -> None:
        self.do_handshake, self.unwrap = inner.do_handshake, inner.unwrap
        self.read, self.write = inner.read, inner.write
        self.selected_alpn_protocol = inner.selected_alpn_protocol

    @classmethod
    def _create(cls, *args: Any, **options: Any) -> Opaque:
        return cls(ssl.SSLObject._create(*args, **options))  # type: ignore[attr-defined]


def test_nothing_that_is_not_documented_is_needed() -> None:
    rules = ssl.create_default_context()
    rules.check_hostname = False
    rules.verify_mode = ssl.CERT_NONE
    rules.sslobject_class = Opaque  # type: ignore[assignment]
    client, server = pair(rules)
    feed(server, flat(client.seal(b"x" * 100_000)))
    assert read(server) == b"x" * 100_000
    feed(client, server.seal(b"hello"))
    assert read(client) == b"hello"
    end(client, server)
