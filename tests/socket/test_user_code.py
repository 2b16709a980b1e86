"""What is said of the user's code: of an exception in it, and of a step that takes long."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.endpoints import opened, served, turn
from wasclean import ConnectionClosed, Event, Request, SyntaxError, WebSocket, connect
from wasclean.opening.urls import parse_url
from wasclean.socket.user_code import from_user, says_end

NUMBER = 7


def end(number: int | None = NUMBER) -> ConnectionClosed:
    """The end of a connection."""
    error = ConnectionClosed()
    error.socket_id = number
    return error


@pytest.mark.parametrize(
    "error",
    [
        end(),
        end(None),
        ExceptionGroup("", [end(), end()]),
        ExceptionGroup("", [ExceptionGroup("", [end()]), end()]),
        BaseExceptionGroup("", [end(), asyncio.CancelledError()]),
    ],
)
def test_a_connection_closed_says_the_end_and_so_does_a_group_of_them(error: BaseException) -> None:
    assert says_end(error, NUMBER)


@pytest.mark.parametrize(
    "error",
    [
        ValueError(),
        asyncio.CancelledError(),
        end(NUMBER + 1),
        ExceptionGroup("", [end(), ValueError()]),
        ExceptionGroup("", [end(), ExceptionGroup("", [end(NUMBER + 1)])]),
        BaseExceptionGroup("", [asyncio.CancelledError()]),
        BaseExceptionGroup("", [end(), KeyboardInterrupt()]),
    ],
)
def test_nothing_else_does(error: BaseException) -> None:
    assert not says_end(error, NUMBER)


def test_an_exception_raised_from_an_end_is_an_error_of_its_own() -> None:
    error = ValueError()
    error.__cause__ = end()
    assert not says_end(error, NUMBER)


def test_an_exception_without_a_frame_of_the_user_keeps_its_traceback() -> None:
    with pytest.raises(SyntaxError) as caught:
        parse_url("ftp://localhost")
    assert caught.value.__traceback__ is not None
    ours = caught.value.__traceback__.tb_next
    assert ours is not None
    assert from_user(caught.value.with_traceback(ours)).__traceback__ is ours
    assert from_user(ValueError()).__traceback__ is None


# An end under a handler, or under a listener.


async def by_tasks(socket: WebSocket) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(by_recv(socket))
        group.create_task(asyncio.Event().wait())


async def by_recv(socket: WebSocket) -> None:
    while True:
        await socket.recv()


async def by_nested_groups(socket: WebSocket) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(by_tasks(socket))


@pytest.mark.parametrize("handler", [by_recv, by_tasks, by_nested_groups])
@pytest.mark.parametrize("code", [1000, 4000, None])
async def test_an_end_under_a_handler_is_no_error_of_its_own_also_in_groups(
    handler: Any, code: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(handler) as server, connect(server.url) as client:
        socket = await server.sockets.get()
        if code is None:
            client.terminate(reset=True)
        else:
            await client.close(code)
        event = await socket.wait_closed()
        await turn(10)
    assert event.sent is None or event.sent.code == code
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


async def fails_besides(socket: WebSocket) -> None:
    try:
        await socket.recv()
    except ConnectionClosed as error:
        raise ExceptionGroup("", [error, LookupError()]) from None


async def fails_because(socket: WebSocket) -> None:
    try:
        await socket.recv()
    except ConnectionClosed as error:
        raise LookupError from error


async def fails_of_another(socket: WebSocket) -> None:
    try:
        await socket.recv()
    except ConnectionClosed:
        raise end(socket.id + 1_000_000) from None


@pytest.mark.parametrize("handler", [fails_besides, fails_because, fails_of_another])
async def test_what_fails_besides_is_logged_with_the_address_of_the_peer_that_has_gone(
    handler: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(handler) as server:
        async with connect(server.url) as client:
            address = client.local_address
            client.terminate(reset=True)
        await (await server.sockets.get()).wait_closed()
        await turn(10)
    (record,) = (record for record in caplog.records if record.levelno == logging.ERROR)
    assert f", {address}, failed" in record.getMessage()


@contextmanager
def reports() -> Iterator[list[dict[str, Any]]]:
    """What the loop's exception handler is told."""
    told: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: told.append(context))
    yield told
    loop.set_exception_handler(None)


@pytest.mark.parametrize("in_group", [False, True])
async def test_an_end_under_a_listener_is_no_error_of_its_own(in_group: bool) -> None:
    async def wait(event: Event) -> None:
        if not in_group:
            await event.target.drain()
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(event.target.drain())

    with reports() as told:
        async with served() as server:
            client = WebSocket(server.url)
            client.onopen = wait
            await opened(client)
            (await server.sockets.get()).terminate(reset=True)
            await client.wait_closed()
            await turn(10)
    assert told == []


# Tracebacks.


def first_frame(error: BaseException | None) -> str:
    """The name of the function at which a traceback begins."""
    assert error is not None
    return traceback.extract_tb(error.__traceback__)[0].name


async def fails_at_once(socket: WebSocket) -> None:
    raise LookupError


async def fails_later(socket: WebSocket) -> None:
    await turn()
    raise LookupError


async def fails_after_a_message(socket: WebSocket) -> None:
    await socket.recv()
    raise LookupError


def fails_as_a_function(socket: WebSocket) -> None:
    raise LookupError


@pytest.mark.parametrize("handler", [fails_at_once, fails_later, fails_after_a_message, fails_as_a_function])
async def test_the_traceback_of_a_handler_begins_at_the_handler(handler: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with served(handler) as server, connect(server.url) as client:
        client.send("x")
        assert (await client.wait_closed()).code == 1011
    (record,) = (record for record in caplog.records if record.levelno == logging.ERROR)
    assert record.exc_info is not None
    assert first_frame(record.exc_info[1]) == ("handle" if handler is fails_as_a_function else handler.__name__)


@pytest.mark.parametrize("waits", [False, True])
async def test_the_traceback_of_a_hook_begins_at_the_hook(waits: bool, caplog: pytest.LogCaptureFixture) -> None:
    def hook(request: Request) -> None:
        raise LookupError

    async def later(request: Request) -> None:
        raise LookupError

    async with served(on_request=later if waits else hook) as server:
        with pytest.raises(Exception, match="500"):
            await connect(server.url)
    (record,) = (record for record in caplog.records if record.levelno == logging.ERROR)
    assert record.exc_info is not None
    assert first_frame(record.exc_info[1]) == ("later" if waits else "hook")


async def test_the_traceback_of_a_listener_begins_at_the_listener() -> None:
    def fail(event: Event) -> None:
        raise LookupError

    async def fail_later(event: Event) -> None:
        await turn()
        raise LookupError

    with reports() as told:
        async with served() as server:
            client = WebSocket(server.url)
            client.onopen = fail
            client.addEventListener("open", fail_later)
            await opened(client)
            await turn(10)
    assert [first_frame(context["exception"]) for context in told] == ["fail", "fail_later"]


# Debug mode.


@contextmanager
def debugging() -> Iterator[None]:
    """Let every callback be a slow one."""
    loop = asyncio.get_running_loop()
    before = loop.slow_callback_duration
    loop.set_debug(True)
    loop.slow_callback_duration = 0
    try:
        yield
    finally:
        loop.slow_callback_duration = before
        loop.set_debug(False)


def slow(caplog: pytest.LogCaptureFixture, *parts: str) -> bool:
    """Whether it was said that this was slow."""
    lines = [record.getMessage() for record in caplog.records if record.name == "asyncio"]
    return any(line.startswith("Executing ") and all(part in line for part in parts) for line in lines)


async def test_in_debug_mode_a_slow_step_is_named_with_its_connection(caplog: pytest.LogCaptureFixture) -> None:
    def hook(request: Request) -> None:
        pass

    async def slow_handler(socket: WebSocket) -> None:
        async for message in socket:
            socket.send(message)

    def slow_listener(event: Event) -> None:
        event.target.close()

    with debugging():
        async with served(slow_handler, on_request=hook) as server:
            client = WebSocket(server.url)
            client.onmessage = slow_listener
            await opened(client)
            client.send("x")
            await client.wait_closed()
            socket = await server.sockets.get()
            address = socket.remote_address
    assert slow(caplog, "on_request <function", "hook", str(address))
    assert slow(caplog, "handler <function", f"for connection {socket.id} from {address} took")
    assert slow(caplog, "<Task pending", "slow_handler() ", f"for connection {socket.id} took")
    assert slow(caplog, "message listener <function", "slow_listener", f"for connection {client.id} took")


async def test_in_debug_mode_the_step_of_a_client_that_reads_is_named(caplog: pytest.LogCaptureFixture) -> None:
    async def read(client: WebSocket) -> None:
        await client.recv()

    with debugging():
        async with served() as server, connect(server.url) as client:
            task = asyncio.create_task(read(client), name="slow reader")
            await turn()
            (await server.sockets.get()).send("x")
            await task
    assert slow(caplog, "slow reader", f"for connection {client.id} took")


async def test_without_debug_mode_nothing_is_measured(caplog: pytest.LogCaptureFixture) -> None:
    asyncio.get_running_loop().slow_callback_duration = 0
    async with served(by_recv) as server, connect(server.url) as client:
        client.send("x")
    assert not slow(caplog)
