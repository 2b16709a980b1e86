"""A handler that is stepped past its task behaves as one that its task steps."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from asyncio import CancelledError, Future, Task, current_task, sleep, timeout, wait_for
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import ContextVar
from typing import Any

import pytest

from wasclean.socket.eager_tasks import EagerFuture, EagerTask

Handler = Callable[["Mailbox", list[Any]], Coroutine[Any, Any, Any]]

name: ContextVar[str] = ContextVar("name", default="nobody")


class Mailbox:
    """What a socket is for the tests: somewhere to wait for messages."""

    def __init__(self) -> None:
        self.messages: deque[Any] = deque()
        self.waiter: EagerFuture | None = None

    def put(self, message: Any) -> None:
        """A message arrives."""
        self.messages.append(message)
        waiter, self.waiter = self.waiter, None
        if waiter is not None:
            waiter.wake()

    def __await__(self) -> Generator[Any, None, Any]:
        while not self.messages:
            self.waiter = EagerFuture(asyncio.get_running_loop())
            yield self.waiter
        return self.messages.popleft()


class Odd:
    """Something to await that asks a task for what none can do."""

    def __await__(self) -> Generator[Any, None, None]:
        yield "a string"


HANDLERS: list[Handler] = []


def handler(function: Handler) -> Handler:
    """One of those that run either way."""
    HANDLERS.append(function)
    return function


@handler
async def reads(box: Mailbox, log: list[Any]) -> Any:
    for _ in range(3):
        log.append(await box)
    return "done"


@handler
async def returns_a_tuple(box: Mailbox, log: list[Any]) -> Any:
    return (await box, 2)


@handler
async def returns_an_exception(box: Mailbox, log: list[Any]) -> Any:
    await box
    return ValueError("returned")


@handler
async def raises(box: Mailbox, log: list[Any]) -> Any:
    await box
    raise ValueError("raised")


@handler
async def raises_before_it_waits(box: Mailbox, log: list[Any]) -> Any:
    raise ValueError("raised")


@handler
async def raises_cancelled_error(box: Mailbox, log: list[Any]) -> Any:
    await box
    raise CancelledError("of its own")


@handler
async def raises_stop_iteration(box: Mailbox, log: list[Any]) -> Any:
    await box
    raise StopIteration("not allowed")


@handler
async def gives_others_their_turn(box: Mailbox, log: list[Any]) -> Any:
    log.append(await box)
    await sleep(0)
    log.append(await box)
    await sleep(0)
    await sleep(0)
    log.append(await box)


@handler
async def waits_for_something_else(box: Mailbox, log: list[Any]) -> Any:
    loop = asyncio.get_running_loop()
    for _ in range(2):
        future: Future[str] = loop.create_future()
        log.append(await box)
        loop.call_soon(future.set_result, "future")
        log.append(await future)


@handler
async def waits_for_what_is_over(box: Mailbox, log: list[Any]) -> Any:
    await box
    future: Future[str] = asyncio.get_running_loop().create_future()
    future.set_exception(ValueError("over"))
    await future


@handler
async def waits_with_a_limit(box: Mailbox, log: list[Any]) -> Any:
    for _ in range(2):
        log.append(await wait_for(read(box), 60))
    log.append(await box)


@handler
async def waits_in_vain(box: Mailbox, log: list[Any]) -> Any:
    for _ in range(3):
        log.append(await box)
    try:
        async with timeout(0.001):
            log.append(await box)
    except TimeoutError:
        log.append("timeout")
    asyncio.get_running_loop().call_soon(box.put, "late")
    log.append(await box)


@handler
async def has_variables(box: Mailbox, log: list[Any]) -> Any:
    name.set("handler")
    for _ in range(3):
        await box
        log.append(name.get())
        name.set(name.get() + "!")


@handler
async def is_the_current_task(box: Mailbox, log: list[Any]) -> Any:
    task = current_task()
    for _ in range(3):
        await box
        log.append(current_task() is task)


@handler
async def lets_another_task_read(box: Mailbox, log: list[Any]) -> Any:
    log.append(await box)
    log.append(await asyncio.create_task(read(box)))
    log.append(await box)


@handler
async def catches_its_cancellation(box: Mailbox, log: list[Any]) -> Any:
    log.append(await box)
    task = current_task()
    assert task is not None
    asyncio.get_running_loop().call_soon(task.cancel, "enough")
    try:
        for _ in range(3):
            log.append(await box)
    except CancelledError as error:
        log.append(error.args)
    log.append(task.uncancel())
    asyncio.get_running_loop().call_soon(box.put, "afterwards")
    log.append(await box)


@handler
async def takes_its_cancellation_back(box: Mailbox, log: list[Any]) -> Any:
    log.append(await box)
    task = current_task()
    assert task is not None
    task.cancel()
    log.append(task.uncancel())
    try:
        log.append(await box)
    except CancelledError as error:  # before Python 3.13, which forgets it
        log.append(error.args)
    return "done"


@handler
async def takes_its_cancellation_back_and_returns(box: Mailbox, log: list[Any]) -> Any:
    log.append(await box)
    task = current_task()
    assert task is not None
    task.cancel()
    log.append(task.uncancel())
    return "done"


@handler
async def cancels_itself_twice(box: Mailbox, log: list[Any]) -> Any:
    log.append(await box)
    task = current_task()
    assert task is not None
    log.append(task.cancel("first"))
    log.append(task.cancel("second"))
    try:
        log.append(await box)
    except CancelledError as error:
        log.append(error.args)
        raise


@handler
async def has_a_group_of_tasks_of_which_one_fails(box: Mailbox, log: list[Any]) -> Any:
    async def fails() -> None:
        raise ValueError("raised")

    log.append(await box)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(fails())
            log.append(await box)
            log.append(await box)
    except* ValueError:
        log.append("caught")
    asyncio.get_running_loop().call_soon(box.put, "afterwards")
    log.append(await box)
    return "done"


def cancels_itself(then: Callable[[Mailbox], Coroutine[Any, Any, Any]]) -> None:
    """One handler more: in the middle of a step it cancels itself, and goes on."""

    async def cancels(box: Mailbox, log: list[Any]) -> Any:
        log.append(await box)
        task = current_task()
        assert task is not None
        task.cancel("by itself")
        try:
            log.append(await then(box))
        except CancelledError as error:
            log.append(error.args)
            raise

    cancels.__name__ = f"cancels_itself_and_{then.__name__}"
    HANDLERS.append(cancels)


@cancels_itself
async def returns(box: Mailbox) -> Any:
    return "done"


@cancels_itself
async def raises_an_error(box: Mailbox) -> Any:
    raise ValueError("raised")


@cancels_itself
async def reads_on(box: Mailbox) -> Any:
    return [await box, await box, await box]


@cancels_itself
async def sleeps(box: Mailbox) -> Any:
    await sleep(0)
    await sleep(0)


@cancels_itself
async def waits_oddly(box: Mailbox) -> Any:
    await Odd()


@cancels_itself
async def waits_for_a_future(box: Mailbox) -> Any:
    await asyncio.get_running_loop().create_future()


@cancels_itself
async def waits_for_a_task_that_takes_its_time(box: Mailbox) -> Any:
    async def slow() -> str:
        try:
            await sleep(60)
        except CancelledError:
            await sleep(0.001)
        return "slow, but done"

    task = asyncio.create_task(slow())
    await sleep(0)
    return await task


@cancels_itself
async def waits_for_what_has_come(box: Mailbox) -> Any:
    future: Future[str] = asyncio.get_running_loop().create_future()
    future.set_result("here")
    return await future


async def read(box: Awaitable[Any]) -> Any:
    """A coroutine that reads one message."""
    return await box


def stepped_task(coroutine: Coroutine[Any, Any, Any]) -> Task[Any]:
    """A task whose coroutine is stepped past it."""
    loop = asyncio.get_running_loop()
    stepper: Any = EagerTask(loop, coroutine)
    return loop.create_task(stepper)


def run(function: Handler, stepped: bool, eager: bool = False) -> tuple[list[Any], Any]:
    """What a handler did, and how its task ended, while three messages came, a few turns of the loop apart."""

    async def main() -> tuple[list[Any], Any]:
        loop = asyncio.get_running_loop()
        if eager:
            loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined, unused-ignore]
        box = Mailbox()
        log: list[Any] = []
        coroutine = function(box, log)
        task = stepped_task(coroutine) if stepped else loop.create_task(coroutine)

        def feed(number: int, turns: int) -> None:
            if turns:
                loop.call_soon(feed, number, turns - 1)
                return
            box.put(number)
            if number < 2:
                feed(number + 1, 10)

        feed(0, 10)
        await asyncio.wait({task}, timeout=60)
        end: Any
        if not task.done():
            end = "nothing"
        elif task.cancelled():
            end = "cancelled"
        elif task.exception() is not None:
            end = repr(task.exception())
        else:
            end = repr(task.result())
        return [*log, name.get(), task.cancelling()], end

    return asyncio.run(main())


@pytest.mark.parametrize("function", HANDLERS, ids=lambda function: str(function.__name__))
def test_a_stepped_handler_does_what_a_task_does(function: Handler) -> None:
    assert run(function, stepped=True) == run(function, stepped=False)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="new in Python 3.12")
@pytest.mark.parametrize("function", HANDLERS, ids=lambda function: str(function.__name__))
def test_so_it_does_where_tasks_are_eager(function: Handler) -> None:
    assert run(function, stepped=True, eager=True) == run(function, stepped=False, eager=True)


async def test_a_message_steps_the_handler_at_once() -> None:
    loop = asyncio.get_running_loop()
    box = Mailbox()
    log: list[Any] = []
    task = stepped_task(reads(box, log))
    await sleep(0)
    seen = []
    done = loop.create_future()

    def arrive() -> None:
        for number in range(2):
            box.put(number)
            seen.append(list(log))
        loop.call_soon(done.set_result, None)

    loop.call_soon(arrive)
    await done
    assert seen == [[0], [0, 1]]
    box.put(2)
    assert log == [0, 1]  # a task is running, this one, so the handler waits for its turn
    assert await task == "done"
    assert log == [0, 1, 2]


async def test_a_message_that_comes_with_a_cancellation_stays_for_the_next_reader() -> None:
    box = Mailbox()
    log: list[Any] = []
    task = stepped_task(reads(box, log))
    await sleep(0)
    task.cancel()
    box.put("kept")
    with pytest.raises(CancelledError):
        await task
    assert log == []
    assert list(box.messages) == ["kept"]


async def test_a_task_that_is_cancelled_before_it_began_does_nothing() -> None:
    log: list[Any] = []
    task = stepped_task(reads(Mailbox(), log))
    task.cancel()
    with pytest.raises(CancelledError):
        await task
    assert log == []


def test_sys_exit_in_a_step_ends_the_loop_and_not_the_read() -> None:
    read_on = []
    tasks: list[Task[Any]] = []

    async def leaves(box: Mailbox, log: list[Any]) -> None:
        await box
        sys.exit(7)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        box = Mailbox()
        tasks.append(stepped_task(leaves(box, [])))

        def arrive() -> None:
            box.put(1)
            read_on.append(True)

        loop.call_later(0.001, arrive)
        await asyncio.wait(tasks)

    with pytest.raises(SystemExit) as caught:
        asyncio.run(main())
    assert tasks[0].exception() is caught.value
    assert caught.value.code == 7
    assert read_on == [True]


async def test_whoever_prints_the_task_sees_the_handler() -> None:
    box = Mailbox()
    task = stepped_task(reads(box, []))
    await sleep(0)
    assert "reads() running at" in repr(task)
    assert task.get_stack()[-1].f_code.co_name == "reads"
    assert asyncio.iscoroutine(task.get_coro())
    task.cancel()


def test_what_the_handler_waits_for_oddly_is_the_tasks_to_judge() -> None:
    async def waits_oddly(box: Mailbox, log: list[Any]) -> Any:
        await box
        await Odd()

    log, end = run(waits_oddly, stepped=True)
    assert (log, end) == run(waits_oddly, stepped=False)
    assert "got bad yield" in end


def test_a_handler_that_has_ended_is_freed_at_once() -> None:
    class Thing:
        pass

    async def holds(box: Mailbox, things: list[Any]) -> None:
        thing = things.pop()
        await box
        assert thing
        if await box:
            raise ValueError("raised")

    async def main(fails: bool) -> None:
        loop = asyncio.get_running_loop()
        box, thing = Mailbox(), Thing()
        freed = weakref.ref(thing)
        things = [thing]
        del thing
        task = stepped_task(holds(box, things))
        await sleep(0)
        for message in (1, fails):
            loop.call_soon(box.put, message)
            await sleep(0.001)
        ended = weakref.ref(task)
        assert task.done()
        assert (task.exception() is not None) is fails
        del task
        assert ended() is None
        assert freed() is None

    gc.disable()
    try:
        for fails in (False, True):
            asyncio.run(main(fails))
    finally:
        gc.enable()


async def test_a_step_that_cannot_begin_for_lack_of_memory_is_left_to_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    box = Mailbox()
    log: list[Any] = []
    task = stepped_task(reads(box, log))
    await sleep(0)

    def fails(*_: object) -> None:
        monkeypatch.undo()
        raise MemoryError

    monkeypatch.setattr("wasclean.socket.eager_tasks._enter_task", fails)
    for number in range(3):
        asyncio.get_running_loop().call_soon(box.put, number)
        await sleep(0.001)
    assert await task == "done"
    assert log == [0, 1, 2]
