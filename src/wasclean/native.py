"""Low-level helpers: Python for the pure build. Compiled modules use the C versions in native.pxd."""

from collections.abc import Callable, Coroutine
from contextvars import Context
from threading import get_ident
from typing import Any

__all__ = ["call", "get_ident", "is_unshared", "sign", "step", "stop_iteration"]


def is_unshared(thing: object) -> bool:
    """True if the caller holds the only reference. Always False in the pure build, which cannot tell."""
    return False


def stop_iteration(value: Any) -> None:
    """End ``__next__()`` with a value.

    The C version sets the exception and returns, which saves the cost of a traceback. The caller follows it with a bare
    ``raise StopIteration``: in ``__next__()`` Cython compiles that to a return, and the exception stays set.

    Raises:
        StopIteration: its value is the argument.
    """
    raise StopIteration(value)


def call(function: Callable[[Any], Any], argument: Any, context: Context) -> Any:
    """Call a function in a context; in the current one if the context is already entered, as by a nested loop.

    Raises:
        BaseException: any exception of the function.
    """
    try:
        context.run(_do_nothing)
    except RuntimeError:
        return function(argument)
    return context.run(function, argument)


def sign(cls: type, signature: str) -> None:
    """Add the signature of the constructor to the docstring of a compiled class, for help() and inspect.

    Without effect in the pure build, where inspect finds the signature itself.

    Args:
        cls: the compiled class.
        signature: the text of the signature, including its parentheses.
    """


def step(coroutine: Coroutine[Any, Any, Any], context: Context) -> Any:
    """Advance a coroutine by one step in a context, and return the object that it yields.

    Raises:
        StopIteration: the coroutine has returned; ``value`` is its result.
        BaseException: any exception of the coroutine.
    """
    return context.run(coroutine.send, None)


def _do_nothing() -> None:
    pass
