"""A forked process: it has copies of connections that stay its parent's, and none of its parent's other threads.

The epolls of its copies of loops are not copies, but its parent's: the child must not remove anything from them. So it
closes its descriptors of what the parent's loop watches for us first, for the kernel refuses to remove a descriptor
that is not open. What a loop watches for itself, such as the pipe that wakes it, is asyncio's business.
"""

from __future__ import annotations

import signal

from ..aio import poller
from ..aio.loopstate import LoopState
from . import background, loops, signals, termination
from .switches import Switches


def in_child() -> None:
    """Leave everything to the parent."""
    signals.in_child()
    termination.in_child()
    loops.in_child()
    background.in_child()
    if Switches.forks:
        for loop, state in LoopState.all():
            if state.is_open or state.servers:
                signal.set_wakeup_fd(-1)  # the loop's: the parent's loop would hear of our signals
                poller.disown(loop)
                state.disown()
