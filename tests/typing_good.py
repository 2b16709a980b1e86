"""Code of programs that must pass mypy --strict and pyright, with the types that they infer."""

from __future__ import annotations

from typing import Any, assert_type

from wasclean import (
    CloseEvent,
    ErrorEvent,
    Event,
    MessageEvent,
    Request,
    ServerWebSocket,
    WebSocket,
    broadcast,
    connect,
    serve,
)


def on_open(event: Event) -> None:
    """Handle the open event."""


async def on_message(event: MessageEvent) -> None:
    """Take a message, in a coroutine function."""


def on_any(event: Event) -> None:
    """Take every event."""


class Handler:
    """A listener as an object."""

    def handleEvent(self, event: MessageEvent) -> None:
        """Take a message."""


def page() -> None:
    """Use a socket by its events."""
    socket = WebSocket("ws://localhost:8080", ["chat"], ping_interval=None, unix="/run/socket")
    socket.onopen = on_open
    socket.onopen = lambda event: socket.send(event.type)
    socket.onmessage = on_message
    socket.onmessage = lambda event: socket.send(event.data)
    socket.onerror = lambda event: print(event.error, event.message)
    socket.onclose = lambda event: print(event.code, event.cause, event.explain())
    socket.onclose = on_any
    socket.onclose = None
    socket.addEventListener("open", on_open)
    socket.addEventListener("message", on_message, once=True)
    socket.addEventListener("message", Handler())
    socket.addEventListener("error", on_any, {"capture": True})
    socket.addEventListener("close", lambda event: print(event.wasClean))
    socket.removeEventListener("close", on_any)
    socket.dispatchEvent(Event("mine"))
    assert_type(socket.request, Request | None)


async def stream() -> None:
    """Use a socket as a stream."""
    async with connect("ws://localhost:8080", headers=None) as socket:
        assert_type(socket, WebSocket)
        assert_type(await socket.recv(), str | bytes)
        async for message in socket:
            assert_type(message, str | bytes)
        assert_type(await socket.close(1000, "bye"), CloseEvent)
    assert_type(await connect("ws://localhost:8080"), WebSocket)


async def handler(socket: ServerWebSocket) -> None:
    """Handle a connection, whose request is there."""
    assert_type(socket.request, Request)
    await socket.send(socket.request.path)


def plain(socket: WebSocket) -> None:
    """Handle a connection by listeners, as any socket."""
    socket.onmessage = lambda event: socket.send(event.data)


async def server() -> None:
    """Serve, and broadcast."""
    async with serve(handler, "localhost", 0, max_queue=5) as running:
        for socket in running.connections:
            assert_type(socket.request, Request)
        assert_type(broadcast(running.connections, "hello"), list[ServerWebSocket])
    serve(plain)
    serve(lambda socket: print(socket.request.path))


def errors(event: ErrorEvent) -> Any:
    """Look at an error."""
    return event.error
