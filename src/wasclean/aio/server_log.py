"""The log of servers."""

from __future__ import annotations

import logging
from asyncio import get_running_loop

logger = logging.getLogger("wasclean.server")


def log(level: int, message: str, *args: object, exc_info: BaseException | None = None) -> None:
    """Write to the log. If a logging handler fails, report that to the loop: the connection must go on regardless."""
    try:
        logger.log(level, message, *args, exc_info=exc_info)
    except Exception as error:
        get_running_loop().call_exception_handler({"message": "exception in a logging handler", "exception": error})
