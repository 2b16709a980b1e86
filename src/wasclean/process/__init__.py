"""What wasclean does to the process: signals, the ends of loops, the end of the program, and forks.

Nothing below imports this package. ``install()`` is called once, when ``wasclean`` is first asked for a public name:

- switches.py: what may be switched off, by ``configure()``.
- interpreter.py: every use of Python that is not documented for it, with its reason and the versions it was tried on.
- signals.py: handlers of SIGINT and SIGTERM, only while there is something to close.
- loops.py: closes the connections of a loop that ends, and of all loops when the program does.
- termination.py: SIGTERM.
- script.py: how a script that has sockets in the background ends, and with which status.
- background.py: the event loop, on a thread of its own, of scripts that have none.
- forks.py: a forked process leaves its parent's connections alone.

docs/process.md describes all of it for users.
"""

from __future__ import annotations

import atexit
import os
from asyncio import AbstractEventLoop
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

from ..aio.loopstate import LoopState
from ..socket.websocket import open_with
from . import forks, loops, termination
from .background import open_socket
from .interpreter import make_policy
from .script import SCRIPT
from .signals import SIGINT, SIGTERM, calling
from .switches import Switches, configure

__all__ = ["configure", "install"]

_installed = False


def install() -> None:
    """Let every connection of this process be closed before its loop, or the process, ends; later calls do nothing."""
    global _installed
    if _installed:
        return
    _installed = True
    make_policy()
    LoopState.install(_Process())
    open_with(open_socket)
    atexit.register(_at_exit)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=forks.in_child)


class _Process:
    """What the connections of loops need of this package: see aio.loopstate.Process."""

    def changed(self, state: LoopState) -> None:
        loops.guard(state)
        termination.update()

    def stopped_by_signals(self, loop: AbstractEventLoop, stop: Callable[[], object]) -> AbstractContextManager[None]:
        return calling(partial(loops.call_in, loop, stop), SIGINT, SIGTERM)


def _at_exit() -> None:
    SCRIPT.finish()
    if Switches.exit:
        loops.close_stopped()
        loops.leave_running()
        loops.wait_for_all()
    termination.finish()
    SCRIPT.exit_with_status()
