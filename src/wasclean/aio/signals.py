"""Signals that we take from a program for a while, where it has no handlers of its own for them."""

from __future__ import annotations

import os
import signal
import time
from _thread import start_new_thread
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import get_ident, main_thread
from typing import Any, ClassVar

from ..model.registry import GRACE

#: Handlers that may be replaced: they are no program's own.
REPLACEABLE: set[Any] = {signal.SIG_DFL, signal.default_int_handler}


class Taken:
    """A signal that calls functions, until the last of them is not to be called any more."""

    _all: ClassVar[dict[int, Taken]] = {}

    def __init__(self, number: int) -> None:
        self.calls: list[Callable[[], object]] = []
        self._number = number
        self._count = 0  # how often it has come
        self._previous = signal.getsignal(number)
        self._all[number] = self
        signal.signal(number, self._handle)

    @classmethod
    def take(cls, number: int) -> Taken | None:
        """The signal; None if it is not ours to take."""
        if number in cls._all:
            return cls._all[number]
        handler = signal.getsignal(number)
        of_asyncio = getattr(getattr(handler, "func", None), "__module__", "") == "asyncio.runners"
        return cls(number) if of_asyncio or handler in REPLACEABLE else None

    def give_back(self) -> None:
        """Restore the handler from before."""
        del self._all[self._number]
        if in_main_thread() and signal.getsignal(self._number) == self._handle:
            signal.signal(self._number, self._previous)

    def _handle(self, number: int, frame: Any) -> None:
        self._count += 1
        for call in self.calls:
            try:
                call()
            except RuntimeError:  # the loop was closed meanwhile
                pass
        if self._count > 1:
            start_new_thread(self._insist, ())

    def _insist(self) -> None:
        time.sleep(GRACE)
        if self._all.get(self._number) is self:
            os._exit(128 + self._number)

    @classmethod
    def give_all_back(cls) -> None:
        """Restore all handlers, in a forked process."""
        for taken in list(cls._all.values()):
            taken.give_back()


@contextmanager
def calling(loop: AbstractEventLoop, function: Callable[[], object], *numbers: int) -> Iterator[None]:
    """Call a function in the loop at each of the signals, if this is the main thread.

    A second signal means now: if the block goes on for GRACE seconds after it, the process ends.
    """
    call = partial(loop.call_soon_threadsafe, function)
    taken = [Taken.take(number) for number in numbers] if in_main_thread() else []
    for one in taken:
        if one is not None:
            one.calls.append(call)
    try:
        yield
    finally:
        for one in taken:
            if one is not None:
                one.calls.remove(call)
                if not one.calls:
                    one.give_back()


class Watch:
    """A thread that gets the numbers of signals from the interpreter's handler in C, wherever the main thread is."""

    _pipe: ClassVar[tuple[int, int] | None] = None

    @classmethod
    def begin(cls, function: Callable[[int], object]) -> None:
        """Call the function in a thread at each signal that has a handler in Python, unless somebody else does that."""
        if os.name != "posix":
            return
        if cls._pipe is None:
            cls._pipe = os.pipe()
            os.set_blocking(cls._pipe[1], False)
            start_new_thread(cls._run, (cls._pipe[0], function))
        other = signal.set_wakeup_fd(cls._pipe[1], warn_on_full_buffer=False)
        if other != -1:
            signal.set_wakeup_fd(other)

    @staticmethod
    def _run(reader: int, function: Callable[[int], object]) -> None:
        while True:
            for number in os.read(reader, 1 << 10):
                function(number)

    @classmethod
    def forget(cls) -> None:
        """This is a forked process, without the thread: what its parent's thread reads, it must not write."""
        if cls._pipe is not None:
            other = signal.set_wakeup_fd(-1)
            if other not in (-1, cls._pipe[1]):
                signal.set_wakeup_fd(other)
            for number in cls._pipe:
                os.close(number)
            cls._pipe = None


def in_main_thread() -> bool:
    """Whether handlers can be set here."""
    return get_ident() == main_thread().ident


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=Taken.give_all_back)
    os.register_at_fork(after_in_child=Watch.forget)
