"""What options of other libraries are called here, for the error that an unknown option raises."""

from __future__ import annotations

#: Advice for both ends, and for the server alone, by the name of the option.
_BOTH = {
    "path": "a Unix socket is unix=, and the path of a URL is part of the URL",
}
_SERVER = {
    "path": "a Unix socket is unix=, and the path of a URL is what the handler finds in socket.request.path, "
    "and on_request in request.path",
}


def advice(what: str, name: str) -> str:
    """What to use instead of an option that does not exist, with a colon before it; empty if nothing is known.

    Args:
        what: the callable that was given it, such as ``serve()``.
        name: of the option.
    """
    text = (_BOTH | _SERVER if what == "serve()" else _BOTH).get(name)
    return "" if text is None else f": {text}"
