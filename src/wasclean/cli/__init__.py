"""The program ``wasclean``.

    app        its command line                     (click)
    show       what it prints                       (rich)
    demo       the demo: the article's example, then one scenario for each close code, compared with EXPECTED
    scenarios  what happens in each scenario
    stage      where it happens: the server, and a broken proxy

Only the first two need the extra ``cli``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

#: The packages of the extra ``cli``.
_EXTRA = frozenset({"click", "rich"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program.

    Args:
        arguments: those of the command line by default.

    Returns:
        The exit status: 2 when the arguments are wrong, or click or rich is missing.
    """
    try:
        from .app import run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        print(
            f"wasclean: {error.name} is not installed; it belongs to the extra: pip install 'wasclean[cli]'",
            file=sys.stderr,
        )
        return 2
    return run(arguments)
