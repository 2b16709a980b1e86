"""What Python has no documented way for: all such uses of this package, each with its reason.

Tried on CPython 3.11.7, 3.12.1 and 3.13.0, with asyncio and uvloop 0.23.
"""

from __future__ import annotations

import asyncio
import concurrent.futures.thread  # noqa: F401 - registers the end of its executors, which must be after ours
import os
import signal
import sys
import threading
from collections.abc import Callable
from dis import opname
from types import CodeType, FrameType
from typing import Any

#: Tool numbers of sys.monitoring that are not set aside for debuggers, coverage, profilers and optimizers.
_TOOLS = (4, 3)


def call_at_end_of_script(function: Callable[[], object]) -> None:
    """Call a function in the main thread when the script has ended, before executors and other threads are waited for.

    Functions of ``atexit`` run only after both. By then ``asyncio.to_thread()`` would be refused in listeners, and
    SIGINT would have been raised within the interpreter's own wait, which drops it.

    Raises:
        RuntimeError: the script has ended.
    """
    threading._register_atexit(function)  # type: ignore[attr-defined]


class MainCode:
    """The outermost code of the main thread, and how it ends.

    Nothing in Python tells whether a program is ended by ``sys.exit()``: ``sys.excepthook`` and ``sys.last_exc`` leave
    SystemExit out, and functions of ``atexit`` are not told. Code that returns has not been left by an exception.
    From Python 3.12 on ``sys.monitoring`` reports the return. In 3.11 the last instruction of the frame tells.
    """

    def __init__(self) -> None:
        self._frame = _outermost(sys._current_frames().get(threading.main_thread().ident or 0))
        self._returned = False
        if sys.version_info >= (3, 12) and self._frame is not None:
            self._watch(self._frame.f_code)

    def was_left_early(self) -> bool:
        """Return True if the code has been left by an exception; False if that is unknown. Call it once, at the end."""
        frame, self._frame = self._frame, None
        if frame is None:
            return False
        if sys.version_info >= (3, 12):
            return not self._returned
        return not opname[frame.f_code.co_code[frame.f_lasti]].startswith("RETURN")

    if sys.version_info >= (3, 12):

        def _watch(self, code: CodeType) -> None:
            monitoring = sys.monitoring
            tool = next((number for number in _TOOLS if monitoring.get_tool(number) is None), None)
            if tool is None:
                self._frame = None
                return
            monitoring.use_tool_id(tool, "wasclean")
            monitoring.register_callback(tool, monitoring.events.PY_RETURN, self._code_returned)
            monitoring.set_local_events(tool, code, monitoring.events.PY_RETURN)

        def _code_returned(self, code: CodeType, offset: int, value: object) -> None:
            self._returned = True


def _outermost(frame: FrameType | None) -> FrameType | None:
    while frame is not None and frame.f_back is not None:
        frame = frame.f_back
    return frame


def is_handler_of_runner(handler: Any) -> bool:
    """True if a handler is the one that ``asyncio.run()`` sets for SIGINT: a partial of a method of its Runner."""
    return isinstance(getattr(getattr(handler, "func", None), "__self__", None), asyncio.Runner)


def make_policy() -> None:
    """Let asyncio make its policy, which it does under a lock when it first makes a loop.

    A signal handler that makes a socket would wait for that lock for ever if it came in between. The public function
    is deprecated from Python 3.14 on.
    """
    getattr(asyncio.events, "_get_event_loop_policy", asyncio.get_event_loop_policy)()


def in_main_thread() -> bool:
    """True if handlers of signals can be set here."""
    return threading.get_ident() == threading.main_thread().ident


def end_by_signal(number: int) -> None:
    """Let a signal end the process now, so that its parent sees which one it was."""
    if in_main_thread():
        signal.signal(number, signal.SIG_DFL)
    if signal.getsignal(number) is signal.SIG_DFL:
        os.kill(os.getpid(), number)
    else:  # only the main thread could restore that, and it does not come to it
        exit_now(128 + number)


def exit_now(status: int) -> None:
    """End the process with a status: functions of ``atexit``, and other threads than the main one, can't set it."""
    os._exit(status & 0xFF)


def flush() -> None:
    """Write what the standard streams hold, for the end that follows is not Python's."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
