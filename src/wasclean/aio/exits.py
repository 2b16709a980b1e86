"""What becomes of open connections when their event loop, or the process, comes to its end.

"If a user agent is to make disappear a WebSocket object ... start the WebSocket closing handshake, with the status code
to use in the WebSocket Close message being 1001." (the WHATWG standard)

Theory of operation. asyncio.run() ends its loop by cancelling all tasks and then closing all asynchronous generators
that have begun; so each loop with connections has such a generator, which closes them when it is closed itself. That is
the way of a return, of an exception, of sys.exit() and of SIGINT. A loop that nobody ends in this manner is run once
more when the interpreter exits. SIGTERM would end a process at once: if the program has no handler of its own for it,
the connections are closed first, and then the signal takes its course. All of this takes at most GRACE seconds.
"""

from __future__ import annotations

import atexit
import os
import signal
import time
from asyncio import AbstractEventLoop, sleep, wait_for
from collections.abc import AsyncGenerator
from threading import Thread, current_thread, main_thread
from typing import Any, ClassVar, Protocol
from weakref import WeakKeyDictionary

#: Seconds for all of it.
GRACE = 1.0

#: Seconds between two looks at what is left.
LOOK = 0.005


class Resident(Protocol):
    """A connection, as far as its end is concerned."""

    def leave_loop(self, timeout: float) -> None:
        """Close with 1001, within so many seconds."""

    def disown(self) -> None:
        """This is another process now: never touch the connection again."""


class Residents:
    """The connections of one event loop, from the moment there is a transport until it is gone."""

    _all: ClassVar[WeakKeyDictionary[AbstractEventLoop, Residents]] = WeakKeyDictionary()

    def __init__(self) -> None:
        self.present: set[Resident] = set()
        self.ending = False  # whether the loop is about to end, and opens no connections any more
        self._guard: AsyncGenerator[None, None] | None = None

    @classmethod
    def of(cls, loop: AbstractEventLoop) -> Residents:
        """Those of the loop, which must be running."""
        residents = cls._all.get(loop)
        if residents is None:
            residents = cls._all[loop] = Residents()
            residents._watch_loop()
            watch_process()
        return residents

    def _watch_loop(self) -> None:
        """Let the loop know that there is something to close at its end."""
        self._guard = _guard(self)
        try:
            self._guard.asend(None).send(None)
        except StopIteration:  # it has begun
            pass

    async def close(self) -> None:
        """Close all connections, and wait until they are gone, for at most GRACE seconds."""
        self.ending = True
        for resident in list(self.present):
            resident.leave_loop(GRACE * 0.9)
        try:
            await wait_for(self._gone(), GRACE)
        except TimeoutError:
            pass

    async def _gone(self) -> None:
        while self.present:
            await sleep(LOOK)
        await sleep(0)  # attempts to open another one are cancelled meanwhile


async def _guard(residents: Residents) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await residents.close()


def close_from_signal() -> Thread:
    """Close the connections of all loops that run, from another thread or a signal handler; the thread that waits."""
    loops = [(loop, residents) for loop, residents in Residents._all.items() if loop.is_running() and residents.present]
    for loop, residents in loops:
        for resident in list(residents.present):
            loop.call_soon_threadsafe(resident.leave_loop, GRACE * 0.9)

    def wait() -> None:
        deadline = time.monotonic() + GRACE
        while any(residents.present for _, residents in loops) and time.monotonic() < deadline:
            time.sleep(LOOK)

    thread = Thread(target=wait, name="wasclean closing", daemon=True)
    thread.start()
    return thread


def watch_process() -> None:
    """Prepare for SIGTERM, unless the program has a handler of its own, or other plans."""
    if current_thread() is main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _on_sigterm)


def _on_sigterm(number: int, frame: Any) -> None:
    signal.signal(number, signal.SIG_DFL)  # a second one means now
    waiting = close_from_signal()

    def die() -> None:
        waiting.join()
        os.kill(os.getpid(), number)

    Thread(target=die, name="wasclean SIGTERM", daemon=True).start()


def _at_exit() -> None:
    """Close what is open in loops that have stopped, and that nobody has closed."""
    for loop, residents in list(Residents._all.items()):
        if residents.present and not loop.is_running() and not loop.is_closed():
            try:
                loop.run_until_complete(residents.close())
            except RuntimeError:  # a loop of another thread, which has begun to run again
                pass


def _in_child() -> None:
    """A forked process has copies of the connections, which stay its parent's."""
    for residents in list(Residents._all.values()):
        for resident in residents.present:
            resident.disown()
        residents.present.clear()
    if signal.getsignal(signal.SIGTERM) is _on_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
