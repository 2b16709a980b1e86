"""TLS as a layer: a transport for the protocol above it, and a protocol for the transport below it.

Theory of operation
===================

The engine (tls.py) turns records into bytes and back, in memory. The layer moves them: what the transport below reads
is fed to the engine, and decrypted straight into the memory of the protocol above; what is written above is sealed, and
the records are written below. A layer may stand on another one: that is TLS through a proxy that has TLS of its own.

asyncio's TLS is a layer, too. This one differs in what the end looks like:

- Each direction ends by itself, as TLS 1.3 allows (RFC 8446 section 6.1). write_eof() sends close_notify, and reading
  goes on. The peer's close_notify is the protocol's eof_received(). If TCP ends without one, is_truncated() says so.
- When TLS fails, the protocol above is told by layer_failed(), while TCP still carries the alert to the peer and can
  linger for it. From then on what arrives is passed on as it is, to be counted and dropped.
- get_write_buffer_size() counts bytes of the plain text: those of the latest write() that the peer can't read if the
  transport below loses what it holds. A record of which one byte is missing is lost as a whole.

Reading is paused above by ``_reads``: the engine is not asked for more, and the transport below is paused. So
resume_reading() first decrypts what the engine has, in a callback of the loop's, and only then reads on.

Because a compiled class has one base, the layer is two objects: TLSTransport, which has the state, and its lower side,
which only forwards. A protocol may replace itself while it is called: each loop here asks anew for the current one.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from errno import ECONNRESET
from typing import Any

from ..model.registry import MOST_HELD
from ..wire.receiver import ReadBuffer
from .interface import Protocol, Transport
from .tls import TLS, tls_error


class TLSTransport(Transport):
    """The upper side of a layer.

    Args:
        loop: the running one.
        inner: the transport below, whose protocol the lower side becomes.
        engine: does the cryptography.
        buffer: the memory to read records into.
    """

    __slots__ = ("_buffer", "_ended", "_engine", "_inner", "_loop", "_lost", "_reads", "_told")

    def __init__(self, loop: AbstractEventLoop, inner: Transport, engine: TLS, buffer: ReadBuffer) -> None:
        self._loop = loop
        self._inner = inner
        self._engine = engine
        self._buffer = buffer
        self._reads = True
        self._lost = 0  # bytes that could not be encrypted
        self._ended = False  # the peer's end was passed on
        self._told = False  # a failure was passed on
        self.set_protocol(inner.get_protocol())
        inner.set_protocol(_LowerSide(self))

    def start(self) -> None:
        """Begin the handshake."""
        self._process()

    # What the lower side calls.

    def _room(self) -> Any:
        """Return memory for records: little, but for a large message, as OpenSSL keeps what it needed once."""
        return self._buffer.view if self._protocol.is_amid_frame() else self._buffer.head

    def _fed(self, count: int) -> None:
        if self._engine.error is not None:
            protocol = self._protocol
            protocol.buffer_updated(count)
            return
        self._engine.feed(self._buffer.view[:count])
        self._process()

    def _process(self) -> None:
        """Decrypt what can be, and write what TLS has to say."""
        engine = self._engine
        if not engine.established and engine.shake_hands():
            self._protocol.ready()
        self._decrypt()
        self._say()

    def _decrypt(self) -> None:
        engine = self._engine
        while self._reads:
            protocol = self._protocol
            count = engine.read(protocol.get_buffer(-1))
            if count == 0:
                break
            protocol.buffer_updated(count)

    def _say(self) -> None:
        """Write pending records, then pass on TLS's end or failure."""
        engine = self._engine
        data = engine.take()
        inner = self._inner
        if inner.is_closing():
            return
        if data:
            inner.write(data)
            if inner.get_write_buffer_size() > MOST_HELD:
                engine.error = tls_error("the peer asks for new keys and does not read them")
        if engine.error is not None:
            if not self._told:
                self._told = True
                self._protocol.layer_failed(engine.error)
        elif engine.ended and not self._ended:
            self._ended = True
            inner.pause_reading()
            if not self._protocol.eof_received():
                inner.close()

    def _eof(self) -> bool:
        engine = self._engine
        return engine.established and engine.error is None and bool(self._protocol.eof_received())

    def _gone(self, error: Exception | None) -> None:
        engine = self._engine
        if error is None:
            error = engine.error
            if error is None and not engine.established:
                error = ConnectionResetError(ECONNRESET, "TCP ended in the handshake of TLS")
        self._reads = True
        self._decrypt()
        protocol = self._protocol
        protocol.connection_lost(error)
        self._protocol = None  # it refers to us

    # The transport above.

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Ask the transport below."""
        return self._inner.get_extra_info(name, default)

    def fileno(self) -> int:
        """Return the descriptor of the transport below."""
        return self._inner.fileno()

    def is_opaque(self) -> bool:
        """Return True: the kernel has records."""
        return True

    def is_truncated(self) -> bool:
        """Return True if TCP ended and TLS did not."""
        return not self._engine.ended

    def is_closing(self) -> bool:
        """Return True after close() and abort(), and once the connection is broken."""
        return self._inner.is_closing()

    def is_reading(self) -> bool:
        """Return True unless reading is paused."""
        return self._reads

    def pause_reading(self) -> None:
        """Decrypt and read nothing until resume_reading()."""
        self._reads = False
        self._inner.pause_reading()

    def resume_reading(self) -> None:
        """Read again, first what was received and not decrypted; not within this call."""
        self._reads = True
        if self._engine.holds():
            self._loop.call_soon(self._read_on)
        else:
            self._inner.resume_reading()

    def _read_on(self) -> None:
        if self._reads and self._protocol is not None:
            self._process()
            if self._reads:
                self._inner.resume_reading()

    def give_way(self) -> None:
        """Ask the transport below."""
        self._inner.give_way()

    def write(self, data: Any, more: bool = False) -> None:
        """Encrypt and write bytes, or a list of them."""
        engine = self._engine
        records = engine.seal(data)
        if engine.error is not None:  # layer_failed() follows with the next read, or connection_lost()
            self._lost = engine.sealed
            protocol = self._protocol
            protocol.pause_writing()
        elif isinstance(records, list):
            self._inner.writelines(records)
        else:
            self._inner.write(records)

    def writelines(self, chunks: list[Any]) -> None:
        """Encrypt and write a list of bytes in order."""
        self.write(chunks)

    def get_write_buffer_size(self) -> int:
        """Return how many bytes of the latest write() are not the kernel's, or were lost."""
        return self._lost or self._engine.unread(self._inner.get_write_buffer_size())

    def write_eof(self) -> None:
        """Send close_notify; after a failure, end TCP behind the alert.

        Raises:
            OSError: the connection is broken.
        """
        engine = self._engine
        if engine.error is not None:
            self._inner.write_eof()
        elif not engine.established:
            self._inner.abort()
        else:
            engine.end()
            self._say()
            if engine.ended:
                self._inner.close()

    def close(self) -> None:
        """Send close_notify, and end TCP behind it."""
        inner = self._inner
        if not inner.is_closing():
            self.write_eof()
        inner.close()

    def abort(self) -> None:
        """End TCP now."""
        self._inner.abort()


class _LowerSide(Protocol):
    """The lower side of a layer."""

    __slots__ = ("_layer",)

    def __init__(self, layer: TLSTransport) -> None:
        self._layer = layer

    def get_buffer(self, sizehint: int) -> Any:
        """Read records into the shared memory."""
        return self._layer._room()

    def buffer_updated(self, count: int) -> None:
        """Decrypt them."""
        layer = self._layer
        layer._fed(count)

    def is_amid_frame(self) -> bool:
        """Ask the protocol above."""
        protocol: Protocol = self._layer._protocol
        return protocol.is_amid_frame()

    def eof_received(self) -> bool:
        """TCP has ended."""
        return self._layer._eof()

    def pause_writing(self) -> None:
        """Tell the protocol above."""
        protocol = self._layer._protocol
        protocol.pause_writing()

    def resume_writing(self) -> None:
        """Tell the protocol above."""
        protocol = self._layer._protocol
        protocol.resume_writing()

    def write_failed(self) -> None:
        """Tell the protocol above."""
        self._layer._protocol.write_failed()

    def ready(self) -> None:
        """Do nothing: the outer TLS was established before this layer was put on it."""

    def layer_failed(self, error: Exception) -> None:
        """The outer TLS has failed, and with it this one."""
        self._layer._protocol.layer_failed(error)

    def connection_lost(self, error: Exception | None) -> None:
        """Tell the protocol above."""
        self._layer._gone(error)
