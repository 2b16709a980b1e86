"""The ends of event loops: their connections are closed with 1001, within GRACE seconds.

"If a user agent is to make disappear a WebSocket object ... start the WebSocket closing handshake, with the status code
to use in the WebSocket Close message being 1001." (the WHATWG standard)

Theory of operation. ``asyncio.run()``, ``asyncio.Runner`` and ``uvloop.run()`` end a loop in the same way, be it after
a return, an exception, sys.exit() or SIGINT: they cancel all tasks, then run ``loop.shutdown_asyncgens()``, then close
the loop. The latter awaits the end of each asynchronous generator that was begun in the loop. So a loop with a
connection or a server has one of ours, its guard, which waits at a ``yield`` until it is told to end, and then closes
the connections. Another SIGINT meanwhile ends them at once.

Loops that were stopped and left are ended at the exit of the interpreter, as asyncio.run() would have done. Loops that
run in daemon threads are left running, but their connections are closed. If a loop was closed without
``shutdown_asyncgens()``, its connections are still there: they are read and written without it, by polling.
"""

from __future__ import annotations

import time
from asyncio import AbstractEventLoop, all_tasks, current_task, get_running_loop, sleep, wait
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import suppress
from contextvars import Context
from functools import partial
from typing import Any

from ..aio import poller
from ..aio.loopstate import LEAVING, LoopState
from ..model.registry import GRACE
from ..socket.awaitables import BACKGROUND_LOOPS
from .signals import SIGINT, calling
from .switches import Switches

#: Seconds between two looks at what is still open.
POLL_INTERVAL = 0.005

#: Turns of the loop within which an aborted transport has told of its end.
LAST_TURNS = 10

#: Seconds of GRACE for the closing handshakes; the rest is for the end of TCP.
HANDSHAKE_TIME = GRACE * 0.9

_guards: dict[LoopState, AsyncGenerator[None, None]] = {}


def anything_open() -> bool:
    """True if any loop has a connection, or an attempt to open one."""
    return any(state.is_open for _, state in LoopState.all())


# Loops that are ended.


def guard(state: LoopState) -> None:
    """Make a guard for a loop that needs one, or end one that is not needed any more. Call it in the loop."""
    needed = bool(state.connections or state.servers)
    if needed and state not in _guards and Switches.loops and not state.ending:
        generator = _guards[state] = _guard(state)
        _step(generator.asend(None))
    elif not needed and state in _guards:
        _step(_guards.pop(state).aclose())


async def _guard(state: LoopState) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        if _guards.pop(state, None) is not None:  # it is the loop that ends us
            await sleep(0)  # the program's own generators may still send
            await close(state)


def _step(awaitable: Any) -> None:
    """Take the only step that a guard has when nothing is to be closed."""
    with suppress(StopIteration, StopAsyncIteration):
        awaitable.send(None)


async def close(state: LoopState) -> None:
    """Close all connections of the running loop, and wait until they are gone."""
    loop = get_running_loop()
    with calling(partial(call_in, loop, state.abandon), SIGINT):
        state.go_away(HANDSHAKE_TIME)
        deadline = time.monotonic() + GRACE
        while state.is_open and time.monotonic() < deadline:
            await sleep(POLL_INTERVAL)
        state.abandon()
        for _ in range(LAST_TURNS):
            await sleep(0)


def call_in(loop: AbstractEventLoop, function: Callable[[], object]) -> None:
    """Call a function in a loop of any thread, unless the loop has been closed."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(function)


# Loops that nobody has ended.


def leave_running() -> None:
    """Begin to close the connections of all loops that run."""
    for loop, state in LoopState.all():
        if loop.is_running() or loop in BACKGROUND_LOOPS:
            call_in(loop, partial(state.go_away, HANDSHAKE_TIME))


def close_stopped() -> None:
    """End the loops that were stopped and left, and close the connections of those that were closed before."""
    for loop, state in LoopState.all():
        if not state.is_open or loop.is_running() or loop in BACKGROUND_LOOPS:
            continue
        if loop.is_closed():
            _close_without_loop(loop, state)
        else:
            _run(loop, partial(_cancel, state))
            _run(loop, partial(close, state))
            loop.close()


def wait_for_all() -> None:
    """Wait until nothing is open, for GRACE seconds at most."""
    deadline = time.monotonic() + GRACE
    while anything_open() and time.monotonic() < deadline:
        time.sleep(POLL_INTERVAL)


async def _cancel(state: LoopState) -> None:
    """Begin to close all connections of the running loop, and end everything else that it does."""
    state.go_away(HANDSHAKE_TIME)
    tasks = all_tasks() - {current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await wait(tasks, timeout=GRACE)
    await get_running_loop().shutdown_asyncgens()


def _run(loop: AbstractEventLoop, end: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine to its end, however often a listener stops the loop or calls sys.exit() meanwhile."""
    deadline = time.monotonic() + 3 * GRACE
    with calling(partial(call_in, loop, LoopState.of(loop).abandon), SIGINT):
        task = Context().run(loop.create_task, end())
        while not task.done() and time.monotonic() < deadline:
            with suppress(RuntimeError, *LEAVING):
                loop.run_until_complete(task)


def _close_without_loop(loop: AbstractEventLoop, state: LoopState) -> None:
    """Close the connections of a loop that was closed before them; its tasks, and so its attempts, are lost."""
    state.attempts.clear()
    with calling(state.abandon, SIGINT):
        for connection in list(state.connections):
            with suppress(RuntimeError):  # a transport of the loop's own can't do without it
                connection.leave_loop(HANDSHAKE_TIME)
        deadline = time.monotonic() + GRACE
        while state.connections and time.monotonic() < deadline:
            poller.poll(loop)
            state.make_calls()
            time.sleep(POLL_INTERVAL)
        for connection in list(state.connections):
            with suppress(RuntimeError):
                connection.abandon()
        state.make_calls()


_inherited: list[AsyncGenerator[None, None]] = []  # a guard that was freed would wake the parent's loop


def in_child() -> None:
    """Let the guards do nothing in a forked process."""
    _inherited.extend(_guards.values())
    _guards.clear()
