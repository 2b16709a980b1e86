"""SIGTERM: all connections are closed with 1001, and then the signal takes its course.

SIGTERM would end the process at once. So it is handled while there is a connection, unless the program has a handler of
its own, or serve_forever() has taken the signal.

How reliable is that? Python calls a handler when the main thread next runs Python code, as at Ctrl-C. From then on
nothing can keep the process alive: a second SIGTERM ends it in the kernel, and a thread ends it after GRACE seconds,
whatever the loops do. But a main thread that stays in C never calls the handler. If the loop runs on another thread,
that is common, for a GUI has a loop of its own in C: then a thread of ours watches for the signal. If the loop runs on
the main thread, it is blocked for ever, and only SIGKILL helps, as it does when the GIL is never released. Only the
main thread can set a handler: the connections of other threads, if it has none, end without a Close frame.
"""

from __future__ import annotations

import signal
import time
from _thread import start_new_thread
from asyncio.events import _get_running_loop
from contextlib import suppress

from .interpreter import end_by_signal, flush
from .loops import POLL_INTERVAL, anything_open, close_stopped, leave_running, wait_for_all
from .signals import SIGTERM, watch_from_thread

_begun = False  # True once SIGTERM has come


def update() -> None:
    """Take SIGTERM if there is anything to close, and give it back if there is not."""
    is_open = anything_open()
    if _begun and not is_open:
        end_by_signal(signal.SIGTERM)
    SIGTERM.otherwise = _terminate if is_open and not _begun else None
    SIGTERM.update()


def update_for_background() -> None:
    """As update(), if the connection is of a loop on another thread."""
    update()
    if SIGTERM.otherwise is not None:
        watch_from_thread(_notice)


def finish() -> None:
    """End the process if SIGTERM has come; its connections have been closed."""
    if _begun:
        flush()
        end_by_signal(signal.SIGTERM)


def in_child() -> None:
    """Forget, in a forked process, that SIGTERM has come to its parent."""
    global _begun
    _begun = False


def _terminate() -> None:
    global _begun
    _begun = True
    SIGTERM.reset()
    with suppress(RuntimeError):  # Python 3.12 starts no thread any more when the script has ended
        start_new_thread(_end_in_time, ())
    leave_running()
    if _get_running_loop() is None:
        close_stopped()


def _notice(number: int) -> None:
    """A signal has come, as the watching thread has seen."""
    if number == signal.SIGTERM:
        time.sleep(POLL_INTERVAL)
        if SIGTERM.otherwise is not None and SIGTERM.is_unnoticed:
            leave_running()
            _end_in_time()


def _end_in_time() -> None:
    wait_for_all()
    end_by_signal(signal.SIGTERM)
