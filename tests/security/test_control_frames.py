"""Control frames, the write side and floods: rows 42 to 53 of the table of vulnerabilities."""

from __future__ import annotations

import asyncio
import socket as sockets
from contextlib import ExitStack, suppress
from time import process_time
from typing import Any

import pytest

from tests.endpoints import served
from tests.faults.invariants import Invariants
from tests.faults.patience import until
from tests.faults.programs import started
from tests.faults.stage import Place, everywhere, on_tcp, pair
from tests.protocol_pair import BINARY, CLOSE, PING, PONG, TEXT, close_payload, frame
from tests.security.asking import asking
from tests.security.rows import row, rows
from tests.security.victim import KIB, MIB, PROGRAM, Memory, both_roles, send_all, victim
from wasclean import connect
from wasclean.model.registry import Role


@pytest.mark.slow
@rows(
    "role, size, batches",
    (42, "40 MB of pings to a server, whose pongs are not read", "server", 125, 31),
    (43, "40 MB of pings to a client, whose pongs are not read", "client", 125, 32),
    (44, "a million empty pings to a client, whose pongs are not read", "client", 0, 100),
)
async def test_pongs_do_not_pile_up(role: str, size: int, batches: int) -> None:
    end = Role(role)
    async with victim(role, max_pings_per_second=None) as attacked:
        attacked.peer.socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4 * KIB)
        pings = frame(end, PING, b"x" * size) * 10_000
        assert await send_all(attacked.peer, pings, batches) == batches
        await attacked.peer.send(frame(end, PING, b"the last"))
        pongs = 0
        while (await attacked.peer.frame()).payload != b"the last":
            pongs += 1
        assert 0 < pongs < batches * 10_000 - 1
        assert attacked.memory.peak() < 4 * MIB


@row(46, "262 MB to a peer that reads nothing, by send() that is not awaited")
@on_tcp
async def test_what_waits_to_be_sent_has_a_limit(place: Place, invariants: Invariants) -> None:
    async with pair(place, invariants, events=True) as (socket, peer):
        most = 0
        for _ in range(262):
            socket.send(bytes(1_000_000))
            most = max(most, socket.bufferedAmount)
            await asyncio.sleep(0)
            if socket.readyState != socket.OPEN:
                break
        event = await socket.wait_closed()
        assert most < 17 * MIB + 1_000_000
        assert (event.code, event.cause) == (1006, "slow_consumer")
        assert isinstance(event.exception, BufferError)
        assert await peer.ended() == "rst"
        peer.close()
    assert invariants.events == ["error", "close"]


@row(46, "the same by send() that is awaited")
@on_tcp
async def test_an_awaited_send_keeps_nothing_back(place: Place, invariants: Invariants) -> None:
    async with pair(place, invariants, events=True) as (socket, peer):

        async def send() -> None:
            while True:
                await socket.send(bytes(100_000))

        sending = asyncio.ensure_future(send())
        most = 0
        for _ in range(200):
            await asyncio.sleep(0.001)
            most = max(most, socket.bufferedAmount)
        assert not sending.done()
        assert most < 200_000 + 64 * KIB
        sending.cancel()
        with suppress(asyncio.CancelledError):
            await sending
        socket.terminate(reset=True)
        await peer.ended()
        peer.close()


@row(47, "numbers and lists where bytes belong")
@on_tcp
@pytest.mark.parametrize("wrong", [5, 1 << 30, 1.5, None, [65]], ids=repr)
async def test_a_number_is_no_payload(place: Place, wrong: Any, invariants: Invariants) -> None:
    async with pair(place, invariants, events=True) as (socket, peer):
        with pytest.raises(TypeError):
            socket.ping(wrong)
        with pytest.raises(TypeError):
            socket.send(wrong)
        with pytest.raises(TypeError):
            socket.close(1000, wrong)
        assert socket.readyState == socket.OPEN
        closing = socket.close(1000, "nothing before")
        assert await peer.frame() == (CLOSE, close_payload(1000, "nothing before"), True)
        await peer.send_close(1000)
        peer.finish()
        await closing
        peer.close()


@pytest.mark.slow
@row(48, "a million unsolicited pongs")
@both_roles
async def test_unsolicited_pongs_leave_nothing(role: str) -> None:
    async with victim(role) as attacked:
        batch = frame(Role(role), PONG, b"what?") * 10_000
        await send_all(attacked.peer, batch, 20)
        before = attacked.memory.grown()
        assert await send_all(attacked.peer, batch, 80) == 80
        await attacked.peer.send(frame(Role(role), PING, b"?"))
        assert (await attacked.peer.frame()).payload == b"?"
        assert attacked.memory.grown() < before + 2 * MIB


@row(49, "a ping while a send is blocked")
@on_tcp
async def test_a_ping_while_a_send_is_blocked_causes_no_loop(place: Place, invariants: Invariants) -> None:
    async with pair(place, invariants, events=True) as (socket, peer):
        socket.send(bytes(14_000_000))
        await peer.send(frame(Role(place.role), PING, b"are you there?"))
        await asyncio.sleep(0.1)
        before = process_time()
        await asyncio.sleep(1)
        assert process_time() - before < 0.5  # of a second, all of which it would take
        while (seen := await peer.frame()).opcode != PONG:
            assert not seen.fin
        assert seen.payload == b"are you there?"
        socket.terminate(reset=True)
        await peer.ended()
        peer.close()


@row(50, "a pong for a ping whose waiter has been cancelled")
@on_tcp
async def test_a_pong_without_a_waiter_is_no_error(place: Place, invariants: Invariants) -> None:
    async with pair(place, invariants, events=True) as (socket, peer):

        async def ping() -> None:
            await socket.ping(b"ping")

        waiting = asyncio.ensure_future(ping())
        assert (await peer.frame()).payload == b"ping"
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting
        await peer.send(frame(Role(place.role), PONG, b"ping") * 2 + frame(Role(place.role), PING, b"?"))
        assert (await peer.frame()).payload == b"?"  # they have been read
        again = socket.ping(b"ping")
        assert (await peer.frame()).payload == b"ping"
        await peer.send(frame(Role(place.role), PONG, b"ping"))
        assert await again >= 0
        socket.terminate()
        await peer.ended()
        peer.close()


@row(51, "2,000 handshakes that are not finished, each of 1 KiB so far")
async def test_handshakes_that_are_not_finished_take_little_memory() -> None:
    half = asking("X: " + "y" * 900)[:-2]
    with started(PROGRAM, "server", 0, '{"max_handshakes": 3000}', "echo") as process, ExitStack() as stack:
        port = int(await process.line("port "))
        async with connect(f"ws://127.0.0.1:{port}/"):
            pass
        memory = Memory(process.pid)
        for _ in range(2000):
            client = stack.enter_context(sockets.create_connection(("127.0.0.1", port)))
            client.sendall(half)
        async with connect(f"ws://127.0.0.1:{port}/") as socket:
            await socket.send("among them")
            assert await socket.recv() == "among them"
        assert memory.peak() < 2000 * 12 * KIB


@row(51, "one handshake more than may be in progress")
async def test_no_more_handshakes_than_the_limit_are_in_progress() -> None:
    async with served(max_handshakes=2) as server:
        silent = [sockets.create_connection(("127.0.0.1", server.server.port)) for _ in range(5)]
        await until(lambda: len(server.server._handshakes) == 2, "the handshakes")
        async with connect(server.url):
            pass
        for client in silent:
            client.close()


@row(42, "more pings a second than may be, to either end")
@on_tcp
async def test_too_many_pings_a_second_are_1008(place: Place, invariants: Invariants) -> None:
    role = Role(place.role)
    async with pair(place, invariants) as (_, peer):
        await peer.send(frame(role, PING) * 1000)
        await peer.send(frame(role, PING, b"too many") * 2000)
        while (answer := await peer.frame()).opcode == PONG:
            pass
        assert answer.payload[:2] == close_payload(1008)


@row(52, "a client that says nothing, or a byte from time to time")
@pytest.mark.parametrize("dribbles", [False, True])
async def test_the_opening_handshake_has_an_absolute_end(dribbles: bool) -> None:
    async with served(open_timeout=0.5) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.server.port)

        async def dribble() -> None:
            for byte in asking("X: " + "y" * 5000):  # 100 s
                writer.write(bytes((byte,)))
                await asyncio.sleep(0.02)

        dribbling = asyncio.ensure_future(dribble()) if dribbles else None
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 408 ")
        if dribbling is not None:
            dribbling.cancel()
        writer.transport.abort()
        await until(lambda: not server.server._transports, "the end of TCP")


@everywhere
@rows(
    "make",
    (53, "a ping of 126 bytes", lambda role: frame(role, PING, bytes(126))),
    (53, "a pong of 64 KiB", lambda role: frame(role, PONG, bytes(64 * KIB))),
    (53, "a fragmented ping", lambda role: frame(role, PING, b"x", fin=False)),
    (53, "a ping with a reserved bit", lambda role: frame(role, PING, b"x", rsv=0x40)),
    (53, "a fragmented Close frame", lambda role: frame(role, CLOSE, close_payload(1000), fin=False)),
)
async def test_a_malformed_control_frame_is_answered_and_the_answer_arrives(
    place: Place, make: Any, invariants: Invariants
) -> None:
    role = Role(place.role)
    async with pair(place, invariants) as (socket, peer):
        await peer.send(make(role) + frame(role, BINARY, bytes(200 * KIB)) + frame(role, TEXT, b"more"))
        assert (await peer.frame()).payload[:2] == close_payload(1002)
        assert (await socket.wait_closed()).cause == "protocol_error"
        assert await peer.rest() == b""  # and no reset
        assert peer.notified or await peer.ended() == "fin"
        peer.close()
