"""What compiled modules leave to C, as functions of Python's for the pure build; native.pxd has the others."""

from threading import get_ident
from typing import Any

__all__ = ["get_ident", "is_unshared", "stop_iteration"]


def is_unshared(thing: object) -> bool:
    """Whether nobody but the caller refers to it, from one variable; False where that can't be told, as in Python."""
    return False


def stop_iteration(value: Any) -> None:
    """End ``__next__()`` with a value.

    The compiled build returns, and has only set the exception: without a traceback, which would take as long as all
    else. A ``raise StopIteration`` behind the call lets it go.

    Raises:
        StopIteration: with the value.
    """
    raise StopIteration(value)
