"""Hooks for ``on_request`` that find out who a client is, before its handshake is accepted."""

from __future__ import annotations

import binascii
from collections.abc import Awaitable, Callable, Mapping, Sequence

from ..dom.events import check_not_generator
from ..model.heads import Request, Response
from ..socket.waiting import to_run

#: Users with their passwords, or what tells whether a user and a password belong together.
Credentials = Mapping[str, str] | Callable[[str, str], bool | Awaitable[bool]]

_CONTROLS = frozenset(map(chr, (*range(0x20), *range(0x7F, 0xA0))))


def basic_auth(
    credentials: Credentials, *, realm: str = "WebSocket"
) -> Callable[[Request], Awaitable[Response | None]]:
    """Make a hook for ``serve(on_request=...)`` that asks for a user and a password (HTTP Basic authentication).

    Who has the right ones goes on, and is the request's ``user``, also for the handler, as ``socket.request.user``.
    All others get 401. The password travels as it is: use TLS.

    Args:
        credentials: users with their passwords, as they are now; or a function, maybe a coroutine function, that is
            called with a user and a password and returns whether they are right. A function has to compare in
            constant time itself, as functions that verify password hashes do.
        realm: what the credentials are for; a browser shows it.

    Returns:
        A coroutine function that takes a request and returns the 401, or None. Another hook may await it.

    Raises:
        TypeError: the credentials are neither, or a user, a password or the realm is not a str.
        ValueError: a user has a colon, a user or a password has a control character or a lone surrogate, or the realm
            is not made of visible ASCII characters and spaces, or has a double quote or a backslash.

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
        user.encode()  # as all that is received is UTF-8, this one could never come
    known = {user: password.encode() for user, password in passwords.items()}

    def is_right(user: str, password: str) -> bool:
        given = password.encode()
        # For a user who is not there as much is done as for one with a wrong password.
        same = compare_digest(known.get(user, b""), given)
        return same and user in known

    return is_right


def _parse_basic(values: Sequence[str]) -> tuple[str, str] | None:
    """The user and the password of Authorization headers; None when there is not exactly one, or it is malformed."""
    if len(values) != 1:
        return None
    scheme, _, encoded = values[0].partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = binascii.a2b_base64(encoded.strip(" ").encode("ascii"), strict_mode=True).decode()
    except ValueError:
        return None
    # "The user-id and password MUST NOT contain any control characters", which would come to logs with the user.
    user, colon, password = text.partition(":")
    return (user, password) if colon and _CONTROLS.isdisjoint(text) else None
