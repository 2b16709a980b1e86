"""TLS of one connection, without I/O: records go in, and records come out (RFC 8446, RFC 5246); Python's ssl does it.

An event loop's TLS is a transport: it drops the alert that tells why a connection ends, ends both directions at once,
and nobody knows what it holds. Here bytes are read and written as without TLS, and pass through this on their way.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ssl import SSLContext, SSLError

#: Bytes of a record at most, before they are encrypted (RFC 8446 section 5.1).
PIECE = 1 << 14

#: What an ssl.SSLError has for an errno (ssl.SSLErrorNumber): this module does not import ssl before there is TLS.
WANT_READ, ZERO_RETURN = 2, 6

#: The name of what a WebSocket begins with among the protocols of TLS (RFC 7301 section 6), and the ``reason`` of the
#: ssl.SSLError if both ends have agreed on another; OpenSSL's name for much the same.
HTTP_1_1, NO_HTTP = "http/1.1", "NO_APPLICATION_PROTOCOL"


class TLS:
    """One end of a connection.

    Args:
        context: the rules.
        server_side: which end it is.
        server_hostname: the name to ask for and to check, for a client.

    Attributes:
        established: whether the handshake is complete.
        ended: whether the peer has ended its side by a close_notify (RFC 8446 section 6.1).
        error: why TLS has failed; then nothing more can be read or sealed, and take() has the alert that says so.
        sealed: the bytes that the latest seal() was given.

    Raises:
        ValueError: the name is none.
    """

    __slots__ = (
        "_engine",
        "_gross",
        "_incoming",
        "_inner",
        "_more",
        "_outgoing",
        "ended",
        "error",
        "established",
        "sealed",
    )

    def __init__(self, context: SSLContext, *, server_side: bool = False, server_hostname: str | None = None) -> None:
        from ssl import MemoryBIO

        self._incoming = MemoryBIO()
        self._outgoing = MemoryBIO()
        self._engine = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_hostname
        )
        # What it passes on to, without a frame of Python for each call.
        self._inner: Any = getattr(self._engine, "_sslobj", self._engine)
        self._more = False  # whether a part of a record was decrypted and not read
        self._gross = 0  # bytes of the latest record that was sealed
        self.sealed = 0
        self.established = False
        self.ended = False
        self.error: Exception | None = None

    def shake_hands(self) -> bool:
        """Go on with the handshake, whose next flight take() has; returns whether it is complete now."""
        if self.error is None:
            try:
                self._engine.do_handshake()
                self._check_protocol(self._engine.selected_alpn_protocol())
                self.established = self.error is None
            except OSError as error:
                if error.errno != WANT_READ:
                    self._fail(error)
        return self.established

    def _check_protocol(self, name: str | None) -> None:
        """Fail if TLS is to carry something else than HTTP/1.1: the peer would not understand a word."""
        if name is None or name == HTTP_1_1:
            return
        error = tls_error(
            f"TLS agreed on the protocol {name!r} (ALPN), and a WebSocket begins with HTTP/1.1: "
            f"use an SSLContext whose set_alpn_protocols() has only {HTTP_1_1!r}"
        )
        error.reason = NO_HTTP
        self._fail(error)

    def feed(self, data: memoryview) -> None:
        """Bytes have arrived."""
        self._incoming.write(data)

    def holds(self) -> bool:
        """Whether there may be something to read."""
        return self.established and self.error is None and (self._more or self._incoming.pending > 0)

    def read(self, room: Any) -> int:
        """Decrypt what has arrived: one record, or a part of it if there is no room for more.

        Returns:
            The bytes that were written to ``room``; 0 when there is no whole record, TLS has ended, or failed.
        """
        if not self.holds():
            return 0
        size = len(room)
        count = 0
        try:
            count = self._inner.read(size, room)
            self.ended = count == 0
        except OSError as error:
            if error.errno == ZERO_RETURN:  # so it is when we have ended our side, too
                self.ended = True
            elif error.errno != WANT_READ:
                self._fail(error)
        self._more = count == size
        return count

    def seal(self, data: Any) -> Any:
        """Encrypt bytes, or a list of them in order.

        Returns:
            Bytes, or a list of them, with what take() would have given in front; to no avail if there is an error.
        """
        if isinstance(data, list):
            return self._seal_all(data)
        if len(data) > PIECE:
            return self._seal_all([data])
        self.sealed = len(data)
        return self._seal_record(data)

    def _seal_all(self, chunks: list[Any]) -> list[bytes]:
        pieces = list(_pieces(chunks))
        records = [self._seal_record(piece) for piece in pieces]
        self.sealed = sum(map(len, pieces))
        return records

    def _seal_record(self, data: Any) -> bytes:
        if self.error is not None or not self.established:
            return b""
        try:
            self._inner.write(data)
        except OSError as error:  # also if the peer of a TLS 1.2 wants to begin anew just now
            self._fail(error)
            return b""
        record: bytes = self._outgoing.read()
        self._gross = len(record)
        return record

    def _fail(self, error: Exception) -> None:
        self.error = error.with_traceback(None)  # it has the frames that it came through, which refer to us

    def unread(self, left: int) -> int:
        """The bytes of the latest seal() that are lost if as many as ``left`` of those that it gave do not arrive."""
        if left == 0 or self.error is not None:
            return min(left, 1) * self.sealed
        last = self.sealed % PIECE or PIECE
        if left > self._gross:
            last += -(-(left - self._gross) // (PIECE + self._gross - last)) * PIECE
        return min(last, self.sealed)

    def take(self) -> bytes:
        """What TLS itself has to say: the handshake's messages, new keys, alerts."""
        return self._outgoing.read() if self._outgoing.pending else b""

    def end(self) -> None:
        """End our side by a close_notify, which take() has, behind all that was sealed; what was not read is lost."""
        dropped = bytearray(PIECE)
        while self.read(dropped):
            pass
        if self.established and self.error is None:
            try:
                self._engine.unwrap()
            except OSError:  # the peer's close_notify is missing
                pass


def tls_error(text: str) -> SSLError:
    """An error of our own; without a number its str() would be that of a tuple."""
    from ssl import SSL_ERROR_SSL, SSLError

    return SSLError(SSL_ERROR_SSL, text)


def _pieces(chunks: list[Any]) -> Iterator[Any]:
    """The same bytes as records can have them: each of PIECE bytes but the last, and as little as possible copied."""
    begun = bytearray()
    for chunk in chunks:
        view = memoryview(chunk)
        if begun:
            missing = PIECE - len(begun)
            begun += view[:missing]
            view = view[missing:]
            if len(begun) == PIECE:
                yield begun
                begun = bytearray()
        while len(view) >= PIECE:
            yield view[:PIECE]
            view = view[PIECE:]
        begun += view
    if begun:
        yield begun


def is_tls_error(error: BaseException) -> bool:
    """Return True if TLS is what went wrong."""
    ssl = sys.modules.get("ssl")  # not imported unless there was TLS
    return ssl is not None and isinstance(error, ssl.SSLError)


def default_context() -> SSLContext:
    """Return a client's context with the system's trust, and with HTTP/1.1 as the only protocol (RFC 7301)."""
    from ssl import create_default_context

    context = create_default_context()
    context.set_alpn_protocols([HTTP_1_1])
    return context
