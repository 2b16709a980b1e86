"""Options of wasclean's servers."""

from __future__ import annotations

import sys

from bench.endpoint import Settings
from wasclean import Deflate


def compression(settings: Settings) -> Deflate | None:
    """Return the option ``compression``; disable zlib-ng if the settings say so."""
    if not settings.deflate:
        return None
    if not settings.zlib_ng:
        sys.modules["zlib_ng"] = None  # type: ignore[assignment]  # an import of it fails
    return Deflate(level=settings.level, mem_level=settings.mem_level, threshold=0, required=True)
