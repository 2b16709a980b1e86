"""What becomes of open connections when their event loop, or the process, comes to its end.

"If a user agent is to make disappear a WebSocket object ... start the WebSocket closing handshake, with the status code
to use in the WebSocket Close message being 1001." (the WHATWG standard)

Theory of operation. There are four ways, and each takes GRACE seconds at most:

- asyncio.run() ends its loop by cancelling all tasks and then closing all asynchronous generators that have begun; so
  each loop with connections has such a generator, which closes them when it is closed itself. That is the way of a
  return, of an exception, of sys.exit() and of SIGINT. Another SIGINT meanwhile means: now.
- A loop that nobody has ended in this manner is run once more when the interpreter exits. One that was closed around its
  connections can't run; their Close frames are written without it.
- SIGTERM ends a process at once. So exactly while there is a connection, and the program has no handler of its own, the
  signal has ours, which closes the connections and then lets the signal take its course.
- A forked process has copies of the connections, which stay its parent's.

What SIGTERM may depend on. A handler in Python is called when the main thread runs Python code the next time, which is
how Ctrl-C works too. From then on nothing can keep the process alive: the default is restored, so that a second SIGTERM
ends it in the kernel, and a thread ends it after GRACE seconds, whatever the loop is doing. But a main thread that stays
in a C function never gets there. Where the loop is another thread's that is likely (a GUI has its main loop in C), so
there a thread of ours waits for the signal as well. Where it is the main thread's, that is a loop which is blocked for
ever, and needs SIGKILL; as does a process in which somebody never releases the GIL. And a handler can be set by the main
thread only: connections that other threads have made are not closed by SIGTERM.
"""

from __future__ import annotations

import atexit
import os
import select
import signal
import sys
import time
from _thread import start_new_thread
from asyncio import AbstractEventLoop, Task, all_tasks, current_task, get_running_loop, sleep, wait
from asyncio.events import _get_running_loop
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from threading import get_ident, main_thread
from typing import Any, ClassVar, Protocol
from weakref import WeakKeyDictionary, WeakSet

from ..protocol.registry import GRACE

#: Seconds between two looks at what is left.
LOOK = 0.005

#: Turns of the loop until an aborted transport has told everybody of its end.
TURNS = 10


#: What asks for the end of the loop, wherever it is raised.
LEAVING = (KeyboardInterrupt, SystemExit)


class Resident(Protocol):
    """A connection, as far as its end is concerned."""

    def leave_loop(self, timeout: float) -> None:
        """Close with 1001, within so many seconds."""

    def abandon(self) -> None:
        """End TCP now."""

    def disown(self) -> None:
        """This is another process now: never touch the connection again."""


class Listener(Protocol):
    """A server, as far as its loop's end is concerned."""

    def stop_accepting(self) -> None:
        """Accept no connections any more."""


class Residents:
    """The connections of one event loop, from the moment there is a transport until it is gone."""

    _all: ClassVar[WeakKeyDictionary[AbstractEventLoop, Residents]] = WeakKeyDictionary()

    def __init__(self) -> None:
        self.present: set[Resident] = set()
        self.attempts: set[Task[Any]] = set()  # to open another one
        self.listeners: WeakSet[Listener] = WeakSet()
        self.ending = False  # whether the loop is about to end, and opens no connections any more

    @classmethod
    def of(cls, loop: AbstractEventLoop) -> Residents:
        """Those of the loop, which must be running."""
        residents = cls._all.get(loop)
        if residents is None:
            residents = cls._all[loop] = Residents()
            vars(loop)["close"] = partial(_close_loop, loop, residents, loop.close)
        return residents

    def add(self, resident: Resident) -> None:
        """There is a transport."""
        self.present.add(resident)
        watch_process()

    def remove(self, resident: Resident) -> None:
        """The transport is gone."""
        self.present.discard(resident)
        if _dying and not _any():
            _die(signal.SIGTERM)
        watch_process()

    def attempt(self, task: Task[Any]) -> None:
        """The task opens a connection."""
        self.attempts.add(task)
        task.add_done_callback(self.attempts.discard)

    @property
    def any(self) -> bool:
        """Whether there is something to close."""
        return bool(self.present or self.attempts)

    def leave(self) -> None:
        """Begin to close all connections."""
        self.ending = True
        for listener in list(self.listeners):
            listener.stop_accepting()
        for resident in list(self.present):
            resident.leave_loop(GRACE * 0.9)
        for task in list(self.attempts):
            task.cancel()

    async def close(self) -> None:
        """Close all connections, and wait until they are gone."""
        self.leave()
        deadline = time.monotonic() + GRACE
        while self.any and time.monotonic() < deadline:
            await sleep(LOOK)
        self.abandon()
        for _ in range(TURNS):
            await sleep(0)

    async def cancel(self) -> None:
        """Begin to close all connections, and end what else the loop does."""
        self.leave()
        tasks = all_tasks() - {current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await wait(tasks, timeout=GRACE)
        await get_running_loop().shutdown_asyncgens()

    def abandon(self) -> None:
        """End what has not ended."""
        for resident in list(self.present):
            resident.abandon()

    def disown(self) -> None:
        """This is another process now."""
        for resident in list(self.present):
            resident.disown()
        self.present.clear()
        self.attempts.clear()


def _close_loop(loop: AbstractEventLoop, residents: Residents, close: Callable[[], None]) -> None:
    """What a loop's close() is until it has been called."""
    try:
        if residents.any or residents.listeners:
            _run(loop, residents.close)
    finally:
        close()
        Residents._all.pop(loop, None)
        vars(loop).pop("close", None)


def _close_stopped_loops() -> None:
    """End the loops that have stopped, and that nobody has closed, as asyncio.run() does."""
    for loop, residents in list(Residents._all.items()):
        if residents.any and not loop.is_running():
            _run(loop, residents.cancel)
            loop.close()


def _at_exit() -> None:
    _close_stopped_loops()
    if _dying:  # nothing is left to do since SIGTERM has closed the connections
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        _die(signal.SIGTERM)


def _run(loop: AbstractEventLoop, end: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a loop to its end, however often a listener calls sys.exit() meanwhile; SIGINT means now."""
    if loop.is_running() or _get_running_loop() is not None:  # it was the garbage collector who has called close()
        return
    exits = []
    deadline = time.monotonic() + 3 * GRACE
    with on_signals(loop, Residents.of(loop).abandon, signal.SIGINT):
        task = loop.create_task(end())
        while not task.done() and time.monotonic() < deadline:
            try:
                loop.run_until_complete(task)
            except RuntimeError:  # a listener has stopped the loop
                pass
            except LEAVING as error:
                exits.append(error)
    if exits:
        raise exits[0]


# SIGTERM.


def watch_process() -> None:
    """Take SIGTERM while there is something to close, unless the program has a handler of its own."""
    if _dying or not _in_main_thread():
        return
    handler = signal.getsignal(signal.SIGTERM)
    if handler is signal.SIG_DFL and _any():
        signal.signal(signal.SIGTERM, _on_sigterm)
    elif handler is _on_sigterm and not _any():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def watch_process_from_outside() -> None:
    """As watch_process(), where the loop is another thread's, so that the main thread may be in a C function."""
    global _pipe
    watch_process()
    if os.name == "posix" and _in_main_thread() and signal.getsignal(signal.SIGTERM) is _on_sigterm:
        if _pipe is None:
            _pipe = os.pipe()
            os.set_blocking(_pipe[1], False)
            start_new_thread(_stand_by, (_pipe[0],))
        other = signal.set_wakeup_fd(_pipe[1], warn_on_full_buffer=False)
        if other != -1:  # somebody else wants to be told of signals
            signal.set_wakeup_fd(other)


def _stand_by(reader: int) -> None:
    """Wait for signals in a thread."""
    while True:
        if signal.SIGTERM in os.read(reader, 1 << 10):
            time.sleep(LOOK)
            if signal.getsignal(signal.SIGTERM) is _on_sigterm:  # the main thread has not called it
                _leave_running_loops()
                _die_in_time(signal.SIGTERM)


def _on_sigterm(number: int, frame: Any) -> None:
    global _dying
    _dying = True
    signal.signal(number, signal.SIG_DFL)
    start_new_thread(_die_in_time, (number,))
    _leave_running_loops()
    if _get_running_loop() is None:
        _close_stopped_loops()


def _leave_running_loops() -> None:
    for loop, residents in list(Residents._all.items()):
        if loop.is_running():
            loop.call_soon_threadsafe(residents.leave)


def _die_in_time(number: int) -> None:
    """Let a signal end the process when everything has been closed, or when it is time."""
    deadline = time.monotonic() + GRACE
    while _any() and time.monotonic() < deadline:
        time.sleep(LOOK)
    _die(number)


def _die(number: int) -> None:
    """Let a signal end the process now."""
    if signal.getsignal(number) is signal.SIG_DFL:
        os.kill(os.getpid(), number)
    else:  # the main thread has not come to restore that
        os._exit(128 + number)


# Signals for a server.


@contextmanager
def on_signals(loop: AbstractEventLoop, function: Callable[[], object], *numbers: int) -> Iterator[None]:
    """Call a function in the loop at each of the signals, but where the program has a handler of its own.

    A second signal means now: if the block goes on for GRACE seconds after it, the process ends.
    """
    call = partial(loop.call_soon_threadsafe, function)
    taken = [number for number in numbers if _take(number)]
    for number in taken:
        _taken[number].calls.append(call)
    try:
        yield
    finally:
        for number in taken:
            _taken[number].calls.remove(call)
            if not _taken[number].calls:
                _give_back(number)
        watch_process()


class _Taken:
    """A signal that servers have taken.

    Attributes:
        previous: its handler before.
        calls: what to call.
        count: how often it has come.
    """

    def __init__(self, previous: Any) -> None:
        self.previous = previous
        self.calls: list[Callable[[], object]] = []
        self.count = 0


def _take(number: int) -> bool:
    if not _in_main_thread():
        return False
    if number not in _taken:
        handler = signal.getsignal(number)
        ours = handler in (signal.SIG_DFL, signal.default_int_handler, _on_sigterm)
        if not ours and getattr(getattr(handler, "func", None), "__module__", "") != "asyncio.runners":
            return False
        _taken[number] = _Taken(handler)
        signal.signal(number, _on_taken)
    return True


def _give_back(number: int) -> None:
    taken = _taken.pop(number)
    if _in_main_thread() and signal.getsignal(number) is _on_taken:
        signal.signal(number, taken.previous)


def _on_taken(number: int, frame: Any) -> None:
    taken = _taken[number]
    taken.count += 1
    for call in taken.calls:
        call()
    if taken.count > 1:
        start_new_thread(_insist, (number, taken))


def _insist(number: int, taken: _Taken) -> None:
    time.sleep(GRACE)
    if _taken.get(number) is taken:
        os._exit(128 + number)


def _in_child() -> None:
    """Leave everything to the parent, and the signals to the child."""
    global _pipe
    for loop, residents in list(Residents._all.items()):
        if residents.any or residents.listeners:
            _detach(loop)
            residents.disown()
    for number in list(_taken):
        _give_back(number)
    watch_process()
    if _pipe is not None:
        for number in _pipe:
            os.close(number)
        _pipe = None


def _detach(loop: AbstractEventLoop) -> None:
    """Give our copy of a loop an epoll of its own: from its parent's it would remove the parent's connections."""
    signal.set_wakeup_fd(-1)
    fileno = getattr(loop, "_get_backend_id", None) or getattr(getattr(loop, "_selector", None), "fileno", None)
    if fileno is not None and hasattr(select, "epoll"):
        own = select.epoll()
        os.dup2(own.fileno(), fileno(), inheritable=False)
        own.close()


def _any() -> bool:
    return any(residents.any for residents in list(Residents._all.values()))


def _in_main_thread() -> bool:
    return get_ident() == main_thread().ident


_dying = False
_pipe: tuple[int, int] | None = None  # where the interpreter writes the numbers of signals
_taken: dict[int, _Taken] = {}

atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
