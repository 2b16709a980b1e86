"""One scenario for each close code of the registry: what the client does, and what the server does.

A client's part returns the event that it saw; the stage notes the server's. Codes that a page must not send come from
connect(), which may send what the protocol allows.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from .. import CloseCode, CloseEvent, Deflate, WebSocket, connect
from .stage import MAX_MESSAGE_SIZE, BrokenProxy, Handler, Stage, another_server, dead_port, read_all

#: Frames that no WebSocket sends; masked with zeros (RFC 6455 section 5.2).
RESERVED_OPCODE = b"\x83\x80\0\0\0\0"
NOT_UTF8 = b"\x81\x82\0\0\0\0\xc3\x28"


class Scenario(NamedTuple):
    """What is done to make one close code travel."""

    code: CloseCode
    what: str
    client: Callable[[Stage], Awaitable[CloseEvent]]
    handler: Handler = read_all


async def wait(stage: Stage) -> CloseEvent:
    """The client that waits for what the server does."""
    async with connect(stage.url) as socket:
        return await socket.wait_closed()


async def finish(stage: Stage) -> CloseEvent:
    """1000."""
    async with connect(stage.url) as socket:
        return await socket.close(1000, "done")


async def leave_server(stage: Stage) -> CloseEvent:
    """1001."""
    async with another_server(stage) as (url, server), connect(url) as socket:
        await server.close()
        return await socket.wait_closed()


async def break_protocol(stage: Stage) -> CloseEvent:
    """1002."""
    async with BrokenProxy.before(stage) as (url, proxy), connect(url) as socket:
        proxy.inject(RESERVED_OPCODE)
        return await socket.wait_closed()


async def send_binary(stage: Stage) -> CloseEvent:
    """1003, the client."""
    async with connect(stage.url) as socket:
        await socket.send(b"\x00\x01")
        return await socket.wait_closed()


async def take_text_only(stage: Stage, socket: WebSocket) -> None:
    """1003, the server."""
    async for message in socket:
        if not isinstance(message, str):
            await socket.close(CloseCode.UNSUPPORTED_DATA, "text only")


async def close_without_code(stage: Stage) -> CloseEvent:
    """1005."""
    async with connect(stage.url) as socket:
        await socket.send("Hello Server!")
        return await socket.close()


async def terminate(stage: Stage) -> CloseEvent:
    """1006."""
    async with connect(stage.url) as socket:
        socket.terminate()
        return await socket.wait_closed()


async def send_broken_text(stage: Stage) -> CloseEvent:
    """1007."""
    async with BrokenProxy.before(stage) as (url, proxy), connect(url) as socket:
        proxy.inject(NOT_UTF8)
        return await socket.wait_closed()


async def forbid(stage: Stage, socket: WebSocket) -> None:
    """1008."""
    await socket.close(CloseCode.POLICY_VIOLATION, "log in first")


async def send_too_much(stage: Stage) -> CloseEvent:
    """1009."""
    async with connect(stage.url) as socket:
        await socket.send(b"\0" * (MAX_MESSAGE_SIZE + 1))
        return await socket.wait_closed()


async def need_extension(stage: Stage) -> CloseEvent:
    """1010."""
    async with (
        another_server(stage, compression=None) as (url, _),
        connect(url, compression=Deflate(required=True)) as socket,
    ):
        return await socket.wait_closed()


async def divide(stage: Stage, socket: WebSocket) -> None:
    """1011."""
    1 / 0  # noqa: B018 - the handler's mistake


async def restart_server(stage: Stage) -> CloseEvent:
    """1012."""
    async with another_server(stage) as (url, server), connect(url) as socket:
        await server.close(CloseCode.SERVICE_RESTART, "back in a minute")
        return await socket.wait_closed()


async def come_second(stage: Stage) -> CloseEvent:
    """1013, the clients."""
    async with connect(stage.url), connect(stage.url) as second:
        return await second.wait_closed()


async def take_one(stage: Stage, socket: WebSocket) -> None:
    """1013, the server."""
    if len(stage.present) > 1:
        await socket.close(CloseCode.TRY_AGAIN_LATER, "no place left")
    await read_all(stage, socket)


async def forward(stage: Stage, socket: WebSocket) -> None:
    """1014."""
    with dead_port() as port:
        try:
            async with connect(f"ws://127.0.0.1:{port}"):
                pass
        except OSError:
            await socket.close(CloseCode.BAD_GATEWAY, "the upstream server is down")


async def speak_tls(stage: Stage) -> CloseEvent:
    """1015."""
    socket = WebSocket(stage.url.replace("ws:", "wss:"))
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
