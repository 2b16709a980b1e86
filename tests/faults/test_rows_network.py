"""Part 5 of the matrix, continued: failures of a cable, a proxy, a load balancer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop

from tests.endpoints import echo, served
from tests.faults.gateways import Start, nginx
from tests.faults.invariants import Invariants
from tests.faults.namespace import Namespace
from tests.faults.proxy import FaultProxy, fault_proxy
from tests.faults.rows import Row, Sees, row
from tests.faults.stage import Place, closed_error, end_tcp, everywhere, pair
from tests.raw import CLOSE, encode
from wasclean import CloseEvent, WebSocket, connect, serve
from wasclean.closing.explain import explain

MIB = 1 << 20

#: Keepalive in a hurry.
PINGS: dict[str, Any] = {"ping_interval": 0.05, "ping_timeout": 0.4}
NO_PINGS: dict[str, Any] = {"ping_interval": None}


@asynccontextmanager
async def across(
    namespace: Namespace, invariants: Invariants, **options: Any
) -> AsyncIterator[tuple[WebSocket, WebSocket]]:
    """A client of ours and its server, which is inside; both have the options."""
    arrived: asyncio.Queue[WebSocket] = asyncio.Queue()

    async def handle(socket: WebSocket) -> None:
        arrived.put_nowait(socket)
        await socket.wait_closed()

    with namespace.entered():
        server = await serve(handle, namespace.address, 0, **options)
    async with server:
        client = await connect(f"ws://{namespace.address}:{server.port}/", **options)
        sockets = client, await arrived.get()
        for socket in sockets:
            invariants.watch(socket)
        yield sockets


@row(
    "C68",
    "all packets are lost, and neither end sends",
    Sees(1006, False, "local", "ping_timeout"),
    peer="the same as this end; our reset, if packets pass again",
    within="ping_interval and ping_timeout",
)
@pytest.mark.peer
async def test_every_packet_vanishes(row: Row, namespace: Namespace, invariants: Invariants) -> None:
    async with across(namespace, invariants, **PINGS) as sockets:
        reading = [asyncio.ensure_future(closed_error(socket.recv())) for socket in sockets]
        asking = [asyncio.ensure_future(closed_error(socket.drain())) for socket in sockets]
        namespace.down()
        for i in range(2):
            event = await sockets[i].wait_closed()
            row.check(event)
            assert event.sent is None
            assert await reading[i] is await asking[i] is event
        del sockets, reading, asking
    assert invariants.events == ["close"]


@row(
    "C69",
    "all packets are lost while we send",
    Sees(1006, False, "local", None),
    peer="the same as this end",
    delivered="nothing: unsent has the messages that did not leave the process, and unflushed_bytes counts those "
    "in the kernel",
    within="ping_interval and ping_timeout; write_timeout if the kernel accepts nothing more",
)
@pytest.mark.peer
@pytest.mark.parametrize("size", [1000, 4 * MIB])
async def test_every_packet_vanishes_while_we_send(
    row: Row, namespace: Namespace, size: int, invariants: Invariants
) -> None:
    limits = PINGS if size == 1000 else {"write_timeout": 0.15}
    async with across(namespace, invariants, compression=None, **limits) as sockets:
        namespace.down()
        waiting = []
        for socket in sockets:
            socket.send(bytes(size))
            waiting.append(asyncio.ensure_future(closed_error(socket.drain())))
        for i in range(2):
            event = await sockets[i].wait_closed()
            row.check(event)
            assert await waiting[i] is event
            if size == 1000:
                assert (event.cause, event.unsent) == ("ping_timeout", ())
                assert event.unflushed_bytes > size
            else:
                assert (event.cause, event.unsent) == ("write_timeout", (bytes(size),))
                assert 0 < event.unflushed_bytes < size
        del sockets, socket, waiting
    assert invariants.events == ["close"]


@row(
    "C70",
    "all packets are lost while the connection closes",
    Sees(1006, False, "local", "close_timeout"),
    peer="a ping_timeout",
    within="close_timeout",
)
@pytest.mark.peer
async def test_every_packet_vanishes_while_we_close(row: Row, namespace: Namespace, invariants: Invariants) -> None:
    loop = asyncio.get_running_loop()
    async with across(namespace, invariants, **PINGS) as (client, server):
        namespace.down()
        start = loop.time()
        event = await client.close(1000, timeout=0.1)
        assert loop.time() - start > 0.08
        row.check(event)
        assert event.sent == (1000, "")  # it has left the process
        assert event.unflushed_bytes == 8
        assert (await server.wait_closed()).cause == "ping_timeout"
        del client, server
    assert invariants.events == ["close"]


@asynccontextmanager
async def behind(
    gateway: Start, silence: float, invariants: Invariants, **options: Any
) -> AsyncIterator[tuple[WebSocket, WebSocket]]:
    """A client of ours and its server with a gateway between them; both have the options."""
    async with served(echo, **options) as ours:
        with gateway(ours.server.port, silence=silence) as front:
            client = await connect(f"ws://127.0.0.1:{front.port}/", **options)
            sockets = client, await ours.sockets.get()
            for socket in sockets:
                invariants.watch(socket)
            yield sockets


idle = row(
    "C78",
    "a proxy such as nginx or HAProxy ends an idle connection",
    Sees(1006, False, "remote", None),
    peer="the same as this end: tcp_fin, but tcp_reset for a server behind HAProxy",
    delivered="does not happen if ping_interval is below the proxy's limit",
    within="the proxy's limit; explain() guesses which proxy it may have been",
)


@idle
@pytest.mark.peer
async def test_a_gateway_ends_a_silent_connection(row: Row, gateway: Start, invariants: Invariants) -> None:
    async with behind(gateway, 0.2, invariants, **NO_PINGS) as sockets:
        for socket in sockets:
            event = await socket.wait_closed()
            row.check(event)
            # HAProxy resets what leads to the server.
            resets = gateway is not nginx and socket is sockets[1]
            assert event.cause == ("tcp_reset" if resets else "tcp_fin")
            if gateway is nginx:
                assert "nginx's proxy_read_timeout" in _explained(event, 60.1)
            else:
                assert "HAProxy's timeout client" in _explained(event, 50.1)
        del sockets, socket
    assert invariants.events == ["close"]


@idle
@pytest.mark.peer
async def test_pings_keep_a_gateway_from_that(row: Row, gateway: Start, invariants: Invariants) -> None:
    # nginx does not mind 0.3 s: so long it lets its timers be, whatever passes.
    async with behind(gateway, 1.0, invariants, ping_interval=0.05) as (client, server):
        await asyncio.sleep(1.6)
        await client.send("still there?")
        assert await client.recv() == "still there?"
        assert (await client.close(1000)).ok
        assert (await server.wait_closed()).ok
        del client, server
    assert invariants.events == ["close"]


@asynccontextmanager
async def balanced(invariants: Invariants) -> AsyncIterator[tuple[FaultProxy, WebSocket, WebSocket]]:
    """A load balancer, and our two ends behind it; the server echoes."""
    async with served(echo, **PINGS) as ours, fault_proxy(ours.server.port) as proxy:
        client = await connect(f"ws://127.0.0.1:{proxy.port}/", **PINGS)
        server = await ours.sockets.get()
        for socket in (client, server):
            invariants.watch(socket)
        yield proxy, client, server


@row(
    "C79",
    "a load balancer drops all packets silently",
    Sees(1006, False, "local", "ping_timeout"),
    peer="the same as this end",
    within="ping_interval and ping_timeout",
)
async def test_a_load_balancer_swallows_everything(row: Row, invariants: Invariants) -> None:
    async with balanced(invariants) as (proxy, client, server):
        proxy.drop()
        await client.send("into the void")
        for socket in (client, server):
            row.check(await socket.wait_closed())
        del client, server, socket
    assert invariants.events == ["close"]


@row(
    "C80",
    "a load balancer ends one side with a FIN, and accepts data from the other",
    Sees(1006, False, None, None),
    peer="tcp_fin at once for the side that gets the FIN, ping_timeout for the other",
    within="ping_interval and ping_timeout",
)
@pytest.mark.parametrize("side", ["client", "server"])
async def test_a_load_balancer_ends_one_side(row: Row, side: str, invariants: Invariants) -> None:
    async with balanced(invariants) as (proxy, client, server):
        first, second = (client, server) if side == "client" else (server, client)
        proxy.drop("up" if side == "client" else "down")
        proxy.cut("down" if side == "client" else "up")
        for socket, initiator, cause in ((first, "remote", "tcp_fin"), (second, "local", "ping_timeout")):
            event = await socket.wait_closed()
            row.check(event)
            assert (event.initiator, event.cause) == (initiator, cause)
        del client, server, first, second, socket
    assert invariants.events == ["close"]


@pytest.mark.peer
@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@everywhere
@pytest.mark.parametrize("way", ["we close", "the peer closes", "we fail the connection"])
def test_no_reset_leaves_us_while_the_peer_still_sends(
    way: str, place: Place, loop: Callable[[], asyncio.AbstractEventLoop], namespace: Namespace
) -> None:
    """RFC 6455 section 7.1.1: "the server SHOULD close the underlying TCP connection first", and with a half-close."""
    masked = place.role == "server"
    more = encode(0x2, bytes(400_000), masked=masked)

    async def play() -> None:
        async with pair(place) as (socket, peer):
            closing: Awaitable[CloseEvent]
            if way == "we close":
                closing = socket.close(4000)
                await peer.send(more)
                await peer.send_close(4000)
            elif way == "the peer closes":
                closing = socket.wait_closed()
                await peer.send_close(4000)
            else:
                closing = socket.wait_closed()
                await peer.send(encode(0x3, masked=masked))
            await peer.send(more)
            assert (await peer.frame()).opcode == CLOSE
            await peer.send(more)
            await end_tcp(place, peer)
            assert (await closing).wasClean is (way != "we fail the connection")

    with namespace.entered(), asyncio.Runner(loop_factory=loop) as runner:
        runner.run(play())
    assert namespace.resets_sent() == 0


def _explained(event: CloseEvent, silence: float) -> str:
    """Return the explanation for a longer silence, because explain() knows only the default limits of the proxies."""
    stats = event.stats._replace(age=silence + 0.2, last_received=silence, last_sent=silence)
    return " ".join(explain(event.outcome._replace(stats=stats)).split())
