"""Authentication of clients before their handshake is accepted, as hooks for ``on_request``."""

from __future__ import annotations

import binascii
from collections.abc import Awaitable, Callable, Mapping, Sequence

from ..dom.event_target import check_not_generator
from ..model.heads import Request, Response
from ..socket.awaitables import to_run

#: Users with their passwords, or a function that returns whether a user has a password.
Credentials = Mapping[str, str] | Callable[[str, str], bool | Awaitable[bool]]

_CONTROLS = frozenset(map(chr, (*range(0x20), *range(0x7F, 0xA0))))


def basic_auth(
    credentials: Credentials, *, realm: str = "WebSocket"
) -> Callable[[Request], Awaitable[Response | None]]:
    """Return a hook for ``serve(on_request=...)`` that does HTTP Basic authentication.

    A client with the right credentials is let in, and its user is ``request.user``, in the handler
    ``socket.request.user``. All others get 401. The password is not encrypted: use TLS.

    Args:
        credentials: users with their passwords, which are copied; or a function, also a coroutine function, of a user
            and a password that returns whether they are right. A function must compare in constant time itself, as
            functions that verify password hashes do.
        realm: the name of the protected area; browsers show it.

    Returns:
        A coroutine function of a request, which returns the 401 or None. Another hook may await it.

    Raises:
        TypeError: the credentials are neither a mapping nor callable, or a user, a password or the realm is not a str.
        ValueError: a user contains a colon, a user or a password contains a control character or a lone surrogate, or
            the realm contains a double quote, a backslash, or other characters than visible ASCII and spaces.

    Source: RFC 7617, with UTF-8 as its charset.
    """
    if not isinstance(realm, str):
        raise TypeError(f"the realm must be a str, not {type(realm).__name__}")
    if not realm.isascii() or not realm.isprintable() or '"' in realm or "\\" in realm:
        raise ValueError("the realm must be visible ASCII characters and spaces, without quotes and backslashes")
    is_right = _comparison(credentials) if isinstance(credentials, Mapping) else credentials
    if not callable(is_right):
        raise TypeError(f"credentials are a mapping or a function, not a {type(credentials).__name__}")
    check_not_generator("the function that checks credentials", is_right)
    challenge = f'Basic realm="{realm}", charset="UTF-8"'

    async def authenticate(request: Request) -> Response | None:
        given = _parse_basic(request.headers.getall("Authorization", ()))
        if given is not None:
            right = is_right(*given)
            coroutine = to_run(right)
            if right if coroutine is None else await coroutine:
                request.user = given[0]
                return None
        return Response(401, "a user and a password are required\n", {"WWW-Authenticate": challenge})

    return authenticate


def _comparison(passwords: Mapping[str, str]) -> Callable[[str, str], bool]:
    from hmac import compare_digest

    for user, password in passwords.items():
        if not isinstance(user, str) or not isinstance(password, str):
            raise TypeError("users and passwords must be str")
        if ":" in user or not _CONTROLS.isdisjoint(user + password):
            raise ValueError(f"the user {user!a} has a colon, or its name or password a control character")
        user.encode()  # raises UnicodeEncodeError: no client can send a lone surrogate in UTF-8
    known = {user: password.encode() for user, password in passwords.items()}

    def is_right(user: str, password: str) -> bool:
        given = password.encode()
        # An unknown user takes as long as a wrong password.
        same = compare_digest(known.get(user, b""), given)
        return same and user in known

    return is_right


def _parse_basic(values: Sequence[str]) -> tuple[str, str] | None:
    """Return the user and the password; None unless there is one Authorization header, and it is well-formed."""
    if len(values) != 1:
        return None
    scheme, _, encoded = values[0].partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = binascii.a2b_base64(encoded.strip(" ").encode("ascii"), strict_mode=True).decode()
    except ValueError:
        return None
    # "The user-id and password MUST NOT contain any control characters": the user may be logged.
    user, colon, password = text.partition(":")
    return (user, password) if colon and _CONTROLS.isdisjoint(text) else None
