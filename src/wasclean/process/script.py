"""The end of a script that has sockets in the background.

The process waits for them when the script has run to its end. A script that is left by an exception, sys.exit()
included, does not wait: the sockets are closed with 1001. So they are when SIGINT comes while the process waits; a
second one ends the closing. If it is SIGINT, or a listener's sys.exit(), that has ended the process, its status says
so.
"""

from __future__ import annotations

import signal
import sys
from asyncio import AbstractEventLoop
from collections.abc import Mapping
from typing import Protocol

from .interpreter import MainCode, call_at_end_of_script, end_by_signal, exit_now, flush
from .signals import SIGINT, calling


class Loop(Protocol):
    """A loop on a thread of its own, which a script may have to wait for."""

    def script_ended(self) -> None:
        """Note that the script has ended."""

    def stop(self) -> None:
        """Close all sockets with 1001, and end the loop."""

    def abandon(self) -> None:
        """End TCP of all sockets now."""

    def wait(self) -> None:
        """Wait for the end of the loop's thread."""


class Script:
    """The script that the main thread runs.

    Attributes:
        ended: True once it has ended.
        exit: the SystemExit of a listener, which is to be the process's status; None if there is none.
        loops: those that run, for which the process waits.
    """

    def __init__(self) -> None:
        self.ended = False
        self.exit: SystemExit | None = None
        self.loops: Mapping[AbstractEventLoop, Loop] = {}
        self._code: MainCode | None = None  # None until the process is to wait for anything
        self._is_left = False  # True if the process does not wait for its sockets, but closes them
        self._is_interrupted = False  # True once SIGINT has ended the process
        self._has_waited = True

    def outlive(self, loops: Mapping[AbstractEventLoop, Loop]) -> None:
        """Let the process wait, when the script has ended, for the loops that run then."""
        self.loops = loops
        if self._code is None:
            self._code = MainCode()
            try:
                call_at_end_of_script(self._wait)
                self._has_waited = False
            except RuntimeError:  # it has ended: the interpreter waits for its other threads, the loop's among them
                self.ended = True

    def finish(self) -> None:
        """Wait once more at exit, if SIGINT has struck before, or at the beginning of, the first wait."""
        if not self._has_waited:
            self._is_interrupted = self._is_left = True
            self._wait()

    def exit_with_status(self) -> None:
        """End the process as SIGINT, or a listener's sys.exit(), would have ended a program without sockets."""
        if self._is_interrupted:
            flush()
            end_by_signal(signal.SIGINT)
        if self.exit is not None:
            status = self.exit.code
            if not isinstance(status, int):
                if status is not None:
                    print(status, file=sys.stderr)
                status = status is not None
            flush()
            exit_now(status)

    def _wait(self) -> None:
        self.ended = True
        if self._code is not None and self._code.was_left_early():
            self._is_left = True
        with calling(self._interrupt, SIGINT):
            for thread in list(self.loops.values()):
                thread.script_ended()  # all of its sockets may be daemons
            while running := list(self.loops.values()):
                try:
                    if self._is_left:
                        running[0].stop()
                    running[0].wait()
                except KeyboardInterrupt:  # raised by a handler of the program's own
                    self._interrupt()
        if self._is_left:
            self.exit = None  # the script says how it has ended
        self._has_waited = True

    def _interrupt(self) -> None:
        again, self._is_interrupted = self._is_interrupted, True  # first: the next SIGINT may come amid what follows
        self._is_left = True
        for thread in list(self.loops.values()):
            if again:
                thread.abandon()
            else:
                thread.stop()


SCRIPT = Script()
