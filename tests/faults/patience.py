"""Waiting for conditions outside the event loop: in a thread, another process, or the kernel."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

#: Limit for waits that are not themselves under test, in seconds. It only ends a hang, even on a busy machine.
PATIENCE = 60.0

#: Value of a timeout that must not expire, in seconds. A test that waits for it has failed after PATIENCE before.
NEVER = 600.0


async def until(condition: Callable[[], object], what: str = "it", within: float = PATIENCE) -> None:
    """Run the event loop until a condition is true.

    Raises:
        TimeoutError: it is not true after ``within`` seconds; the message contains ``what``.
    """
    end = monotonic() + within
    while not condition():
        if monotonic() > end:
            raise TimeoutError(f"waited {within:g} s for {what}")
        await asyncio.sleep(0.001)
