"""The contextvars.Context in which the code of a program runs: that of its connection."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from typing import Any

import pytest

from tests.endpoints import opened, served, turn
from tests.process.test_background import run
from wasclean import CloseEvent, Event, Request, Response, WebSocket, connect
from wasclean.aio import poller
from wasclean.socket.websocket import session_of

who: ContextVar[Any] = ContextVar("who", default="nobody")


@pytest.fixture(autouse=True, params=["epoll", "transports"])
def transports(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Either kind of transport."""
    if request.param == "transports":
        monkeypatch.setattr(poller, "AVAILABLE", False)
    elif not poller.AVAILABLE:
        pytest.skip("there is no epoll on this system")


def being(name: Any, function: Callable[..., Any], *args: Any) -> Any:
    """Call a function in a context in which ``who`` has a value."""
    context = copy_context()
    context.run(who.set, name)
    return context.run(function, *args)


def noting(log: list[tuple[str, Any]]) -> Callable[[Event], None]:
    """A listener that notes who it is."""
    return lambda event: log.append((event.type, who.get()))


def listen(socket: WebSocket, log: list[tuple[str, Any]]) -> None:
    """Note who each listener is, functions and coroutine functions."""

    async def later(event: Event) -> None:
        await asyncio.sleep(0)
        log.append((f"{event.type}, later", who.get()))

    for name in ("open", "message", "error", "close"):
        socket.addEventListener(name, noting(log))
        socket.addEventListener(name, later)


async def test_a_clients_listeners_run_in_the_context_in_which_it_was_made() -> None:
    async with served() as server:
        logs: dict[str, list[tuple[str, Any]]] = {}
        for name in ("first", "second"):
            client = being(name, WebSocket, server.url)
            listen(client, logs.setdefault(name, []))
            peer = await server.sockets.get()
            await opened(client)
            peer.send("x")
            peer.close()
            await client.wait_closed()
            await turn()
    names = ("open", "message", "close")
    for name, log in logs.items():
        assert sorted(log) == sorted((event + when, name) for event in names for when in ("", ", later"))


async def test_a_client_that_cannot_connect_says_so_in_its_context(unused_tcp_port: int) -> None:
    log: list[tuple[str, Any]] = []
    client = being("me", WebSocket, f"ws://127.0.0.1:{unused_tcp_port}/")
    listen(client, log)
    await client.wait_closed()
    await turn()
    assert sorted(log) == sorted([("error", "me"), ("close", "me"), ("error, later", "me"), ("close, later", "me")])


async def test_the_listeners_of_a_stream_run_in_the_context_that_has_awaited_it() -> None:
    log: list[tuple[str, Any]] = []
    async with served() as server:

        async def read() -> None:
            who.set("reader")
            async with connect(server.url) as client:
                client.onclose = noting(log)
                (await server.sockets.get()).close()
                async for _ in client:
                    pass

        await asyncio.create_task(read())
    assert log == [("close", "reader")]


@pytest.mark.parametrize("hook_waits", [False, True])
@pytest.mark.parametrize("handler_waits", [False, True])
async def test_a_servers_connections_have_each_a_copy_of_the_context_of_serve(
    hook_waits: bool, handler_waits: bool
) -> None:
    numbers = iter(range(10))
    log: list[Any] = []

    def hook(request: Request) -> Any:
        log.append(("hook", who.get()))
        who.set(next(numbers))
        return wait() if hook_waits else None

    async def wait() -> Response | None:
        await asyncio.sleep(0)
        log.append(("hook, later", who.get()))
        return None

    def handle(socket: WebSocket) -> Any:
        log.append(("handler", who.get()))
        socket.onclose = noting(log)
        if handler_waits:
            return read(socket)
        socket.onmessage = noting(log)
        return None

    async def read(socket: WebSocket) -> None:
        async for _ in socket:
            log.append(("message", who.get()))
        log.append(("end", who.get()))

    who.set("server")
    async with served(handle, on_request=hook) as server:
        who.set("later")

        async def visit() -> None:
            who.set("client")
            async with connect(server.url) as client:
                await client.send("x")
                await client.drain()

        for _ in range(2):
            await asyncio.create_task(visit())
            await (await server.sockets.get()).wait_closed()
    expected: list[Any] = []
    for number in range(2):
        expected += [("hook", "server")] + [("hook, later", number)] * hook_waits
        expected += [("handler", number), ("message", number)]
        expected += [("close", number)] + [("end", number)] * handler_waits
    assert log == expected


async def test_what_a_handler_sets_is_known_to_the_log_of_its_end(caplog: pytest.LogCaptureFixture) -> None:
    class Filter(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            record.who = who.get()
            return True

    async def handle(socket: WebSocket) -> None:
        who.set("user 7")
        await socket.recv()
        raise LookupError

    tag = Filter()
    logger = logging.getLogger("wasclean.server")
    caplog.set_level(logging.DEBUG, logger.name)
    logger.addFilter(tag)
    try:
        async with served(handle) as server, connect(server.url) as client:
            await client.send("x")
            await client.wait_closed()
    finally:
        logger.removeFilter(tag)
    failed, ended = [record for record in caplog.records if record.name == logger.name][-2:]
    assert (failed.levelname, failed.__dict__["who"]) == ("ERROR", "user 7")
    assert (ended.getMessage().startswith("connection"), ended.__dict__["who"]) == (True, "user 7")


async def test_an_exception_handler_is_called_in_the_context_of_what_has_failed() -> None:
    def fail(event: Event) -> None:
        raise LookupError("at once")

    async def fail_later(event: Event) -> None:
        raise LookupError("later")

    seen: list[tuple[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: seen.append((str(context["exception"]), who.get())))
    async with served() as server:
        client = being("me", WebSocket, server.url)
        client.onopen = fail
        client.addEventListener("open", fail_later)
        await client.wait_opened()
        await turn()
    assert seen == [("at once", "me"), ("later", "me")]


async def test_a_dispatch_event_calls_listeners_in_the_context_of_its_caller() -> None:
    log: list[tuple[str, Any]] = []
    async with served() as server:
        client = being("me", WebSocket, server.url)
        listen(client, log)
        await client.wait_opened()
        await turn()
        log.clear()
        being("caller", client.dispatchEvent, Event("message"))
        await turn()
        assert log == [("message", "caller"), ("message, later", "caller")]


async def test_an_event_that_fires_while_its_context_is_entered_is_delivered_in_the_current_one() -> None:
    log: list[tuple[str, Any]] = []
    async with served() as server:
        client = being("me", WebSocket, server.url)
        await opened(client)
        client.addEventListener("ping", noting(log))
        session = session_of(client)
        assert session.context is not None
        assert session.inbox.listeners is not None
        session.context.run(session.inbox.listeners.fire, Event("ping"), client)
    assert log == [("ping", "me")]


class Database:
    """Something that is dear."""


def databases() -> int:
    """How many there are."""
    gc.collect()
    return sum(isinstance(thing, Database) for thing in gc.get_objects())


async def test_nothing_keeps_the_context_of_a_client_that_has_gone_while_others_stay() -> None:
    """Timers and readers are shared by a loop's connections, and it was the first to need them."""

    async def visit(url: str) -> CloseEvent:
        who.set(Database())
        client = await connect(url)
        stays.append(await asyncio.create_task(stay(url), context=Context()))
        return await client.close()

    async def stay(url: str) -> WebSocket:
        return await connect(url)

    stays: list[WebSocket] = []
    async with served() as server:
        event = await asyncio.create_task(visit(server.url))
        await (await server.sockets.get()).wait_closed()
        await turn()
        assert event.ok
        assert databases() == 0
        await stays[0].close()


async def test_the_reader_that_connections_share_keeps_no_context_of_the_first() -> None:
    if not poller.AVAILABLE:
        pytest.skip("the loop's transports share none")
    loop = asyncio.get_running_loop()
    joined = being(Database(), poller.join, loop)
    try:
        assert databases() == 0
    finally:
        joined.leave(loop)


async def test_a_handler_that_closes_the_server_does_not_lend_it_its_context() -> None:
    async def handle(socket: WebSocket) -> None:
        if await socket.recv() == "stay":
            await staying.wait()
        else:
            who.set(Database())
            server.server.close()

    staying = asyncio.Event()
    async with served(handle) as server, connect(server.url) as first, connect(server.url) as second:
        await first.send("stay")
        await first.drain()
        await second.send("close")
        await second.wait_closed()
        await turn()
        assert databases() == 0
        staying.set()


async def test_a_closed_socket_that_its_own_context_knows_is_freed_without_the_garbage_collector() -> None:
    async def handle(socket: WebSocket) -> None:
        who.set(socket)

    def sockets() -> int:
        return sum(isinstance(thing, WebSocket) for thing in gc.get_objects())

    async with served() as server:
        pass
    gc.collect()
    before = sockets()
    gc.disable()
    try:
        async with served(handle) as server:
            event = await (await connect(server.url)).wait_closed()
            server.sockets.get_nowait()
            await turn(5)
            del event
            assert sockets() == before
    finally:
        gc.enable()


async def test_tasks_of_a_factory_that_takes_no_context_run_in_a_copy() -> None:
    def factory(loop: asyncio.AbstractEventLoop, coroutine: Any) -> asyncio.Task[Any]:
        return asyncio.Task(coroutine, loop=loop)

    async def hook(request: Request) -> None:
        seen.append(who.get())

    async def handle(socket: WebSocket) -> None:
        seen.append(who.get())

    seen: list[Any] = []
    loop = asyncio.get_running_loop()
    if not isinstance(loop, asyncio.BaseEventLoop):
        pytest.skip("uvloop has no use for such a factory")
    who.set("server")
    async with served(handle, on_request=hook) as server:
        who.set("client")
        loop.set_task_factory(factory)
        try:
            await (await connect(server.url)).wait_closed()
        finally:
            loop.set_task_factory(None)
    assert seen == ["server", "server"]


SCRIPT = """
import sys, threading
from contextvars import ContextVar
from wasclean import WebSocket

who = ContextVar("who", default="nobody")

def make(name):
    who.set(name)
    socket = WebSocket(sys.argv[1])
    who.set("later")
    socket.onopen = lambda event: (print(name, who.get()), socket.close())

for name in "first", "second":
    thread = threading.Thread(target=make, args=(name,))
    thread.start()
    thread.join()
"""


async def test_a_scripts_listeners_run_in_the_context_of_the_thread_that_has_made_the_socket() -> None:
    async with served() as server:
        output, complaints, status = await run(SCRIPT, server.url)
    assert (sorted(output.splitlines()), complaints, status) == (["first first", "second second"], "", 0)
