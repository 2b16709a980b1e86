"""The program ``wasclean``.

    app        the command line                     (click)
    show       the output                           (rich)
    demo       the demo: the article's example, then one scenario for each close code, compared with EXPECTED
    scenarios  the scenarios
    servers    the servers and the proxy that they use

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
        arguments: the arguments; by default those of the command line.

    Returns:
        The exit status: 2 if the arguments are wrong, or click or rich is missing.
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
