"""A certificate authority for tests, made anew in each run: nothing but these contexts trusts it."""

from __future__ import annotations

import ssl
from functools import cache

import trustme


@cache
def authority() -> trustme.CA:
    """The one that clients with client_context() trust."""
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


@cache
def server_context(*names: str) -> ssl.SSLContext:
    """For a server with a certificate for the names, by default for localhost and 127.0.0.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert(*(names or ("localhost", "127.0.0.1")), key_type=trustme.KeyType.ECDSA).configure_cert(
        context
    )
    return context


@cache
def client_context() -> ssl.SSLContext:
    """For a client that trusts nobody but our authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority().configure_trust(context)
    return context
