"""What is said of the user's code: of an exception in it, and of a step that takes long."""

from __future__ import annotations

import logging
from asyncio import AbstractEventLoop, CancelledError
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

from ..closing.errors import ConnectionClosed

logger = logging.getLogger("asyncio")  # what a loop in debug mode warns of goes there


def from_user(error: BaseException) -> BaseException:
    """The exception, with a traceback that begins at the first frame that is not of this package, if there is one."""
    traceback = error.__traceback__
    while traceback is not None and _is_ours(traceback.tb_frame.f_globals):
        traceback = traceback.tb_next
    return error if traceback is None else error.with_traceback(traceback)


def _is_ours(namespace: dict[str, Any]) -> bool:
    return str(namespace.get("__name__")).partition(".")[0] == "wasclean"


def says_end(error: BaseException, number: int) -> bool:
    """True if an exception is only the ConnectionClosed of the connection with this number, or a group of such.

    In a group, the cancellation of what the end has cancelled counts for nothing.
    """
    leaves = [leaf for leaf in _leaves(error) if leaf is error or not isinstance(leaf, CancelledError)]
    return bool(leaves) and all(
        isinstance(leaf, ConnectionClosed) and leaf.socket_id in (number, None) for leaf in leaves
    )


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The exceptions of a group, and of the groups in it; an exception that is none itself."""
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            yield from _leaves(member)
    else:
        yield error


def call_measured(
    loop: AbstractEventLoop, what: object, where: object, function: Callable[..., Any], *args: Any
) -> Any:
    """Call a function, and warn if that takes the loop's ``slow_callback_duration`` or longer: for loops in debug mode.

    The loop itself warns of the callback that reads all its connections, and can't know whose code that has called.

    Args:
        loop: in which this happens.
        what: the function, as the warning has it.
        where: the connection.
        function, args: what to call.
    """
    began = monotonic()
    try:
        return function(*args)
    finally:
        took = monotonic() - began
        if took >= getattr(loop, "slow_callback_duration", 0.1):
            logger.warning("Executing %s for %s took %.3f seconds", str(what), where, took)
