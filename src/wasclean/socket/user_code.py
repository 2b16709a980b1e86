"""How the user's code is called, and its exceptions are reported: listeners, handlers, hooks, logging handlers."""

from __future__ import annotations

import logging
from asyncio import AbstractEventLoop, CancelledError
from collections.abc import Callable, Iterator
from contextvars import Context
from time import monotonic
from typing import Any

from ..closing.errors import ConnectionClosed

logger = logging.getLogger("asyncio")  # the one that event loops in debug mode write their warnings to


def run_in_copy(context: Context | None, function: Callable[..., object], *args: Any) -> None:
    """Call a function in a copy of a context, which can be entered while the context itself is; None: in no other."""
    if context is None:
        function(*args)
    else:
        context.copy().run(function, *args)


def from_user(error: BaseException) -> BaseException:
    """Return the exception, with a traceback that begins at the first frame outside this package, if there is one."""
    traceback = error.__traceback__
    while traceback is not None and _is_ours(traceback.tb_frame.f_globals):
        traceback = traceback.tb_next
    return error if traceback is None else error.with_traceback(traceback)


def _is_ours(namespace: dict[str, Any]) -> bool:
    return str(namespace.get("__name__")).partition(".")[0] == "wasclean"


def says_end(error: BaseException, id: int) -> bool:
    """Return True if an exception is only the ConnectionClosed of the connection with this id, or a group of such.

    In a group, CancelledErrors do not count: they are consequences.
    """
    leaves = [leaf for leaf in _leaves(error) if leaf is error or not isinstance(leaf, CancelledError)]
    return bool(leaves) and all(isinstance(leaf, ConnectionClosed) and leaf.socket_id in (id, None) for leaf in leaves)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield the exceptions of a group, and of the groups in it; or the exception itself if it is no group."""
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            yield from _leaves(member)
    else:
        yield error


def call_measured(
    loop: AbstractEventLoop, what: object, where: object, function: Callable[..., Any], *args: Any
) -> Any:
    """Call a function, and warn if that takes the loop's ``slow_callback_duration`` or longer: for loops in debug mode.

    The loop itself would name the callback that reads all its connections, not the code that this has called.

    Args:
        loop: the event loop.
        what: the function, as the warning names it.
        where: the connection.
        function, args: the call.
    """
    began = monotonic()
    try:
        return function(*args)
    finally:
        took = monotonic() - began
        if took >= getattr(loop, "slow_callback_duration", 0.1):
            logger.warning("Executing %s for %s took %.3f seconds", str(what), where, took)
