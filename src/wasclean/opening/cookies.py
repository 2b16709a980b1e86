"""The cookies that a client sends."""

from __future__ import annotations

from collections.abc import Iterable


def parse_cookies(values: Iterable[str]) -> list[tuple[str, str]]:
    """The names and values of cookies, in the order in which they were sent. What has no name is left out.

    Nothing that a client sends is an error. Names keep their case, values what they are encoded with; only a pair of
    double quotes around a value goes. http.cookies is no help: it is made for what servers send, takes a cookie named
    ``path`` for an attribute, gives up at the first character that it does not like, and takes quadratic time for
    backslashes in older versions of Python.

    Args:
        values: the Cookie headers; each has pairs with semicolons between them.

    Source: RFC 6265 sections 4.2.1 and 5.4, whose order puts the cookies with the longest path first.
    """
    cookies = []
    for value in values:
        for pair in value.split(";"):
            name, equals, content = pair.partition("=")
            # No other white space: browsers protect names like __Host-id, but not those with a no-break space before.
            name, content = name.strip(" \t"), content.strip(" \t")
            if equals and name:
                quoted = len(content) > 1 and content[0] == content[-1] == '"'
                cookies.append((name, content[1:-1] if quoted else content))
    return cookies
