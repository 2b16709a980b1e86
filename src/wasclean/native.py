"""What compiled modules leave to C, as functions of Python's for the pure build; native.pxd has the others."""

from collections.abc import Callable, Coroutine
from contextvars import Context
from threading import get_ident
from typing import Any

__all__ = ["call", "get_ident", "is_unshared", "sign", "step", "stop_iteration"]


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


def call(function: Callable[[Any], Any], argument: Any, context: Context) -> Any:
    """Call a function in a context; in the current one if the context is entered already, as by a nested loop.

    Raises:
        BaseException: the function has raised that.
    """
    try:
        context.run(_do_nothing)
    except RuntimeError:
        return function(argument)
    return context.run(function, argument)


def sign(cls: type, signature: str) -> None:
    """Give a compiled class the signature of its constructor, for help() and inspect; a class of Python's has one.

    Args:
        cls: a class whose docstring it is to be added to.
        signature: with its parentheses.
    """


def step(coroutine: Coroutine[Any, Any, Any], context: Context) -> Any:
    """Let a coroutine go on in a context, and return what it yields.

    Raises:
        StopIteration: it has returned; with its value.
        BaseException: it has raised that.
    """
    return context.run(coroutine.send, None)


def _do_nothing() -> None:
    pass
