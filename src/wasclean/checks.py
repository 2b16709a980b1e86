"""Checks of options and arguments.

A check takes the name of an option and a value, and returns the value in its final form. It raises TypeError or
ValueError, with a message that begins with the name.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from .dom.event_target import check_not_generator
from .dom.exceptions import InvalidAccessError
from .model.registry import CloseCode, Role, may_be_sent
from .wire.deflate import Deflate

if TYPE_CHECKING:
    from ssl import SSLContext

T = TypeVar("T")

Check = Callable[[str, Any], T]

#: Bytes of the longest path of a Unix socket: the size of sockaddr_un's sun_path, less one for the NUL at its end.
MAX_UNIX_PATH = 107 if sys.platform == "linux" else 103

#: The first number that is too large for a limit or a time.
_TOO_LARGE = 1 << 63

_CREATE = {
    Role.CLIENT: "make one with ssl.create_default_context()",
    Role.SERVER: "make one with ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)",
}


def optional(check: Check[T]) -> Check[T | None]:
    """Return a check that also accepts None."""
    return lambda name, value: None if value is None else check(name, value)


def a_bool(name: str, value: object) -> bool:
    """Accept True and False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {type(value).__name__}")
    return value


def an_int(least: int, most: int) -> Check[int]:
    """Return a check that accepts an int from ``least`` to ``most``, and no bool."""

    def check(name: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} must be an int, not {type(value).__name__}")
        if not least <= value <= most:
            raise ValueError(f"{name} must be from {least} to {most}, not {int(value)}")
        return value

    return check


def positive(name: str, value: object) -> float:
    """Accept a positive number."""
    number = _number(name, value, "a number")
    if not 0 < number < _TOO_LARGE:  # false for NaN
        raise ValueError(f"{name} must be positive and below 2**63, not {number}")
    return number


def positive_int(name: str, value: object) -> int:
    """Accept a positive int."""
    number = positive(name, value)
    if not isinstance(number, int):
        raise TypeError(f"{name} must be a whole number, an int, not {number}")
    return number


def seconds(name: str, value: object) -> float:
    """Accept a number of seconds, 0 included."""
    number = _number(name, value, "a number of seconds")
    if not 0 <= number < _TOO_LARGE:  # false for NaN
        raise ValueError(f"{name} must be a number of seconds, 0 or more and below 2**63, not {number}")
    return number


def _number(name: str, value: object, kind: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be {kind}, not {type(value).__name__}")
    return value


def a_callable(name: str, value: object) -> Any:
    """Accept a callable that is no generator function."""
    if not callable(value):
        raise TypeError(f"{name} must be callable, not {type(value).__name__}")
    check_not_generator(name, value)
    return value


def a_str(name: str, value: object) -> str:
    """Accept a str."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")
    return value


def header_value(name: str, value: object) -> str:
    """Accept a str of visible ASCII characters and spaces, which can be the value of a header."""
    text = a_str(name, value)
    if not text or not text.isascii() or not text.isprintable():
        raise ValueError(f"{name} must be visible ASCII characters, at least one, not {text!a}")
    return text


def host_name(name: str, value: object) -> str:
    """Accept a host name or an IP address, without brackets, that a certificate can be checked against."""
    text = a_str(name, value)
    if not _is_address(text):
        encoded = _to_ascii(text)
        if not encoded or encoded[0] == "." or not all(char.isalnum() or char in "-._" for char in encoded):
            raise ValueError(f"{name} must be a host name or an address, without port and brackets, not {text!a}")
    return text


def hosts(name: str, value: object) -> str | list[str]:
    """Accept one host to listen on, or several."""
    if isinstance(value, str):
        return _listening_host(name, value)
    if isinstance(value, int):
        raise TypeError(f"{name} must be a str: it comes before the port, serve(handler, 'localhost', {value})")
    if isinstance(value, (bytes, bytearray)) or not isinstance(value, Iterable):
        raise TypeError(f"{name} must be a str or several, not {type(value).__name__}")
    several = [_listening_host(name, each) for each in value]
    if not several:
        raise ValueError(f"{name} must be one host at least; None listens on all interfaces")
    return several


def unix_path(name: str, value: Any) -> str:
    """Accept the path of a Unix socket, or an abstract name, which begins with NUL; return a str."""
    try:
        path = os.fsencode(value)
    except TypeError:
        kind = type(value).__name__
        raise TypeError(f"{name} must be the path of a Unix socket, a str, bytes or os.PathLike, not {kind}") from None
    if not hasattr(socket, "AF_UNIX"):
        raise ValueError(f"{name} can't be used: this system has no Unix sockets")
    if not path or b"\0" in path[1:]:
        raise ValueError(f"{name} must be the path of a Unix socket, not {os.fsdecode(path)!a}")
    if len(path) > MAX_UNIX_PATH:
        raise ValueError(
            f"{name}: the path of a Unix socket has at most {MAX_UNIX_PATH} bytes, this one has {len(path)};"
            " use a shorter one, such as a relative path"
        )
    return os.fsdecode(path)


def listening_sockets(name: str, value: Any) -> tuple[Any, ...]:
    """Accept one socket to listen on, or several."""
    sockets = tuple(value) if isinstance(value, Iterable) else (value,)
    for each in sockets:
        if not isinstance(each, socket.socket):
            raise TypeError(f"{name} must be a socket.socket, or a list of them, not {type(each).__name__}")
        if each.type != socket.SOCK_STREAM:
            raise ValueError(f"{name} must be a stream socket (SOCK_STREAM), not {each.type!r}")
        if each.fileno() < 0:
            raise ValueError(f"{name} must be an open socket, and it is closed")
        if _is_connected(each):
            raise ValueError(f"{name} must be a socket to listen on, and it is connected")
    if not sockets:
        raise ValueError(f"{name} must be one socket at least")
    if len({each.fileno() for each in sockets}) < len(sockets):
        raise ValueError(f"{name} must have each socket once")
    return sockets


def _is_connected(connection: socket.socket) -> bool:
    try:
        connection.getpeername()
    except OSError:
        return False
    return True


def may_reuse_port(name: str, value: object) -> bool:
    """Accept a bool, and True only if the system has SO_REUSEPORT."""
    if a_bool(name, value) and not hasattr(socket, "SO_REUSEPORT"):
        raise ValueError(f"{name} can't be used: this system has no SO_REUSEPORT")
    return bool(value)


def tls_context(role: Role) -> Check[SSLContext]:
    """Return a check that accepts a TLS context for one end of a connection."""

    def check(name: str, value: Any) -> SSLContext:
        from ssl import PROTOCOL_TLS_CLIENT, PROTOCOL_TLS_SERVER, SSLContext  # few programs have TLS options

        if not isinstance(value, SSLContext):
            raise TypeError(f"{name} must be an ssl.SSLContext, not {type(value).__name__}: {_CREATE[role]}")
        wrong = PROTOCOL_TLS_SERVER if role is Role.CLIENT else PROTOCOL_TLS_CLIENT
        if value.protocol == wrong:
            other = Role.SERVER if role is Role.CLIENT else Role.CLIENT
            raise ValueError(f"{name} is a context for {other.value}s, and this is a {role.value}: {_CREATE[role]}")
        return value

    return check


def compressions(name: str, value: Any) -> tuple[Deflate, ...]:
    """Accept the ways to compress messages: ``"deflate"``, a Deflate, several, or None for no compression."""
    if value is None:
        return ()
    if value == "deflate":
        return (Deflate(),)
    deflates: tuple[Any, ...]
    if isinstance(value, Deflate):
        deflates = (value,)
    else:
        deflates = tuple(value) if isinstance(value, (list, tuple)) else ()
    if not deflates or not all(isinstance(deflate, Deflate) for deflate in deflates):
        raise TypeError(f"{name} must be 'deflate', a Deflate, a list of some, or None, not {value!r}")
    return deflates


def one_compression(name: str, value: Any) -> Deflate | None:
    """Accept the one way in which a server compresses messages, or None."""
    deflates = compressions(name, value)
    if len(deflates) > 1:
        raise ValueError(f"{name} must be one: a server has one compression, for the clients' offers decide")
    return deflates[0] if deflates else None


def close_code(code: object) -> int:
    """Return a close code that a Close frame may carry.

    Raises:
        TypeError: the code is not an int.
        InvalidAccessError: the code must not be sent.
    """
    number = _code(code)
    if not may_be_sent(number):
        raise InvalidAccessError(f"the close code {number} must not be sent (RFC 6455 section 7.4)")
    return number


def page_close_code(code: object) -> int:
    """Return a close code that JavaScript may send; raises as close_code().

    Source: WHATWG WebSockets, "The close(code, reason) method steps".
    """
    number = _code(code)
    if number != CloseCode.NORMAL_CLOSURE and not 3000 <= number <= 4999:
        raise InvalidAccessError(f"the close code must be 1000 or from 3000 to 4999, not {number}")
    return number


def _code(code: object) -> int:
    if isinstance(code, bool) or not isinstance(code, int):
        raise TypeError(f"the close code must be an int, not {type(code).__name__}")
    return int(code)


def _listening_host(name: str, value: object) -> str:
    text = a_str(name, value)
    if text and not (_to_ascii(text.partition("%")[0]) or _is_address(text)):
        raise ValueError(f"{name} must be a name or an address of this machine, not {text!a}")
    return text


def _is_address(text: str) -> bool:
    from ipaddress import ip_address

    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _to_ascii(text: str) -> str:
    """Return a host name in the form that is looked up; empty if it has none."""
    if "\0" in text:
        return ""
    try:
        return text.encode("idna").decode("ascii")
    except UnicodeError:
        return ""
