"""What a program may switch off."""

from __future__ import annotations


class Switches:
    """The switches of this process."""

    loops = True
    signals = True
    exit = True
    forks = True


def configure(
    *, loops: bool | None = None, signals: bool | None = None, exit: bool | None = None, forks: bool | None = None
) -> None:
    """Switch parts of what wasclean does to the process off, or on again; None leaves a switch as it is.

    Call it before the first connection.

    Args:
        loops: close a loop's connections with 1001 when ``asyncio.run()``, or ``loop.shutdown_asyncgens()``, ends it.
        signals: handle SIGTERM while a connection is open, and SIGINT and SIGTERM for ``serve_forever()``.
        exit: close what is open with 1001, and wait for it, when the program ends.
        forks: let forked processes leave their parent's connections alone.

    Raises:
        TypeError: a switch is not a bool.
    """
    for name, value in {"loops": loops, "signals": signals, "exit": exit, "forks": forks}.items():
        if value is not None:
            if not isinstance(value, bool):
                raise TypeError(f"{name} must be True or False, not {type(value).__name__}")
            setattr(Switches, name, value)
