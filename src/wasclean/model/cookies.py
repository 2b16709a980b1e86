"""The Cookie header of a request (RFC 6265)."""

from __future__ import annotations

from collections.abc import Iterable


def parse_cookies(values: Iterable[str]) -> list[tuple[str, str]]:
    """Return the names and values of cookies, in the order in which they were sent. A pair without a name is dropped.

    No input is an error. Names keep their case and values their encoding; only a pair of double quotes around a value
    is removed. http.cookies parses the Set-Cookie headers of servers and cannot be used here: it takes a cookie named
    ``path`` for an attribute, stops at the first character that it does not accept, and in older versions of Python
    takes quadratic time for backslashes.

    Args:
        values: the Cookie headers; each holds pairs separated by semicolons.

    Source: RFC 6265 sections 4.2.1 and 5.4. The cookies with the longest path come first.
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
