"""Lengths, integers and allocation: rows 1 to 15 of the table of vulnerabilities."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from tests.endpoints import Record, served
from tests.faults.invariants import Invariants
from tests.faults.stage import ON_TCP, Place, on_tcp, pair
from tests.protocol_pair import BINARY, CONTINUATION, TEXT, End, close_payload, frame
from tests.security.asking import answer_to, status
from tests.security.rows import row, rows
from tests.security.victim import MIB, both_roles, send_all, victim
from wasclean import connect
from wasclean.model.registry import Role
from wasclean.options import ClientOptions, LimitOptions

LARGEST = (1 << 63) - 1
UNLIMITED: dict[str, Any] = dict.fromkeys(
    (
        "max_message_size",
        "max_fragments",
        "max_pings_per_second",
        "max_messages_per_second",
        "max_bytes_per_second",
        "ping_interval",
        "ping_timeout",
        "write_timeout",
        "idle_timeout",
        "max_lifetime",
    )
)
SIGN = 1 << 63


def declares(length: int, opcode: int = BINARY) -> Callable[[Role], bytes]:
    """A header, for an end, that declares a length in 64 bits."""
    return lambda role: frame(role, opcode, declared=length, form=64)


def overflowing(role: Role) -> bytes:
    """A byte of a message that goes on with a length which makes a signed sum overflow."""
    return frame(role, BINARY, b"x", fin=False) + frame(role, CONTINUATION, bytes(70_000), declared=LARGEST)


@on_tcp
@rows(
    "make, code",
    (1, "two frames declare 2**63 - 1 bytes each", lambda role: 2 * declares(LARGEST)(role), 1009),
    (2, "a 64-bit length has its most significant bit set", declares(SIGN), 1002),
    (3, "a 64-bit length that no double can hold", declares(SIGN + 5), 1002),
    (5, "a byte, then a continuation of 2**63 - 1 bytes, then 70 kB", overflowing, 1009),
    (6, "a frame declares 2**64 - 4 bytes, which with its mask are 0", declares((1 << 64) - 4), 1002),
    (15, "a length of 5 in 16 bits", lambda role: frame(role, TEXT, b"hello", form=16), 1002),
    (15, "a length of 5 in 64 bits", lambda role: frame(role, TEXT, b"hello", form=64), 1002),
)
async def test_a_length_that_overflows_or_is_not_minimal_is_refused(
    place: Place, make: Callable[[Role], bytes], code: int, invariants: Invariants
) -> None:
    async with pair(place, invariants) as (socket, peer):
        await peer.send(make(Role(place.role)))
        assert (await peer.frame()).payload[:2] == close_payload(code)
        event = await socket.wait_closed()
        assert event.code == 1006
        assert event.sent is not None
        assert event.sent.code == code
        assert await peer.ended() == "fin"
        peer.close()


@row(4, "a length that overflows, from a client that has not been authorized; then another client connects")
async def test_a_server_lives_on_after_an_overflowing_length() -> None:
    async with victim("server", "echo") as attacked:
        await attacked.peer.send(declares(SIGN + 5)(Role.SERVER))
        assert (await attacked.peer.frame()).payload[:2] == close_payload(1002)
        async with connect(f"ws://127.0.0.1:{attacked.port}/") as socket:
            await socket.send("alive")
            assert await socket.recv() == "alive"


@row(7, "a header alone declares 100 GB")
@both_roles
async def test_a_declared_length_is_refused_by_the_header(role: str) -> None:
    async with victim(role) as attacked:
        await attacked.peer.send(declares(100_000_000_000)(Role(role)))
        assert (await attacked.peer.frame()).payload[:2] == close_payload(1009)
        assert attacked.memory.peak() < 4 * MIB


@row(7, "a header declares 100 GB to an end without a limit, and few bytes follow")
@both_roles
async def test_a_declared_length_allocates_nothing(role: str) -> None:
    async with victim(role, max_message_size=None) as attacked:
        await attacked.peer.send(declares(100_000_000_000)(Role(role)) + bytes(100_000))
        attacked.peer.finish()
        await attacked.peer.ended()
        assert attacked.memory.peak() < 4 * MIB


@both_roles
@rows(
    "length, opcode, code",
    (8, "60 MB of a frame that is never finished", 60_000_000, BINARY, 1009),
    (9, "an unknown opcode, and a payload of 512 MB", 512_000_000, 0x3, 1002),
)
async def test_a_frame_is_refused_by_its_header_and_its_payload_is_not_kept(
    role: str, length: int, opcode: int, code: int
) -> None:
    async with victim(role) as attacked:
        await attacked.peer.send(declares(length, opcode)(Role(role)))
        assert (await attacked.peer.frame()).payload[:2] == close_payload(code)  # before a byte of the payload was sent
        assert await send_all(attacked.peer, bytes(MIB), 60) < 60
        assert attacked.memory.peak() < 6 * MIB


@row(10, "requests of drafts of the protocol, in which a length had no limit")
@pytest.mark.parametrize("keys", [[], ["Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5", "Sec-WebSocket-Key2: 12998 5 Y3 1"]])
async def test_no_draft_of_the_protocol_is_spoken(keys: list[str]) -> None:
    head = ["GET / HTTP/1.1", "Host: localhost", "Upgrade: WebSocket", "Connection: Upgrade", *keys, "", ""]
    async with served() as server:
        answer = await answer_to(server, "\r\n".join(head).encode() + b"^n:ds[4U\x80" + b"\xff" * 1000)
        assert status(answer) == 426
        assert b"\r\nSec-WebSocket-Version: 13\r\n" in answer
        assert server.sockets.empty()


@row(11, "a message of 20 MB, all options at their defaults")
@on_tcp
async def test_there_is_a_limit_by_default(place: Place, invariants: Invariants) -> None:
    async with pair(place, invariants) as (socket, peer):
        await peer.send(declares(20_000_000)(Role(place.role)))
        assert (await peer.frame()).payload[:2] == close_payload(1009)
        assert (await socket.wait_closed()).cause == "message_too_big"
        peer.close()


@row(11, "limits that are given to each of the entry points")
@pytest.mark.parametrize(
    ("limit", "pieces", "code"),
    [
        ("max_message_size", [b"x" * 11], 1009),
        ("max_fragments", [b"x"] * 11, 1008),
        ("max_bytes_per_second", [b"x" * 11], 1008),
    ],
)
@pytest.mark.parametrize(
    ("place", "events"),
    [(ON_TCP[0], False), (ON_TCP[0], True), (ON_TCP[1], True)],
    ids=["connect", "WebSocket", "serve"],
)
async def test_every_entry_point_passes_its_limits_on(
    place: Place, events: bool, limit: str, pieces: list[bytes], code: int
) -> None:
    role = Role(place.role)
    options: dict[str, Any] = {limit: 10}
    async with pair(place, events=events, **options) as (_, peer):
        for i, piece in enumerate(pieces):
            await peer.send(frame(role, CONTINUATION if i else BINARY, piece, fin=i == len(pieces) - 1))
        assert (await peer.frame()).payload[:2] == close_payload(code)


@row(11, "the options of the entry points")
def test_every_limit_is_an_option_on_both_sides() -> None:
    assert LimitOptions.__annotations__.keys() <= ClientOptions.__annotations__.keys()
    assert UNLIMITED.keys() < LimitOptions.__annotations__.keys()


@row(12, "every limit that may be None is: 20 MB, 10,000 fragments and malformed input")
@on_tcp
async def test_without_limits_all_goes_on_as_with_them(place: Place, invariants: Invariants) -> None:
    role = Role(place.role)
    fragments = [frame(role, TEXT, fin=False), *[frame(role, CONTINUATION, b"x", fin=False)] * 10_000]
    async with pair(place, invariants, events=True, **UNLIMITED) as (socket, peer):
        record = Record(socket)
        await peer.send(frame(role, BINARY, bytes(20_000_000)))
        await peer.send(b"".join(fragments) + frame(role, CONTINUATION) + frame(role, TEXT, b"\xff"))
        assert (await peer.frame()).payload[:2] == close_payload(1007)
        await socket.wait_closed()
        assert [len(message) for message in record.messages] == [20_000_000, 10_000]
        record.events.clear()  # which refer to the socket
        peer.close()


@row(13, "random frames, many of them malformed or cut short")
@pytest.mark.parametrize("role", Role)
def test_any_input_is_read_within_the_limits_or_refused(role: Role) -> None:
    random = Random(13)
    refused = 0
    for _ in range(300):
        end = End(role, max_message_size=1000, max_fragments=10)
        for _ in range(20):
            payload = random.randbytes(random.choice([0, 1, 2, 125, 126, 1000, 70_000]))
            data = bytearray(frame(role, random.choice([0, 1, 2, 2, 3, 8, 9, 10]), payload, fin=random.random() < 0.7))
            if random.random() < 0.3:
                data[random.randrange(min(len(data), 12))] ^= 1 << random.randrange(8)
            end.feed(bytes(data[: random.randrange(len(data))] if random.random() < 0.1 else data))
        assert all(len(message) <= 4000 for message in end.messages())
        violation = end.connection.closing.violation
        if violation is not None:
            refused += 1
            assert violation.code in (1002, 1007, 1008, 1009)
    assert refused > 200
