"""Checks of options and arguments: each takes a name and a value, and returns the value in its final form."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from .dom.events import check_not_generator
from .dom.exceptions import InvalidAccessError
from .model.registry import CloseCode, Role, may_be_sent
from .wire.deflate import Deflate

if TYPE_CHECKING:
    from ssl import SSLContext

#: Takes the name of an option and its value. Raises TypeError or ValueError, with a message that begins with the name.
Check = Callable[[str, Any], Any]

#: Bytes that the path of a Unix socket may have: those of sockaddr_un's sun_path, but for the NUL at its end.
MAX_UNIX_PATH = 107 if sys.platform == "linux" else 103

_CREATE = {
    Role.CLIENT: "make one with ssl.create_default_context()",
    Role.SERVER: "make one with ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)",
}


def optional(check: Check) -> Check:
    """The same check, which lets None pass."""
    return lambda name, value: None if value is None else check(name, value)


def a_bool(name: str, value: object) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {type(value).__name__}")
    return value


def an_int(least: int, most: int) -> Check:
    """An int within bounds; a bool is none."""

    def check(name: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} must be an int, not {type(value).__name__}")
        if not least <= value <= most:
            raise ValueError(f"{name} must be from {least} to {most}, not {int(value)}")
        return value

    return check


def seconds(name: str, value: object) -> float:
    """A number of seconds, maybe 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number of seconds, not {type(value).__name__}")
    if not 0 <= value < 1 << 63:  # NaN is in no range
        raise ValueError(f"{name} must be a number of seconds, 0 or more and below 2**63, not {value}")
    return value


def a_callable(name: str, value: object) -> Any:
    """A function, or anything else that can be called."""
    if not callable(value):
        raise TypeError(f"{name} must be callable, not {type(value).__name__}")
    check_not_generator(name, value)
    return value


def a_str(name: str, value: object) -> str:
    """A str."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")
    return value


def header_value(name: str, value: object) -> str:
    """A str that may be the value of a header."""
    text = a_str(name, value)
    if not text or not text.isascii() or not text.isprintable():
        raise ValueError(f"{name} must be visible ASCII characters, at least one, not {text!a}")
    return text


def host_name(name: str, value: object) -> str:
    """A name, or an address without brackets, that a certificate can be checked against."""
    text = a_str(name, value)
    if not _is_address(text):
        encoded = _to_ascii(text)
        if not encoded or encoded[0] == "." or not all(char.isalnum() or char in "-._" for char in encoded):
            raise ValueError(f"{name} must be a host name or an address, without port and brackets, not {text!a}")
    return text


def hosts(name: str, value: object) -> str | list[str]:
    """A host to listen on, or several."""
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
    """The path of a Unix socket; one that begins with NUL is an abstract name."""
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
    """Sockets that a server can listen on: one of Python's, or several."""
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
    """A bool, True only where the system can do it."""
    if a_bool(name, value) and not hasattr(socket, "SO_REUSEPORT"):
        raise ValueError(f"{name} can't be used: this system has no SO_REUSEPORT")
    return bool(value)


def tls_context(role: Role) -> Check:
    """A TLS context for that side of a connection."""

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


def compression(name: str, value: Any) -> tuple[Deflate, ...]:
    """The kinds of compression that the option means."""
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
    for deflate in deflates:
        deflate.check()
    return deflates


def one_compression(name: str, value: Any) -> Deflate | None:
    """The same for a server."""
    deflates = compression(name, value)
    if len(deflates) > 1:
        raise ValueError(f"{name} must be one: a server has one compression, for the clients' offers decide")
    return deflates[0] if deflates else None


def close_code(code: object) -> int:
    """A close code that may be on the wire.

    Raises:
        TypeError: not an int.
        InvalidAccessError: it must not be sent.
    """
    number = _code(code)
    if not may_be_sent(number):
        raise InvalidAccessError(f"the close code {number} must not be sent (RFC 6455 section 7.4)")
    return number


def page_close_code(code: object) -> int:
    """A close code that a page may send; raises as close_code().

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
    """A host name as it is looked up; empty if it can't be."""
    if "\0" in text:
        return ""
    try:
        return text.encode("idna").decode("ascii")
    except UnicodeError:
        return ""
