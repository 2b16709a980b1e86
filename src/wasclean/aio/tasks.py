"""Tasks in the context of a connection."""

from __future__ import annotations

from asyncio import AbstractEventLoop, Task
from collections.abc import Coroutine
from contextvars import Context
from typing import Any


def create_task(loop: AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], context: Context) -> Task[Any]:
    """Return a task that runs in the context, or in a copy of it if the loop's task factory takes no context."""
    try:
        return loop.create_task(coroutine, context=context)
    except TypeError:
        return context.run(loop.create_task, coroutine)
