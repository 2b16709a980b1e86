"""Handlers of SIGINT and SIGTERM, while there is a use for them.

A signal is taken only from handlers that are not the program's own: the default, and that of ``asyncio.run()``. What
``calling()`` has been given is called at each signal; if the process still goes on GRACE seconds after a second one, it
is ended. Only the main thread can set a handler.
"""

from __future__ import annotations

import os
import signal
import time
from _thread import start_new_thread
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ..model.registry import GRACE
from .interpreter import exit_now, in_main_thread, is_handler_of_runner
from .switches import Switches

Call = Callable[[], object]


class Signal:
    """One signal, its handler, and what that calls.

    Attributes:
        otherwise: called when ``calling()`` has no function; None if the signal is then not to be taken.
    """

    def __init__(self, number: signal.Signals) -> None:
        self.otherwise: Call | None = None
        self._number = number
        self._calls: list[Call] = []
        self._previous: Any = None  # the handler that ours stands in for
        self._count = 0  # how often the signal has come since then
        self._is_taken = False

    @property
    def is_unnoticed(self) -> bool:
        """True if the signal is taken and its handler has not been called yet."""
        return self._is_taken and not self._count

    def add(self, call: Call) -> None:
        """Call a function at the signal; any thread may call it, but the main thread takes the signal."""
        self._calls.append(call)
        self.update()

    def remove(self, call: Call) -> None:
        """Undo add()."""
        self._calls.remove(call)
        self.update()

    def update(self) -> None:
        """Set our handler if it has anything to call and the program has none of its own; restore it otherwise."""
        if not in_main_thread():
            return
        handler = signal.getsignal(self._number)
        if Switches.signals and (self._calls or self.otherwise is not None):
            if _is_replaceable(handler):
                self._previous = handler
                self._count = 0
                self._is_taken = True
                signal.signal(self._number, self._handle)
        elif self._is_taken:
            self.give_back(handler)

    def give_back(self, handler: Any) -> None:
        """Restore the handler from before, unless the program has set another one meanwhile."""
        self._is_taken = False
        if handler == self._handle:
            signal.signal(self._number, self._previous)

    def reset(self) -> None:
        """Call nothing any more."""
        self.otherwise = None
        self._calls.clear()
        self.update()

    def _handle(self, number: int, frame: Any) -> None:
        self._count += 1
        if self._calls:
            for call in list(self._calls):
                call()
            if self._count > 1:
                with suppress(RuntimeError):  # Python 3.12 starts no thread any more when the script has ended
                    start_new_thread(self._insist, ())
        elif self.otherwise is not None:
            self.otherwise()
        else:  # since the main thread has last looked, another one has closed the last connection
            self.give_back(self._handle)
            os.kill(os.getpid(), number)

    def _insist(self) -> None:
        time.sleep(GRACE)
        if self._is_taken and self._calls:
            exit_now(128 + self._number)


SIGINT = Signal(signal.SIGINT)
SIGTERM = Signal(signal.SIGTERM)


def _is_replaceable(handler: Any) -> bool:
    return handler in (signal.SIG_DFL, signal.default_int_handler) or is_handler_of_runner(handler)


@contextmanager
def calling(call: Call, *signals: Signal) -> Iterator[None]:
    """Call a function at each of the signals within the context, if this is the main thread."""
    if not in_main_thread():
        yield
        return
    try:
        for each in signals:
            each.add(call)
        yield
    finally:
        for each in signals:
            each.remove(call)


_pipe: tuple[int, int] | None = None  # what the interpreter writes numbers of signals to, and the watching thread reads


def watch_from_thread(notice: Callable[[int], object]) -> None:
    """Call a function in a thread of ours with the number of each signal, unless the program has a wakeup fd.

    The interpreter's handler in C tells the thread, wherever the main thread is.
    """
    global _pipe
    if os.name != "posix" or not in_main_thread():
        return
    if _pipe is None:
        _pipe = os.pipe()
        os.set_blocking(_pipe[1], False)
        start_new_thread(_watch, (_pipe[0], notice))
    other = signal.set_wakeup_fd(_pipe[1], warn_on_full_buffer=False)
    if other != -1:
        signal.set_wakeup_fd(other)


def _watch(reader: int, notice: Callable[[int], object]) -> None:
    while True:
        for number in os.read(reader, 1 << 10):
            notice(number)


def in_child() -> None:
    """Give all signals back in a forked process, and leave the pipe that its parent's thread reads alone."""
    global _pipe
    for each in (SIGINT, SIGTERM):
        each.reset()
    if _pipe is not None:
        other = signal.set_wakeup_fd(-1)
        if other not in (-1, _pipe[1]):
            signal.set_wakeup_fd(other)
        for number in _pipe:
            os.close(number)
        _pipe = None
