"""One scenario for each close code of the registry: a function for the client, and a handler for the server.

The client's function returns its close event; the Route records that of the server. Codes that the JavaScript API does
not allow are sent by sockets of connect(), which may send every code that the protocol allows.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from .. import CloseCode, CloseEvent, Deflate, WebSocket, connect
from .servers import MAX_MESSAGE_SIZE, BrokenProxy, Handler, Route, read_all, separate_server, unused_port

#: Invalid frames, with a masking key of zeros (RFC 6455 section 5.2).
RESERVED_OPCODE = b"\x83\x80\0\0\0\0"
NOT_UTF8 = b"\x81\x82\0\0\0\0\xc3\x28"


class Scenario(NamedTuple):
    """The way to produce one close code."""

    code: CloseCode
    description: str
    client: Callable[[Route], Awaitable[CloseEvent]]
    handler: Handler = read_all


async def wait(route: Route) -> CloseEvent:
    """Client: connect, and wait for the server to close."""
    async with connect(route.url) as socket:
        return await socket.wait_closed()


async def finish(route: Route) -> CloseEvent:
    """1000, client: close with a code and a reason."""
    async with connect(route.url) as socket:
        return await socket.close(1000, "done")


async def leave_server(route: Route) -> CloseEvent:
    """1001, client: the server shuts down."""
    async with separate_server(route) as (url, server), connect(url) as socket:
        await server.close()
        return await socket.wait_closed()


async def break_protocol(route: Route) -> CloseEvent:
    """1002, client: a proxy inserts a frame with a reserved opcode."""
    async with BrokenProxy(route) as proxy, connect(proxy.url) as socket:
        proxy.inject(RESERVED_OPCODE)
        return await socket.wait_closed()


async def send_binary(route: Route) -> CloseEvent:
    """1003, client: send a binary message."""
    async with connect(route.url) as socket:
        await socket.send(b"\x00\x01")
        return await socket.wait_closed()


async def take_text_only(route: Route, socket: WebSocket) -> None:
    """1003, server: accept text only."""
    async for message in socket:
        if not isinstance(message, str):
            await socket.close(CloseCode.UNSUPPORTED_DATA, "text only")


async def close_without_code(route: Route) -> CloseEvent:
    """1005, client: close without a code."""
    async with connect(route.url) as socket:
        await socket.send("Hello Server!")
        return await socket.close()


async def terminate(route: Route) -> CloseEvent:
    """1006, client: end TCP without a closing handshake."""
    async with connect(route.url) as socket:
        socket.terminate()
        return await socket.wait_closed()


async def send_broken_text(route: Route) -> CloseEvent:
    """1007, client: a proxy inserts a text frame that is not UTF-8."""
    async with BrokenProxy(route) as proxy, connect(proxy.url) as socket:
        proxy.inject(NOT_UTF8)
        return await socket.wait_closed()


async def forbid(route: Route, socket: WebSocket) -> None:
    """1008, server: refuse the client."""
    await socket.close(CloseCode.POLICY_VIOLATION, "log in first")


async def send_too_much(route: Route) -> CloseEvent:
    """1009, client: send a message that is too large."""
    async with connect(route.url) as socket:
        await socket.send(b"\0" * (MAX_MESSAGE_SIZE + 1))
        return await socket.wait_closed()


async def need_extension(route: Route) -> CloseEvent:
    """1010, client: require an extension that the server does not have."""
    async with (
        separate_server(route, compression=None) as (url, _),
        connect(url, compression=Deflate(required=True)) as socket,
    ):
        return await socket.wait_closed()


async def divide(route: Route, socket: WebSocket) -> None:
    """1011, server: raise an exception."""
    1 / 0  # noqa: B018 - the exception that the scenario needs


async def restart_server(route: Route) -> CloseEvent:
    """1012, client: the server restarts."""
    async with separate_server(route) as (url, server), connect(url) as socket:
        await server.close(CloseCode.SERVICE_RESTART, "back in a minute")
        return await socket.wait_closed()


async def come_second(route: Route) -> CloseEvent:
    """1013, client: connect twice."""
    async with connect(route.url), connect(route.url) as second:
        return await second.wait_closed()


async def take_one(route: Route, socket: WebSocket) -> None:
    """1013, server: accept one connection at a time."""
    if len(route.present) > 1:
        await socket.close(CloseCode.TRY_AGAIN_LATER, "no place left")
    await read_all(route, socket)


async def forward(route: Route, socket: WebSocket) -> None:
    """1014, server: fail to connect to an upstream server."""
    with unused_port() as port:
        try:
            async with connect(f"ws://127.0.0.1:{port}"):
                pass
        except OSError:
            await socket.close(CloseCode.BAD_GATEWAY, "the upstream server is down")


async def speak_tls(route: Route) -> CloseEvent:
    """1015, client: speak TLS to a server without TLS."""
    socket = WebSocket(route.url.replace("ws:", "wss:"))
    return await socket.wait_closed()


SCENARIOS = (
    Scenario(CloseCode.NORMAL_CLOSURE, 'the client calls close(1000, "done")', finish),
    Scenario(CloseCode.GOING_AWAY, "the server is closed: server.close()", leave_server),
    Scenario(CloseCode.PROTOCOL_ERROR, "a broken proxy adds a frame with a reserved opcode", break_protocol),
    Scenario(
        CloseCode.UNSUPPORTED_DATA, "the client sends bytes to a handler that takes text", send_binary, take_text_only
    ),
    Scenario(CloseCode.NO_STATUS_RCVD, "the client sends a message and calls close()", close_without_code),
    Scenario(CloseCode.ABNORMAL_CLOSURE, "the client calls terminate()", terminate),
    Scenario(
        CloseCode.INVALID_FRAME_PAYLOAD_DATA, "a broken proxy adds a text frame that is not UTF-8", send_broken_text
    ),
    Scenario(CloseCode.POLICY_VIOLATION, "the handler refuses a client that is not logged in", wait, forbid),
    Scenario(CloseCode.MESSAGE_TOO_BIG, "the client sends max_message_size + 1 bytes", send_too_much),
    Scenario(CloseCode.MANDATORY_EXTENSION, "the client requires compression, and does not get it", need_extension),
    Scenario(CloseCode.INTERNAL_ERROR, "the handler raises an exception", wait, divide),
    Scenario(CloseCode.SERVICE_RESTART, "the server is closed: server.close(1012, ...)", restart_server),
    Scenario(CloseCode.TRY_AGAIN_LATER, "the server has one place, and it is taken", come_second, take_one),
    Scenario(CloseCode.BAD_GATEWAY, "the handler's own connection, to a port that is shut, fails", wait, forward),
    Scenario(CloseCode.TLS_HANDSHAKE, "the client speaks TLS (wss:) to the plain port", speak_tls),
)
