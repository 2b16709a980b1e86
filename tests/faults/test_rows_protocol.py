"""Part 6 of the matrix: violations of the protocol, and limits."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import tracemalloc
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.certificates import client_context, server_context
from tests.endpoints import awaited, served, turn
from tests.faults.invariants import Invariants
from tests.faults.rows import Row, Sees, row
from tests.faults.stage import Place, all_of, everywhere, pair, we_end_tcp, we_fail
from tests.faults.tcp_peer import tcp_server
from tests.faults.tls_peer import TLSPeer, tls_server
from tests.raw import BINARY, CLOSE, PING, PONG, TEXT, accept, close_payload, encode
from wasclean import RemoteProtocolError, WebSocket, connect
from wasclean.aio.loopstate import LoopState

MIB = 1 << 20
CONTINUATION = 0
CONTROL = {"close": CLOSE, "ping": PING, "pong": PONG}

#: The cause that goes with a code of ours.
CAUSES = {1002: "protocol_error", 1007: "invalid_utf8", 1008: "policy", 1009: "message_too_big"}


class Header(NamedTuple):
    """A frame as encode() would not make it; without a mask the payload counts as masked with zeros."""

    first: int
    length: bytes  # the second byte, without its mask bit, and the extended length
    payload: bytes = b""

    def encode(self, masked: bool) -> bytes:
        second = bytes((self.length[0] | (0x80 if masked else 0),))
        return bytes((self.first,)) + second + self.length[1:] + bytes(4 if masked else 0) + self.payload


def malformed(masked: bool) -> dict[str, tuple[bytes, int]]:
    """Every kind of input that RFC 6455 forbids in its sections 5, 7.4 and 8.1, and the code that answers it.

    Args:
        masked: whether it comes from a client.
    """

    def frame(opcode: int, payload: bytes = b"", **options: Any) -> bytes:
        return encode(opcode, payload, masked=masked, **options)

    first = frame(TEXT, b"a part", fin=False)
    long = {"16": b"\x7e", "64": b"\x7f"}
    found = {
        # 5.1
        "masking": (encode(TEXT, b"x", masked=not masked), 1002),
        "masking of a close": (encode(CLOSE, close_payload(1000), masked=not masked), 1002),
        # 5.2
        **{f"rsv {bits:03b}": (frame(TEXT, b"x", rsv=bits), 1002) for bits in range(1, 8)},
        **{f"rsv of a {name}": (frame(opcode, b"", rsv=4), 1002) for name, opcode in CONTROL.items()},
        "rsv of a continuation": (first + frame(CONTINUATION, b"x", rsv=1), 1002),
        **{f"opcode {opcode:X}": (frame(opcode), 1002) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
        "length of 0 in 16 bits": (Header(0x82, long["16"] + bytes(2)).encode(masked), 1002),
        "length of 125 in 16 bits": (Header(0x82, long["16"] + b"\x00\x7d", bytes(125)).encode(masked), 1002),
        "length of 0 in 64 bits": (Header(0x82, long["64"] + bytes(8)).encode(masked), 1002),
        "length of 65535 in 64 bits": (
            Header(0x82, long["64"] + (65535).to_bytes(8, "big"), bytes(65535)).encode(masked),
            1002,
        ),
        "length of more than 63 bits": (Header(0x82, long["64"] + b"\x80" + bytes(7)).encode(masked), 1002),
        # 5.4
        "a continuation of nothing": (frame(CONTINUATION, b"x"), 1002),
        "a continuation of nothing, unfinished": (frame(CONTINUATION, b"x", fin=False), 1002),
        "a continuation of a finished message": (first + frame(CONTINUATION, b"x") + frame(CONTINUATION, b"y"), 1002),
        "a text in a message": (first + frame(TEXT, b"x"), 1002),
        "a binary in a message": (first + frame(BINARY, b"x", fin=False), 1002),
        # 5.5
        **{f"a fragmented {name}": (frame(opcode, b"", fin=False), 1002) for name, opcode in CONTROL.items()},
        **{
            f"a {name} of 126 bytes": (frame(opcode, b"\x03\xe8" + b"x" * 124), 1002)
            for name, opcode in CONTROL.items()
        },
        "a ping of 64 KiB": (frame(PING, bytes(1 << 16)), 1002),
        # 5.5.1 and 7.4
        "a close of one byte": (frame(CLOSE, b"\x03"), 1002),
        **{
            f"a close with {code}": (frame(CLOSE, close_payload(code)), 1002)
            for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
        },
        "a close with bytes": (frame(CLOSE, b"\x03\xe8\xff"), 1007),
        # 8.1
        "a byte that is not UTF-8": (frame(TEXT, b"x\xff"), 1007),
        "an overlong character": (frame(TEXT, b"\xc0\xaf"), 1007),
        "a surrogate": (frame(TEXT, b"\xed\xa0\x80"), 1007),
        "a character beyond Unicode": (frame(TEXT, b"\xf4\x90\x80\x80"), 1007),
        "half a character": (frame(TEXT, b"\xe2\x82"), 1007),
        "half a character in two fragments": (frame(TEXT, b"x", fin=False) + frame(CONTINUATION, b"\xe2\x82"), 1007),
        "a byte that is not UTF-8, in a fragment": (first + frame(CONTINUATION, b"\xff", fin=False), 1007),
    }
    return found


@row(
    "C82",
    "input that RFC 6455 forbids",
    Sees(1006, False, "local", None),
    peer="a Close frame with 1002, or with 1007 for invalid UTF-8, and a FIN; no reset while it sends up to 1 MiB more",
    delivered="the messages before",
)
@everywhere
@pytest.mark.parametrize("name", malformed(True))
async def test_input_that_is_forbidden(row: Row, place: Place, name: str, invariants: Invariants) -> None:
    data, code = malformed(place.role == "server")[name]
    good = encode(TEXT, b"good", masked=place.role == "server")
    async with pair(place, invariants) as (socket, peer):
        await peer.send(good + data + bytes(400_000))
        frame = await peer.frame()
        assert (frame.opcode, frame.payload[:2]) == (CLOSE, code.to_bytes(2, "big"))
        assert await peer.rest() == b""
        assert peer.notified if place.transport == "tls" else peer.ending == "fin"
        for _ in range(40):
            await peer.send(bytes(10_000))
            await asyncio.sleep(0)
        assert not was_reset(peer)
        received, event = await all_of(socket)
        row.check(event)
        assert (event.cause, event.received) == (CAUSES[code], None)
        assert event.sent == (code, frame.payload[2:].decode())
        assert isinstance(event.exception, RemoteProtocolError)
        assert event.exception.violation is event.outcome.violation
        finished = name == "a continuation of a finished message"
        assert received == (["good", "a partx"] if finished else ["good"])
        await we_end_tcp(peer)
    assert invariants.events == ["error", "close"]


@row(
    "C83",
    "the response to the opening handshake breaks the rules",
    Sees(1006, False, "local", "handshake_invalid"),
    peer="the end of TCP; no frame",
)
@pytest.mark.parametrize("transport", ["tcp", "tls"])
@pytest.mark.parametrize("answer", ["no HTTP", "frames", "another key", "an extension", "a subprotocol"])
async def test_an_answer_that_is_not_valid(row: Row, transport: str, answer: str, invariants: Invariants) -> None:
    async with tls_server() if transport == "tls" else tcp_server() as server:
        socket = WebSocket(server.url, **({"ssl": client_context()} if transport == "tls" else {}))  # type: ignore[arg-type]
        invariants.watch(socket)
        closed = asyncio.ensure_future(awaited(socket.wait_closed()))
        peer = await server.accept_tcp()
        await peer.shake_hands()
        request = await peer.read()
        answers = {
            "no HTTP": b"\x00\x01\x02\r\n\r\n",
            "frames": encode(TEXT, b"x") + encode(CLOSE, close_payload(1000)),
            "another key": accept(b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"),
            "an extension": accept(request, "Sec-WebSocket-Extensions: x-unasked"),
            "a subprotocol": accept(request, "Sec-WebSocket-Protocol: unasked"),
        }
        await peer.send(answers[answer])
        if answer == "frames":  # as long as no line has ended, more of it may come
            await peer.send(b"\r\n\r\n")
        row.check(await closed)
        await we_end_tcp(peer)
        del socket
    assert invariants.events == ["error", "close"]


@row(
    "C84",
    "forbidden input while a stream's queue is full and reading is paused",
    Sees(1006, False, "local", "protocol_error"),
    peer="a Close frame with 1002, and a FIN",
    delivered="the messages before",
    within="half a second; over TLS, when the stream is read again",
)
@everywhere
@pytest.mark.parametrize("reads", [True, False], ids=["read", "not read"])
async def test_forbidden_input_behind_a_full_queue(
    row: Row, place: Place, reads: bool, watch: None, invariants: Invariants
) -> None:
    masked = place.role == "server"
    texts = [f"{i}" for i in range(40)]
    frames = [encode(TEXT, text.encode(), masked=masked) for text in texts]
    async with pair(place, invariants, max_queue=4) as (socket, peer):
        await peer.send(b"".join(frames[:20]))
        await turn(20)  # the messages are not read, so our end pauses reading
        await peer.send(b"".join(frames[20:]) + encode(0x3, masked=masked))
        if not reads and place.transport == "tcp":
            await socket.wait_closed()
        received, event = await all_of(socket)
        row.check(event)
        assert received == texts
        assert (await peer.frame()).payload[:2] == b"\x03\xea"
        await we_end_tcp(peer)
    assert invariants.events == ["error", "close"]


#: The option, and what it allows.
LIMIT = 100_000


def too_big(way: str, masked: bool) -> bytes:
    """A message that is larger than LIMIT, or that says that it will be."""
    if way == "one frame":
        return encode(BINARY, bytes(LIMIT + 1), masked=masked)
    if way == "fragments":
        piece = bytes(LIMIT // 4)
        more = encode(CONTINUATION, piece, fin=False, masked=masked)
        return encode(BINARY, piece, fin=False, masked=masked) + more * 3 + encode(CONTINUATION, b"x", masked=masked)
    return Header(0x82, b"\x7f\x7f" + b"\xff" * 7).encode(masked)


@row(
    "C85",
    "a message larger than max_message_size: in one frame, in fragments, or only declared",
    Sees(1006, False, "local", "message_too_big"),
    peer="a Close frame with 1009, and a FIN",
    delivered="the messages before",
)
@everywhere
@pytest.mark.parametrize("way", ["one frame", "fragments", "announced"])
async def test_a_message_that_is_too_big(row: Row, place: Place, way: str, invariants: Invariants) -> None:
    masked = place.role == "server"
    good, bad = encode(BINARY, bytes(LIMIT), masked=masked), too_big(way, masked)
    async with pair(place, invariants, max_message_size=LIMIT) as (socket, peer):
        await peer.send(good)
        assert await socket.recv() == bytes(LIMIT)
        with growth() as grown:
            await peer.send(bad)
            await socket.wait_closed()
        if place.transport == "tcp":  # in TLS the peer makes copies, too
            assert grown[0] < (LIMIT if way == "fragments" else 0) + (128 << 10)
        row.check(await we_fail(socket, peer, 1009))
    assert invariants.events == ["error", "close"]


@row(
    "C86",
    "a message with more than max_fragments fragments of less than 16 bytes",
    Sees(1006, False, "local", "policy"),
    peer="a Close frame with 1008, and a FIN",
    delivered="the messages before",
)
@everywhere
@pytest.mark.parametrize("piece", [b"", b"x"], ids=["empty", "of a byte"])
async def test_a_message_with_too_many_fragments(row: Row, place: Place, piece: bytes, invariants: Invariants) -> None:
    masked = place.role == "server"
    first = encode(BINARY, piece, fin=False, masked=masked)
    more, last = (encode(CONTINUATION, piece, fin=fin, masked=masked) for fin in (False, True))
    async with pair(place, invariants, max_fragments=10) as (socket, peer):
        await peer.send(first + more * 8 + last)
        assert await socket.recv() == piece * 10
        await peer.send(first + more * 10)
        row.check(await we_fail(socket, peer, 1008))
    assert invariants.events == ["error", "close"]


@row(
    "C87",
    "60 MB of data after forbidden input",
    Sees(1006, False, "local", "protocol_error"),
    peer="a Close frame with 1002, and a reset after 1 MiB",
    within="at once; TCP is reset after 1 MiB or two seconds",
)
@everywhere
async def test_60_mb_of_garbage(row: Row, place: Place, invariants: Invariants) -> None:
    garbage = b"\xff" * MIB
    async with pair(place, invariants) as (socket, peer):
        await peer.send(encode(0x3, masked=place.role == "server"))
        row.check(await socket.wait_closed())
        assert (await peer.frame()).payload[:2] == b"\x03\xea"
        with growth() as grown:
            assert await flood(peer, garbage, 60) < 20  # the kernel takes some of it
        if place.transport == "tcp":
            assert grown[0] < 256 << 10
    assert invariants.events == ["error", "close"]


@row(
    "C88",
    "both ends detect an error of the other at the same time",
    Sees(1006, False, "local", "protocol_error"),
    peer="the same as this end: one Close frame with 1002, and the end of TCP",
)
@pytest.mark.parametrize("transport", ["tcp", "tls"])
async def test_both_ends_see_an_error(row: Row, transport: str, invariants: Invariants) -> None:
    tls = transport == "tls"
    async with served(**({"ssl": server_context()} if tls else {})) as ours:
        url = f"wss://localhost:{ours.server.port}/" if tls else ours.url
        client = await connect(url, **({"ssl": client_context()} if tls else {}))  # type: ignore[arg-type]
        server = await ours.sockets.get()
        for socket in (client, server):
            invariants.watch(socket)
        hosts: set[Any] = set(LoopState.of(asyncio.get_running_loop()).connections)
        for host in hosts:
            host.write(encode(0x3, masked=host not in ours.server._transports))
        for socket in (client, server):
            event = await socket.wait_closed()
            row.check(event)
            assert event.sent is not None
            assert event.sent.code == 1002
        del client, server, socket, hosts, host
    assert invariants.events == ["error", "close"]


def was_reset(peer: TLSPeer) -> bool:
    """True if the peer has received a RST, possibly after a FIN."""
    try:
        assert peer.socket.recv(1) == b""
    except BlockingIOError:
        pass
    except ConnectionError:
        return True
    return False


async def flood(peer: TLSPeer, data: bytes, times: int) -> int:
    """Send until that fails; returns how often it did not."""
    for i in range(times):
        try:
            await peer.send(data)
        except ConnectionError:
            return i
    return times


@contextlib.contextmanager
def growth() -> Iterator[list[int]]:
    """Measure by how much the memory that Python has grows at most; a list of the bytes."""
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    grown: list[int] = []
    try:
        yield grown
        grown.append(tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()


@row(
    "C89",
    "a message that is marked as compressed, and cannot be decompressed",
    Sees(1006, False, "local", "protocol_error"),
    peer="a Close frame with 1007, and a FIN",
    delivered="the messages before",
)
@everywhere
@pytest.mark.parametrize("broken", [b"\xff\xff\xff", b"\x00\x05\x00\x00\x00hello"], ids=["block", "length"])
async def test_a_deflate_stream_that_is_corrupt(row: Row, place: Place, broken: bytes, invariants: Invariants) -> None:
    hello = bytes.fromhex("f248cdc9c90700")  # RFC 7692 section 7.2.3.1
    async with pair(place, invariants, extension="permessage-deflate") as (socket, peer):
        await peer.send_frame(TEXT, hello, rsv=4)
        assert await socket.recv() == "Hello"
        await peer.send_frame(TEXT, broken, rsv=4)
        row.check(await we_fail(socket, peer, 1007))
    assert invariants.events == ["error", "close"]
