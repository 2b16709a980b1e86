"""Who has a connection before its WebSocket does, and what an error says about it."""

from __future__ import annotations

import sys

from ..protocol.outcome import Cause


class Opening:
    """Who gets the bytes of the opening handshake."""

    __slots__ = ()

    def connection_made(self) -> None:
        """There is a transport: this is the time to begin TLS, if there is to be any."""

    def ready(self) -> None:
        """TLS is established."""

    def data_received(self, data: bytes) -> None:
        """Bytes have arrived."""
        raise NotImplementedError

    def eof_received(self) -> None:
        """No more bytes will arrive."""
        raise NotImplementedError

    def connection_lost(self, error: BaseException | None) -> None:
        """The transport is gone."""
        raise NotImplementedError

    def time_is_up(self) -> None:
        """It has asked to be woken at this time."""
        raise NotImplementedError


def cause_of(error: BaseException | None) -> Cause:
    """What an error of the transport says about the end of an open connection."""
    if error is None:
        return Cause.TCP_FIN
    return Cause.TLS_FAILED if is_tls_error(error) else Cause.TCP_RESET


def is_tls_error(error: BaseException) -> bool:
    """Whether TLS is what went wrong."""
    ssl = sys.modules.get("ssl")  # nobody has imported it unless there was TLS
    return ssl is not None and isinstance(error, ssl.SSLError)
