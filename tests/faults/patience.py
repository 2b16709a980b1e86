"""Waiting for what happens outside the event loop: in a thread, in another process, in the kernel."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

#: Seconds that anything may take which is not itself under test: this only ends a hang, however busy the machine is.
PATIENCE = 60.0

#: Seconds that a timeout gets which must not strike: a test that waits for it has failed at PATIENCE before.
NEVER = 600.0


async def until(condition: Callable[[], object], what: str = "it", within: float = PATIENCE) -> None:
    """Let the loop run until the condition holds.

    Raises:
        TimeoutError: it does not hold within so many seconds; the message says what was waited for.
    """
    end = monotonic() + within
    while not condition():
        if monotonic() > end:
            raise TimeoutError(f"waited {within:g} s for {what}")
        await asyncio.sleep(0.001)
