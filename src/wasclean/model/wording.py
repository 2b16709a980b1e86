"""How what is told of a connection is put: who is who, numbers with their units, and what others wrote."""

from __future__ import annotations

from textwrap import fill

from .registry import Role

WIDTH = 79  # columns of a line, where words allow
MAX_DETAIL = 300  # characters are shown of what others wrote,
MAX_EXCERPT = 100  # and of a part of that, such as a header


def say(role: Role, template: str, **values: str) -> str:
    """The template with values, and with names for ``{us}``, ``{peer}`` and whichever is the ``{server}``."""
    us, peer = ("this client", "the server") if role is Role.CLIENT else ("this server", "the client")
    names = {"us": us, "peer": peer, "server": us if role is Role.SERVER else peer}
    return template.format(**names, **{key.capitalize(): name.capitalize() for key, name in names.items()}, **values)


def wrap(text: str) -> str:
    """The text in lines."""
    return fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def shown(text: str) -> str:
    """What others wrote: not at length, and without its full stop."""
    return excerpt(one_line(text).strip(" ."), MAX_DETAIL)


def excerpt(text: str, most: int = MAX_EXCERPT) -> str:
    """So many characters of a text, and with whatever could break a line escaped."""
    text = one_line(text[: most + 1])
    return text if len(text) <= most else text[:most] + "..."


def text_of(exception: BaseException) -> str:
    """An exception's text; none if that can't be had."""
    try:
        return str(exception)
    except Exception:  # somebody's class
        return ""


def repr_of(exception: BaseException) -> str:
    """The ``repr()`` of an exception; the name of its class if that fails."""
    try:
        return repr(exception)
    except Exception:  # somebody's class
        return f"<{type(exception).__name__}>"


def not_utf8(error: UnicodeDecodeError, size: int) -> str:
    """The bytes that are not UTF-8, and their place.

    Args:
        error: it may be about the last bytes only.
        size: of the whole, in bytes.
    """
    place = size - len(error.object) + error.start
    octets = error.object[error.start : error.end]
    return f"{octets.hex(' ')} at offset {place:,} ({error.reason})"


def listed(words: list[str]) -> str:
    """Words as one says them: ``a, b and c``."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


# A line does not end between a number and its unit: there is a no-break space until the lines have been made.


def seconds_text(seconds: float) -> str:
    """A time, such as ``3 ms``, ``60.1 s`` or ``2 h``."""
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
    """A size, such as ``12 bytes`` or ``2.1 MB``."""
    if number < 10_000:
        return count(number, "byte")
    amount, unit = (number / 1000, "KB") if number < 999_950 else (number / 1_000_000, "MB")
    return f"{amount:,.1f}".removesuffix(".0") + f"\xa0{unit}"


def count(number: int, noun: str) -> str:
    """A number of things in words, such as ``1 message`` or ``2,000 messages``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def one_line(text: str) -> str:
    """The text with whatever could break a line of a log, or a terminal, escaped."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
