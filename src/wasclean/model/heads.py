"""HTTP requests and responses as data, and the syntax of their headers (RFC 9110, RFC 9112).

Nothing here reads from the network: opening/readers.py makes a Request or a Response from the bytes of HTTP/1.1, and
any other source, such as HTTP/2 or another server's scope, makes one by its constructor.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import TYPE_CHECKING

from .cookies import parse_cookies

if TYPE_CHECKING:  # imported by the functions that need it, because it takes as long as ten of our own files
    from multidict import CIMultiDict, CIMultiDictProxy, MultiDictProxy

#: Headers as callers give them. A name may occur more than once in pairs and in a multidict.
Headers = Mapping[str, str] | Iterable[tuple[str, str]] | None

#: The characters of a token (RFC 9110 section 5.6.2).
TCHARS = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


def is_token(text: str) -> bool:
    """True if the text is a token, as names of headers, methods and subprotocols are (RFC 9110 section 5.6.2)."""
    return text != "" and TCHARS.issuperset(text)


def is_visible(text: str) -> bool:
    """True if the text consists of visible ASCII characters and spaces."""
    return text.isascii() and text.isprintable()


def list_elements(values: Iterable[str]) -> list[str]:
    """Return the elements of a comma-separated list that may extend over several header lines, without empty ones.

    Source: RFC 9110 section 5.6.1.
    """
    elements = [element.strip(" \t") for value in values for element in value.split(",")]
    return [element for element in elements if element]


def contains_token(values: Iterable[str], token: str) -> bool:
    """True if a comma-separated list contains the token, compared without regard to case.

    Args:
        values: the header lines of the list.
        token: in lower case.
    """
    return token in [element.lower() for element in list_elements(values)]


def header_items(headers: Headers) -> list[tuple[str, str]]:
    """Return the headers as pairs, in order, after checking that they can be sent.

    Raises:
        TypeError: they are neither a mapping nor pairs, or a name or a value is not a str.
        ValueError: a name is not a token, or a value contains a character that must not travel in a header: a control
            character such as CR, LF or NUL, or a character outside ASCII.
    """
    if headers == () or headers is None:  # as is usual
        return []
    # A str is an iterable of characters, and each str of two characters looks like a pair.
    if isinstance(headers, (str, bytes)) or not isinstance(headers, Iterable):
        raise TypeError(
            f"headers must be a mapping or pairs, such as {{'Name': 'value'}}, not {type(headers).__name__}"
        )
    # A multidict's items() has every occurrence of a name.
    items = list(headers.items() if isinstance(headers, Mapping) else headers)
    for item in items:
        if not isinstance(item, (tuple, list)) or len(item) != 2:
            raise TypeError("headers must be pairs of a name and a value: ('Name', 'value')")
        name, value = item
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"headers must be str, not {type(name).__name__}: {type(value).__name__}")
        if not is_token(name):
            raise ValueError(f"{name!a} cannot be the name of a header")
        if not is_visible(value):
            raise ValueError(f"the header {name} must be visible ASCII characters and spaces: encode all else")
    return items


def write_head(first_line: str, headers: Headers) -> bytes:
    """Return the bytes of an HTTP/1.1 head, including its blank line.

    Args:
        first_line: a request line or a status line.
        headers: in the order in which they are sent.

    Raises:
        TypeError: a header is not a str.
        ValueError: the line or a header contains a character that must not travel there.
    """
    if not is_visible(first_line):
        raise ValueError(f"{first_line!a} must be visible ASCII characters and spaces")
    return join_lines([first_line, *(f"{name}: {value}" for name, value in header_items(headers))])


def join_lines(lines: Iterable[str]) -> bytes:
    """Return the bytes of a head, including its blank line, from lines that have been checked already."""
    return "\r\n".join((*lines, "", "")).encode("ascii")


def split_target(target: str) -> tuple[str | None, str]:
    """Return the authority of a target in absolute form (RFC 9112 section 3.2.2), else None; and the path and query."""
    scheme, found, rest = target.partition("://")
    if not found or scheme.lower() not in ("http", "https"):
        return None, target
    end = min(index for index in (rest.find("/"), rest.find("?"), len(rest)) if index >= 0)
    target = rest[end:]
    return rest[:end], target if target.startswith("/") else "/" + target


class Request:
    """A client's request, read-only except for ``remote`` and ``user``.

    The method, the target and the headers are kept as one str, because most connections never look at them once they
    are open: separate objects take four times the memory.

    Args:
        method: such as ``GET``.
        target: the request target as sent, in origin form (``/path?query``), absolute form, or another.
        headers: in the order in which they were sent; characters above U+007F stand for bytes, decoded as Latin-1.
        version: of HTTP, such as ``1.1``.
        remote: see below.
        user: see below.

    Attributes:
        remote: the client's address, as known to the host that accepted the connection; None if it is not known.
        user: the authenticated user, as set by ``on_request``; None if there is none.

    Raises:
        TypeError: a part is not a str.
        ValueError: a part contains a line feed, or the headers are not pairs.
    """

    __slots__ = ("_text", "_unread", "remote", "user")

    def __init__(
        self,
        method: str,
        target: str,
        headers: Headers = (),
        *,
        version: str = "1.1",
        remote: object | None = None,
        user: str | None = None,
    ) -> None:
        items = list(headers.items() if isinstance(headers, Mapping) else headers or ())
        self._text = "\n".join((method, target, version, *chain.from_iterable(items)))
        if self._text.count("\n") != 2 + 2 * len(items):
            raise ValueError("the headers of a request must be pairs, and no part of it may contain a line feed")
        self._unread: list[tuple[str, str]] | None = items  # until the first access to the headers
        self.remote = remote
        self.user = user

    @property
    def method(self) -> str:
        """The method, such as ``GET``."""
        return self._text.partition("\n")[0]

    @property
    def version(self) -> str:
        """The HTTP version: ``1.1`` or ``1.0``."""
        return self._text.split("\n", 3)[2]

    @property
    def target(self) -> str:
        """The path and query, taken out of an absolute-form target. ``*`` and ``host:port`` are as sent."""
        return split_target(self._text.split("\n", 2)[1])[1]

    @property
    def authority(self) -> str | None:
        """The ``host:port`` of a target in absolute form (RFC 9112 section 3.2.2); None in the usual origin form."""
        return split_target(self._text.split("\n", 2)[1])[0]

    @property
    def path(self) -> str:
        """The target before its first ``?``, still percent-encoded."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """The target after its first ``?``, still percent-encoded; empty if there is none."""
        return self.target.partition("?")[2]

    @property
    def host(self) -> str:
        """The Host header; empty if there is none."""
        return self.headers.get("Host", "")

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        """The headers, in a new multidict at each access. Bytes outside ASCII are decoded as Latin-1."""
        import multidict  # nothing from it: it is a package, where that takes as long as the rest of this

        items, self._unread = self._unread, None
        if items is None:
            parts = iter(self._text.split("\n")[3:])
            items = list(zip(parts, parts, strict=True))
        return multidict.CIMultiDictProxy(multidict.CIMultiDict(items))

    @property
    def cookies(self) -> MultiDictProxy[str]:
        """The cookies, in a new multidict at each access; of equal names the one for the longest path comes first."""
        from multidict import MultiDict, MultiDictProxy

        return MultiDictProxy(MultiDict(parse_cookies(self.headers.getall("Cookie", ()))))

    def __repr__(self) -> str:
        # Only the path: queries, headers and the authority can contain secrets.
        return f"<Request {self.method} {self.path!r}>"


class Response:
    """A server's answer.

    Args:
        status: 100 to 999.
        body: a str is sent as UTF-8, with the type text/plain unless the headers give another.
        headers: Content-Length and Connection are added when the answer is sent.
        reason: the reason phrase; by default the usual one of the status.

    Attributes:
        status: the status code.
        reason: the reason phrase, possibly empty.
        headers: the headers, which may be changed until the answer is sent.
        body: bytes; of a received answer at most the first 64 KiB.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: the status is out of range, or the reason or a header contains a character that must not travel
            there.
    """

    __slots__ = ("body", "headers", "reason", "status")

    def __init__(
        self, status: int, body: str | bytes = b"", headers: Headers = None, reason: str | None = None
    ) -> None:
        if isinstance(status, bool) or not isinstance(status, int):
            raise TypeError(f"an HTTP status must be an int, not {type(status).__name__}")
        if not 100 <= status <= 999:
            raise ValueError(f"an HTTP status is 100 to 999, not {status}")
        if not isinstance(body, str | bytes):
            raise TypeError(f"the body must be str or bytes, not {type(body).__name__}")
        if reason is not None and not isinstance(reason, str):
            raise TypeError(f"the reason phrase must be a str, not {type(reason).__name__}")
        if reason is not None and not is_visible(reason):
            raise ValueError("the reason phrase must be visible ASCII characters and spaces")
        from multidict import CIMultiDict

        self.status = int(status)
        self.reason = _reason(self.status) if reason is None else reason
        self.headers: CIMultiDict[str] = CIMultiDict(header_items(headers))
        if isinstance(body, str):
            body = body.encode()
            self.headers.setdefault("Content-Type", "text/plain; charset=utf-8")
        self.body = body

    def serialize(self, *, head_only: bool = False) -> bytes:
        """Return the bytes of the answer, which announces that the connection closes after it.

        Args:
            head_only: leave the body out, as the answer to a HEAD request must; Content-Length stays.

        Raises:
            TypeError: a header is not a str.
            ValueError: the status is below 200, the reason or a header contains a character that must not travel
                there, or there is a Transfer-Encoding: the body has a Content-Length.
        """
        if self.status < 200:
            raise ValueError(
                f"the status {self.status} ends no request: return None to accept a WebSocket, or a status from 200 on"
            )
        headers = self.headers.copy()
        if "Transfer-Encoding" in headers:
            raise ValueError("the header Transfer-Encoding cannot be set: the body is sent with its Content-Length")
        headers.popall("Content-Length", None)
        body = self.body
        if self.status in (204, 304):
            body = b""  # RFC 9110 section 6.4.1: these have none
        else:
            if body:
                headers.setdefault("Content-Type", "application/octet-stream")
            headers["Content-Length"] = str(len(body))
        if not contains_token(headers.getall("Connection", ()), "close"):
            headers.add("Connection", "close")
        head = write_head(f"HTTP/1.1 {self.status} {self.reason}", headers)
        return head if head_only else head + body

    def __repr__(self) -> str:
        return f"<Response {self.status} {self.reason!a}>"


def _reason(status: int) -> str:
    from http import HTTPStatus  # only answers without a phrase of their own need it

    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
