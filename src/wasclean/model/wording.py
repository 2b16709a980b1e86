"""Formatting helpers for messages: names of the two ends, numbers with units, excerpts of foreign text."""

from __future__ import annotations

from textwrap import fill

from .registry import Role

WIDTH = 79  # columns; a longer word exceeds it
MAX_DETAIL = 300  # characters of a text of the peer or the system, as shown()
MAX_EXCERPT = 100  # characters of a part of such a text, such as a header, as excerpt()


def say(role: Role, template: str, **values: str) -> str:
    """Format a template with values, and with the names of both ends as ``{us}``, ``{peer}`` and ``{server}``.

    A capital letter, as in ``{Us}``, gives the name with a capital letter, for the beginning of a sentence.
    """
    us, peer = ("this client", "the server") if role is Role.CLIENT else ("this server", "the client")
    names = {"us": us, "peer": peer, "server": us if role is Role.SERVER else peer}
    return template.format(**names, **{key.capitalize(): name.capitalize() for key, name in names.items()}, **values)


def wrap(text: str) -> str:
    """Break a text into lines of at most WIDTH columns, between words."""
    return fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def shown(text: str) -> str:
    """Return a foreign text in one line, cut after MAX_DETAIL characters, and without a full stop at its end."""
    return excerpt(one_line(text).strip(" ."), MAX_DETAIL)


def excerpt(text: str, most: int = MAX_EXCERPT) -> str:
    """Return the first ``most`` characters of a text in one line, with "..." if it is longer."""
    text = one_line(text[: most + 1])
    return text if len(text) <= most else text[:most] + "..."


def text_of(exception: BaseException) -> str:
    """Return ``str()`` of an exception; an empty str if that fails."""
    try:
        return str(exception)
    except Exception:  # the exception may be of any class, with any __str__()
        return ""


def repr_of(exception: BaseException) -> str:
    """Return ``repr()`` of an exception; the name of its class if that fails."""
    try:
        return repr(exception)
    except Exception:  # the exception may be of any class, with any __repr__()
        return f"<{type(exception).__name__}>"


def not_utf8(error: UnicodeDecodeError, size: int) -> str:
    """Describe the bytes that are not UTF-8, and their offset in a text.

    Args:
        error: the error; the bytes that it is about may be only the end of the text.
        size: the length of the whole text, in bytes.
    """
    place = size - len(error.object) + error.start
    octets = error.object[error.start : error.end]
    return f"{octets.hex(' ')} at offset {place:,} ({error.reason})"


def listed(words: list[str]) -> str:
    """Join words: ``a, b and c``."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


# A number and its unit are joined by a no-break space, so that wrap() does not separate them. explain() replaces it.


def seconds_text(seconds: float) -> str:
    """Format a duration: ``3 ms``, ``60.1 s``, ``2 h``."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f}\xa0ms" if seconds >= 0.0005 else "less than 1\xa0ms"
    if seconds < 600:
        return f"{seconds:.1f}".removesuffix(".0") + "\xa0s"
    if seconds < 7200:
        return f"{seconds / 60:.0f}\xa0min"
    if seconds < 172_800:
        return f"{seconds / 3600:.1f}".removesuffix(".0") + "\xa0h"
    return f"{seconds / 86_400:,.0f}\xa0days"


def bytes_text(number: int) -> str:
    """Format a size: ``12 bytes``, ``2.1 MB``."""
    if number < 10_000:
        return count(number, "byte")
    amount, unit = (number / 1000, "KB") if number < 999_950 else (number / 1_000_000, "MB")
    return f"{amount:,.1f}".removesuffix(".0") + f"\xa0{unit}"


def count(number: int, noun: str) -> str:
    """Format a number of things: ``1 message``, ``2,000 messages``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def one_line(text: str) -> str:
    """Escape line ends, control and other unprintable characters, so that a log or a terminal shows one line."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
