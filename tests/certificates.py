"""A certificate authority for tests, made in each run, and TLS contexts that use it."""

from __future__ import annotations

import ssl
from functools import cache

import trustme


@cache
def authority() -> trustme.CA:
    """Return the certificate authority that client_context() trusts."""
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


@cache
def server_context(*names: str) -> ssl.SSLContext:
    """Return a server's context with a certificate for the names, by default localhost and 127.0.0.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert(*(names or ("localhost", "127.0.0.1")), key_type=trustme.KeyType.ECDSA).configure_cert(
        context
    )
    return context


@cache
def client_context() -> ssl.SSLContext:
    """Return a client's context that trusts authority() only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority().configure_trust(context)
    return context
