"""What becomes of open connections when their event loop, or the process, comes to its end.

"If a user agent is to make disappear a WebSocket object ... start the WebSocket closing handshake, with the status code
to use in the WebSocket Close message being 1001." (the WHATWG standard)

Theory of operation. There are four ends, and closing takes GRACE seconds at most in each:

- A loop is closed. That is how asyncio.run() ends, be it after a return, an exception, sys.exit() or SIGINT, so the
  close() of each loop with connections is preceded by ours. Another SIGINT meanwhile means: now.
- The interpreter exits. Loops that nobody has closed are cancelled and closed then, as asyncio.run() does; those that
  run in daemon threads are left running.
- SIGTERM would end the process at once. So while there is a connection, and the program has no handler of its own for
  it, there is one of ours: it closes the connections, and then the signal takes its course.
- The process forks. The child has copies of connections that stay its parent's: it drops them.

How reliable is SIGTERM then? A handler in Python is called when the main thread runs Python code the next time, as at
Ctrl-C. From then on nothing can keep the process alive: a second SIGTERM ends it in the kernel, and a thread ends it
after GRACE seconds, whatever the loop does. But a main thread that stays in C never calls the handler. Where it does
not run the loop that is no rarity, a GUI has its own loop in C; so a thread of ours watches there. Where it does, that
is a loop which is blocked for ever, and SIGKILL is what is left; as it is when somebody never releases the GIL. Only
the main thread can set a handler: what other threads connect while it has none ends without a Close frame.
"""

from __future__ import annotations

import atexit
import os
import select
import signal
import sys
import time
from _thread import start_new_thread
from asyncio import AbstractEventLoop
from asyncio.events import _get_running_loop
from typing import Any

from ..model.registry import GRACE
from ..socket.waiting import BACKGROUND_LOOPS
from .residents import LOOK, Residents, run_to_end
from .signals import REPLACEABLE, Watch, in_main_thread

_epoll: Any = getattr(select, "epoll", None)  # as it is at import: gevent's monkey patching takes it away later on
_dying = False  # whether SIGTERM has come


def watch_process() -> None:
    """Take SIGTERM while there is something to close, unless the program has a handler of its own."""
    if _dying and not Residents.anywhere():
        _die(signal.SIGTERM)
    if _dying or not in_main_thread():
        return
    handler = signal.getsignal(signal.SIGTERM)
    if handler is signal.SIG_DFL and Residents.anywhere():
        signal.signal(signal.SIGTERM, _on_sigterm)
    elif handler is _on_sigterm and not Residents.anywhere():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def watch_process_from_outside() -> None:
    """As watch_process(), where the loop is another thread's."""
    watch_process()
    if in_main_thread() and signal.getsignal(signal.SIGTERM) is _on_sigterm:
        Watch.begin(_notice)


def _notice(number: int) -> None:
    """A signal has come, as a thread of ours has noticed."""
    if number == signal.SIGTERM:
        time.sleep(LOOK)
        if signal.getsignal(number) is _on_sigterm:  # the main thread has not called it
            _leave_running_loops()
            _die_in_time(number)


def _on_sigterm(number: int, frame: Any) -> None:
    global _dying
    _dying = True
    signal.signal(number, signal.SIG_DFL)
    try:
        start_new_thread(_die_in_time, (number,))
    except RuntimeError:  # the interpreter is almost at its end
        _die(number)
    _leave_running_loops()
    if _get_running_loop() is None:
        _close_stopped_loops()


def _leave_running_loops() -> None:
    for loop, residents in Residents.all():
        if loop.is_running() or loop in BACKGROUND_LOOPS:
            try:
                loop.call_soon_threadsafe(residents.leave)
            except RuntimeError:  # it has been closed meanwhile
                pass


def _die_in_time(number: int) -> None:
    """Let a signal end the process when everything has been closed, or when it is time."""
    _wait()
    _die(number)


def _wait() -> None:
    deadline = time.monotonic() + GRACE
    while Residents.anywhere() and time.monotonic() < deadline:
        time.sleep(LOOK)


def _die(number: int) -> None:
    """Let a signal end the process now."""
    if signal.getsignal(number) is signal.SIG_DFL:
        os.kill(os.getpid(), number)
    else:  # the main thread has not come to restore that
        os._exit(128 + number)


def _close_stopped_loops() -> None:
    """End the loops that have stopped, and that nobody has closed, as asyncio.run() does."""
    for loop, residents in Residents.all():
        if residents.open and not (loop.is_running() or loop.is_closed() or loop in BACKGROUND_LOOPS):
            run_to_end(loop, residents.cancel)
            loop.close()


def _at_exit() -> None:
    _close_stopped_loops()
    _leave_running_loops()  # of daemon threads
    _wait()
    if _dying:  # nothing is left to do since SIGTERM has closed the connections
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        _die(signal.SIGTERM)


def _in_child() -> None:
    """Leave everything to the parent."""
    global _dying
    _dying = False
    for loop, residents in Residents.all():
        if residents.open or residents.listeners:
            _detach(loop)
            residents.disown()
    watch_process()


def _detach(loop: AbstractEventLoop) -> None:
    """Give our copy of a loop an epoll of its own: from its parent's it would remove the parent's connections."""
    signal.set_wakeup_fd(-1)
    fileno = getattr(loop, "_get_backend_id", None) or getattr(getattr(loop, "_selector", None), "fileno", None)
    if fileno is not None and _epoll is not None:
        own = _epoll()
        os.dup2(own.fileno(), fileno(), inheritable=False)
        own.close()


Residents.changed = watch_process
REPLACEABLE.add(_on_sigterm)
atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
