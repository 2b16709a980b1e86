"""What a socket's calls return to be awaited."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import pickle
from collections.abc import AsyncIterator
from socket import create_server
from threading import Thread
from typing import Any

import pytest

from tests.conftest import uvloop
from tests.endpoints import awaited, echo, served, turn
from tests.faults.patience import PATIENCE
from wasclean import ConnectionClosed, Event, HandshakeError, InvalidStateError, MessageEvent, WebSocket, connect, serve
from wasclean.socket.awaitables import ROOM, Promise
from wasclean.socket.eager_tasks import EagerFuture


class Wait:
    """An awaitable that gives a task the waiter to wait for."""

    def __init__(self) -> None:
        self.waiter = EagerFuture(asyncio.get_running_loop())

    def __await__(self) -> Any:
        yield self.waiter
        return self.waiter.result()


# EagerFuture.


async def test_a_waiter_is_not_done_until_it_is_woken() -> None:
    waiter = EagerFuture(asyncio.get_running_loop())
    assert waiter.get_loop() is asyncio.get_running_loop()
    assert not waiter.done()
    for ask in (waiter.result, waiter.exception):
        with pytest.raises(asyncio.InvalidStateError):
            ask()
    waiter.wake()
    assert waiter.done()
    assert not waiter.cancelled()
    assert waiter.result() is None  # type: ignore[func-returns-value]
    assert waiter.exception() is None  # type: ignore[func-returns-value]


async def test_no_task_runs_so_the_waiting_one_goes_on_from_within_wake() -> None:
    wait = Wait()
    order: list[str] = []

    async def waiting() -> None:
        await wait
        order.append("task")

    task = asyncio.create_task(waiting())
    await turn()
    done = asyncio.Event()

    def callback() -> None:
        wait.waiter.wake()
        order.append("callback")
        done.set()

    asyncio.get_running_loop().call_soon(callback)
    await done.wait()
    assert order == ["task", "callback"]
    await task


async def test_a_task_runs_so_the_waiting_one_goes_on_after_it() -> None:
    wait = Wait()
    order: list[str] = []

    async def waiting() -> None:
        await wait
        assert asyncio.current_task() is task
        order.append("task")

    task = asyncio.create_task(waiting())
    await turn()
    wait.waiter.wake()
    order.append("waker")
    await task
    assert order == ["waker", "task"]


async def test_who_waits_for_what_was_woken_before_goes_on() -> None:
    wait = Wait()
    wait.waiter.wake()
    wait.waiter.wake()
    assert await asyncio.wait_for(awaited(wait), PATIENCE) is None


async def test_the_task_goes_on_in_its_own_context() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="")
    wait = Wait()

    async def waiting() -> str:
        variable.set("the task's")
        await wait
        return variable.get()

    task = asyncio.create_task(waiting())
    await turn()
    variable.set("another")
    asyncio.get_running_loop().call_soon(wait.waiter.wake)
    assert await task == "the task's"


@pytest.mark.parametrize("message", [None, "why"])
async def test_cancelling_a_task_cancels_its_waiter_and_a_late_wake_does_nothing(message: str | None) -> None:
    wait = Wait()
    task = asyncio.create_task(awaited(wait))
    await turn()
    task.cancel(message)
    assert wait.waiter.done()
    assert wait.waiter.cancelled()
    wait.waiter.wake()
    with pytest.raises(asyncio.CancelledError) as error:
        await task
    assert error.value.args == (() if message is None else (message,))
    assert not wait.waiter.cancel()


async def test_a_task_that_is_cancelled_after_the_wake_is_cancelled() -> None:
    wait = Wait()
    task = asyncio.create_task(awaited(wait))
    await turn()
    wait.waiter.wake()  # the task will go on in the next turn
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not wait.waiter.cancelled()


async def test_a_cancelled_task_may_wait_again() -> None:
    waits = [Wait(), Wait()]

    async def waiting() -> str:
        try:
            await waits[0]
        except asyncio.CancelledError:
            await waits[1]
        return "done"

    task = asyncio.create_task(waiting())
    await turn()
    task.cancel()
    await turn()
    waits[1].waiter.wake()
    assert await task == "done"


async def test_callbacks_can_be_taken_back() -> None:
    loop = asyncio.get_running_loop()
    called: list[EagerFuture] = []
    waiter = EagerFuture(loop)
    waiter.add_done_callback(called.append)
    assert waiter.remove_done_callback(print) == 0
    assert waiter.remove_done_callback(called.append) == 1
    assert waiter.remove_done_callback(called.append) == 0
    waiter.wake()
    await turn()
    assert called == []
    waiter.add_done_callback(called.append)
    await turn()
    assert called == [waiter]


# recv(), which waits for one.


@pytest.fixture
async def pair() -> AsyncIterator[tuple[WebSocket, WebSocket]]:
    """Two ends of a connection, both streams."""
    done = asyncio.Event()

    async def handler(socket: WebSocket) -> None:
        await done.wait()

    async with served(handler) as server, connect(server.url) as client:
        yield client, await server.sockets.get()
        done.set()


Pair = tuple[WebSocket, WebSocket]


async def test_a_recv_that_times_out_loses_nothing(pair: Pair) -> None:
    client, server = pair
    for i in range(20):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.recv(), 0.001)
        server.send(str(i))
        assert await asyncio.wait_for(client.recv(), PATIENCE) == str(i)


async def test_recv_cancelled_while_messages_arrive_loses_none_and_doubles_none(pair: Pair) -> None:
    client, server = pair
    received: list[Any] = []

    async def receive() -> None:
        received.append(await client.recv())

    for i in range(200):
        server.send(str(i))
    server.send("end")
    turns = 0
    while received[-1:] != ["end"]:
        task = asyncio.create_task(receive())
        await turn(turns % 5)
        turns += 1
        task.cancel()
        await asyncio.wait([task])
        assert turns < 100_000
    assert received == [*map(str, range(200)), "end"]


async def test_recv_in_wait_for_gather_and_shield(pair: Pair) -> None:
    client, server = pair
    first = asyncio.gather(client.recv(), server.recv())
    await turn()
    server.send("to the client")
    client.send(b"to the server")
    assert [*await first] == ["to the client", b"to the server"]

    task = asyncio.ensure_future(client.recv())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(task), 0.01)
    assert not task.done()
    server.send("later")
    assert await task == "later"

    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(awaited(client.recv()))
        server.send("in a group")
    assert waiting.result() == "in a group"

    async with asyncio.timeout(PATIENCE):
        server.send("with a timeout")
        assert await client.recv() == "with a timeout"


async def test_recv_in_asyncio_wait(pair: Pair) -> None:
    client, server = pair
    tasks = {asyncio.ensure_future(client.recv()), asyncio.ensure_future(server.recv())}
    server.send("x")
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    assert [task.result() for task in done] == ["x"]
    for task in pending:
        task.cancel()
    await asyncio.wait(pending)
    client.send("y")
    assert await server.recv() == "y"


async def test_a_recv_that_waits_ends_with_the_connection(pair: Pair) -> None:
    client, server = pair
    task = asyncio.ensure_future(client.recv())
    await turn()
    server.close(3000, "over")
    with pytest.raises(ConnectionClosed) as error:
        await task
    assert error.value.event is not None
    assert (error.value.event.code, error.value.event.reason) == (3000, "over")


async def test_a_recv_of_another_kind_of_awaitable_may_be_made_and_forgotten(pair: Pair) -> None:
    client, server = pair
    _ = client.recv()  # no "was never awaited"
    server.send("x")
    assert await client.recv() == "x"


# Promise.


async def test_an_outcome_is_awaited_before_and_after_as_often_as_one_likes() -> None:
    outcome = Promise()
    waiting = [asyncio.create_task(awaited(outcome)) for _ in range(3)]
    await turn()
    assert not any(task.done() for task in waiting)
    outcome.succeed(5)
    assert await asyncio.gather(*waiting) == [5, 5, 5]
    assert await outcome == 5
    assert await outcome == 5


async def test_only_the_first_outcome_counts() -> None:
    outcome = Promise()
    outcome.succeed(1)
    outcome.succeed(2)
    outcome.fail(ValueError)
    assert await outcome == 1
    outcome = Promise()
    outcome.fail(ValueError)
    outcome.succeed(1)
    with pytest.raises(ValueError):  # noqa: PT011 - it has no message
        await outcome


async def test_a_value_is_made_when_somebody_awaits_it() -> None:
    made: list[int] = []

    def make() -> list[int]:
        made.append(len(made))
        return made

    outcome = Promise()
    outcome.succeed_with(make)
    outcome.succeed(5)
    assert made == []
    assert await outcome is made
    assert made == [0]


async def test_each_await_raises_an_exception_of_its_own() -> None:
    outcome = Promise()
    waiting = [asyncio.create_task(awaited(outcome)) for _ in range(2)]
    await turn()
    outcome.fail(lambda: ValueError("why"))
    errors = [*await asyncio.gather(*waiting, return_exceptions=True)]
    with pytest.raises(ValueError, match="why") as error:
        await outcome
    errors.append(error.value)
    assert len({id(error) for error in errors}) == 3
    assert {str(error) for error in errors} == {"why"}


async def test_who_is_cancelled_does_not_disturb_the_others() -> None:
    outcome = Promise()
    first, second = (asyncio.create_task(awaited(outcome)) for _ in range(2))
    await turn()
    first.cancel()
    await turn()
    assert first.cancelled()
    outcome.succeed("x")
    assert await second == "x"
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(awaited(Promise()), 0.001)


async def test_an_outcome_that_nobody_awaits_warns_of_nothing() -> None:
    Promise()
    Promise().succeed(1)
    Promise().fail(ValueError)
    await turn()


async def test_awaiting_room_does_nothing() -> None:
    async def go() -> None:
        for _ in range(3):
            assert await awaited(ROOM) is None

    coroutine = go()
    with pytest.raises(StopIteration):
        coroutine.send(None)


# What the calls return counts as a coroutine.

CALLS: dict[str, Any] = {
    "send": lambda socket: socket.send("x"),
    "send much": lambda socket: socket.send(bytes(100_000)),
    "ping": lambda socket: socket.ping(),
    "close": lambda socket: socket.close(1000),
    "recv": lambda socket: socket.recv(),
}


async def in_a_group(coroutine: Any) -> Any:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(coroutine)
    return task.result()


async def with_a_timeout(coroutine: Any) -> Any:
    async with asyncio.timeout(PATIENCE):
        return await coroutine


async def from_a_thread(coroutine: Any) -> Any:
    loop = asyncio.get_running_loop()
    return await asyncio.to_thread(lambda: asyncio.run_coroutine_threadsafe(coroutine, loop).result(10))


async def twice(coroutine: Any) -> Any:
    tasks = asyncio.create_task(coroutine), asyncio.create_task(coroutine)
    first, second = await asyncio.gather(*tasks)
    assert first == second == await coroutine
    return first


WAYS: dict[str, Any] = {
    "create_task": asyncio.create_task,
    "TaskGroup": in_a_group,
    "run_coroutine_threadsafe": from_a_thread,
    "gather": asyncio.gather,
    "wait_for": lambda coroutine: asyncio.wait_for(coroutine, PATIENCE),
    "shield": asyncio.shield,
    "timeout": with_a_timeout,
    "await": awaited,
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("way", WAYS)
async def test_what_a_call_returns_is_run_by_whatever_takes_a_coroutine(way: str, call: str) -> None:
    async with served(echo) as server, connect(server.url) as client:
        await client.send("for recv()")
        coroutine = CALLS[call](client)
        assert asyncio.iscoroutine(coroutine)
        await WAYS[way](coroutine)
        await client.close()


@pytest.mark.parametrize("call", [name for name in CALLS if name != "recv"])
async def test_two_tasks_run_the_same_result_at_once_and_it_can_be_awaited_afterwards(call: str) -> None:
    async with served(echo) as server, connect(server.url) as client:
        await twice(CALLS[call](client))


@pytest.mark.parametrize("call", [name for name in CALLS if name != "recv"])
async def test_a_runner_takes_what_a_call_of_an_ended_socket_has_returned(call: str) -> None:
    async with served(echo) as server, connect(server.url) as client:
        result = CALLS[call](client)
        if call == "ping":
            await result

    def run() -> Any:
        with asyncio.Runner() as runner:
            return runner.run(result)

    returned = await asyncio.to_thread(run)
    assert returned is None or isinstance(returned, float) or returned is await client.close()


async def test_what_close_of_a_server_returns_is_run_as_a_task() -> None:
    async with served(echo) as server:
        assert asyncio.iscoroutine(server.server.close())
        await asyncio.create_task(server.server.close())


async def test_a_listener_that_returns_what_a_call_returned_starts_no_task(pair: Pair) -> None:
    client, server = pair
    reported: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
    results: list[Any] = []

    def listen(call: str) -> Any:
        def listener(event: Event) -> Any:
            results.append(CALLS[call](client))
            return results[-1]

        return listener

    for call in ("send", "send much", "ping", "close"):
        client.addEventListener("message", listen(call))
    tasks = asyncio.all_tasks()
    server.send("now")
    client.addEventListener("close", lambda event: client.send("late"))  # which fails
    await client.wait_closed()
    await turn()
    assert len(results) == 4
    assert asyncio.all_tasks() <= tasks
    assert reported == []


@pytest.mark.parametrize("call", ["send", "send much", "ping"])
async def test_a_plain_handler_that_returns_what_a_call_returned_reads_no_stream(call: str) -> None:
    def handler(socket: WebSocket) -> Any:
        socket.onmessage = lambda event: socket.send(event.data)
        return CALLS[call](socket)

    async with served(handler) as server, connect(server.url) as client:
        if call != "ping":
            await client.recv()
        await client.send("still open")
        assert await client.recv() == "still open"


async def test_on_request_that_returns_what_a_call_returned_has_failed(caplog: pytest.LogCaptureFixture) -> None:
    async with served(echo) as other, connect(other.url) as client:
        for call in ("send", "ping"):
            async with served(on_request=lambda request, call=call: CALLS[call](client)) as server:
                with pytest.raises(HandshakeError) as error:
                    await connect(server.url)
                assert error.value.status == 500
    assert "on_request returned a Room, not a Response" in caplog.text
    assert "on_request returned a Promise, not a Response" in caplog.text


async def test_a_wait_that_is_given_up_leaves_no_future_behind() -> None:
    outcome = Promise()
    for _ in range(5):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(awaited(outcome), 0)
    task = asyncio.create_task(awaited(outcome))
    await turn()
    outcome.succeed(1)
    assert await task == 1


COPIES: dict[str, Any] = {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": pickle.dumps}


@pytest.mark.parametrize("way", COPIES)
async def test_copies_of_what_has_a_connection_are_refused(way: str, pair: Pair) -> None:
    client, server = pair
    async with served() as other:
        things = [client, server, other.server, client.recv(), client.ping(), client.send("x")]
        things += [connect(other.url), serve(echo, "127.0.0.1", 0)]
        for thing in things:
            with pytest.raises(TypeError, match="can't be copied or pickled: "):
                COPIES[way](thing)


@pytest.mark.parametrize("event", [Event("x"), MessageEvent("message", data="x")], ids=["Event", "MessageEvent"])
def test_an_event_can_be_copied(event: Event) -> None:
    assert copy.copy(event).type == event.type
    assert repr(copy.deepcopy(event)) == repr(event)


# Two loops.

FOREIGN: dict[str, Any] = {
    "send much": lambda socket, server: socket.send(bytes(100_000)),
    "close": lambda socket, server: socket.close(),
    "ping": lambda socket, server: socket.ping(),
    "flush": lambda socket, server: (socket.send(bytes(100_000)), socket.flush())[1],
    "drain": lambda socket, server: socket.drain(),
    "check_alive": lambda socket, server: socket.check_alive(60),
    "wait_closed": lambda socket, server: socket.wait_closed(),
    "recv": lambda socket, server: socket.recv(),
    "wait_opened": lambda socket, server: WebSocket.wait_opened(server.opening),
    "close of a server": lambda socket, server: server.close(),
    "wait_closed of a server": lambda socket, server: server.wait_closed(),
    "serve_forever": lambda socket, server: server.serve_forever(),
}
LOOPS = [asyncio.new_event_loop, *([] if uvloop is None else [uvloop.new_event_loop])]


class Setting:
    """A loop with a server and two clients: an open one that is read as a stream, and one that is still connecting."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.done: Any = None
        self.socket: WebSocket
        self.server: Any

    async def begin(self) -> None:
        """Set it up."""
        loop = asyncio.get_running_loop()
        self.done = loop.create_future()

        async def handler(socket: WebSocket) -> None:
            await self.done

        self.server = await serve(handler, "127.0.0.1", 0)
        url = f"ws://127.0.0.1:{self.server.port}/"
        self.socket = await connect(url)
        self.silent = create_server(("127.0.0.1", 0))
        self.server.opening = WebSocket(f"ws://127.0.0.1:{self.silent.getsockname()[1]}/")

    async def end(self) -> None:
        """Close all."""
        self.done.cancel()
        await self.server.opening.close()
        self.silent.close()
        await self.socket.close()
        await self.server.close()


@pytest.mark.parametrize("new_loop", LOOPS)
@pytest.mark.parametrize("call", FOREIGN)
def test_an_await_in_a_loop_beside_the_sockets_own_raises_and_does_not_wait(call: str, new_loop: Any) -> None:
    with asyncio.Runner(loop_factory=new_loop) as own, asyncio.Runner(loop_factory=new_loop) as other:
        setting = Setting(own.get_loop())
        own.run(setting.begin())

        async def use() -> None:
            with pytest.raises(InvalidStateError, match="belongs to another event loop"):
                await asyncio.wait_for(awaited(FOREIGN[call](setting.socket, setting.server)), 60)

        other.run(use())
        own.run(setting.end())


@pytest.mark.parametrize("new_loop", LOOPS)
def test_what_is_done_already_is_given_in_every_loop(new_loop: Any) -> None:
    with asyncio.Runner(loop_factory=new_loop) as own, asyncio.Runner(loop_factory=new_loop) as other:
        setting = Setting(own.get_loop())
        own.run(setting.begin())
        own.run(setting.end())

        async def use() -> None:
            assert await setting.socket.close() is await setting.socket.wait_closed()
            await setting.server.close()
            await setting.server.wait_closed()
            await setting.server.serve_forever()
            for call in ("send much", "ping", "flush", "drain", "recv"):
                with pytest.raises(ConnectionClosed):
                    await FOREIGN[call](setting.socket, setting.server)

        other.run(use())


@pytest.mark.parametrize("new_loop", LOOPS)
@pytest.mark.parametrize("call", [name for name in FOREIGN if name not in ("recv", "serve_forever", "wait_opened")])
def test_an_await_in_a_loop_of_another_thread_waits(call: str, new_loop: Any) -> None:
    setting = Setting(new_loop())
    own = Thread(target=setting.loop.run_forever)
    own.start()
    try:
        asyncio.run_coroutine_threadsafe(setting.begin(), setting.loop).result(60)

        async def use() -> None:
            result = FOREIGN[call](setting.socket, setting.server)
            if call.startswith("wait_closed"):
                waiting = asyncio.ensure_future(result)
                await turn()
                assert not waiting.done()
                asyncio.run_coroutine_threadsafe(setting.end(), setting.loop)
                result = waiting
            elif "server" in call:
                setting.loop.call_soon_threadsafe(setting.done.cancel)
            await asyncio.wait_for(awaited(result), 60)

        with asyncio.Runner(loop_factory=new_loop) as other:
            other.run(use())
        asyncio.run_coroutine_threadsafe(setting.end(), setting.loop).result(60)
    finally:
        setting.loop.call_soon_threadsafe(setting.loop.stop)
        own.join()
        setting.loop.close()


async def test_a_promise_that_is_kept_while_another_thread_begins_to_wait_is_kept_for_it() -> None:
    loop = asyncio.get_running_loop()
    for _ in range(100):
        outcomes = [Promise(loop) for _ in range(20)]

        def wait(outcomes: list[Promise] = outcomes) -> Any:
            async def all_of_them() -> list[Any]:
                return await asyncio.wait_for(asyncio.gather(*map(awaited, outcomes)), 60)

            return asyncio.run(all_of_them())

        waiting = asyncio.ensure_future(asyncio.to_thread(wait))
        for i, outcome in enumerate(outcomes):
            outcome.succeed(i)
            await asyncio.sleep(0)
        assert await waiting == list(range(20))


def test_a_promise_may_follow_another_one() -> None:
    async def follow() -> None:
        first, second = Promise(), Promise()
        waiting = [asyncio.create_task(awaited(second)) for _ in range(2)]
        await turn()
        second.follow(first)
        await turn()
        assert not any(task.done() for task in waiting)
        first.succeed((1, 2))
        assert await asyncio.gather(*waiting) == [(1, 2)] * 2
        assert await second == (1, 2)
        third = Promise()
        third.follow(ROOM)
        assert await awaited(third) is None

    asyncio.run(follow())
