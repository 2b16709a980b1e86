"""permessage-deflate (RFC 7692): compressing and decompressing messages.

Neither direction allocates anything before its first compressed message. From then on a Deflater needs
``2 ** (window bits + 2) + 2 ** (mem_level + 9)`` bytes and about 6 KiB, and an Inflater ``2 ** window bits`` bytes and
about 7 KiB: for the life of the connection with context takeover, and else while a message is in progress.
"""

from __future__ import annotations

from functools import cache, wraps
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from ..model.errors import RemoteProtocolError
from ..model.violations import Violation

#: The name of the extension in the IANA registry.
NAME = "permessage-deflate"

#: The end of the output of a flush, which is removed before sending (RFC 7692 section 7.2.1).
TAIL = b"\x00\x00\xff\xff"

LEVEL = 2  # zlib's level, 0 to 9: two thirds of the time of level 6, for an eighth more bytes
MEM_LEVEL = 5  # zlib's memLevel, 1 to 9
WINDOW_BITS = 12  # of the local compressor: it takes 32 KiB, rather than 256 KiB with 15 bits
MAX_WINDOW_BITS = 15
THRESHOLD = 1024  # bytes; smaller messages are not compressed

STEP = 1 << 16  # bytes to decompress at a time; max_message_size is checked after each
MAX_RESETS = 8  # final blocks in one message; each of them costs a new zlib stream


class _Fields(NamedTuple):
    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False
    server_max_window_bits: int | None = None
    client_max_window_bits: int | None = None
    level: int = LEVEL
    mem_level: int = MEM_LEVEL
    threshold: int = THRESHOLD
    required: bool = False
    max_contexts: int | None = None


class Deflate(_Fields):
    """Settings of permessage-deflate: the option ``compression``.

    Attributes:
        server_no_context_takeover, client_no_context_takeover: True if the server, or the client, is to compress each
            message on its own. That takes more bytes, but no memory between messages.
        server_max_window_bits, client_max_window_bits: the base-2 logarithm of the window, in bytes, that the server,
            or the client, compresses with: 8 to 15. With None, the default, a server uses 12 for both, if the client
            allows it to limit the client's; a client uses 12 itself, and leaves the server's window to the server.
        level: zlib's level, from 0 (no compression) through 1 (fast) to 9 (small).
        mem_level: zlib's memory level, from 1 (least memory) to 9.
        threshold: messages of fewer bytes are not compressed.
        required: True if the connection is to fail unless both ends agree on compression: a client then closes with
            1010, and a server refuses with status 400.
        max_contexts: the number of connections of a server above which new ones get no context takeover; None for no
            limit.

    Raises:
        TypeError: an argument is not an int, or not a bool, where it has to be one.
        ValueError: an argument is out of range.
    """

    __slots__ = ()

    if not TYPE_CHECKING:  # type checkers derive the signature from the fields

        @wraps(_Fields.__new__)
        def __new__(cls, *args, **options):  # noqa: D102
            self = super().__new__(cls, *args, **options)
            _check(self)
            return self

        @classmethod
        def _make(cls, values):  # what _replace() calls: it would leave the values unchecked
            return cls(*values)

    def without_contexts(self) -> Deflate:
        """Return the same settings without context takeover, in both directions."""
        return self._replace(server_no_context_takeover=True, client_no_context_takeover=True)


def _check(deflate: Deflate) -> None:
    for name, (least, most, may_be_none) in _RANGES.items():
        value = getattr(deflate, name)
        if value is None and may_be_none:
            continue
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"Deflate's {name} must be an int, not {type(value).__name__}")
        if not least <= value <= most:
            raise ValueError(f"Deflate's {name} must be from {least} to {most}, not {value}")
    for name in ("server_no_context_takeover", "client_no_context_takeover", "required"):
        if not isinstance(getattr(deflate, name), bool):
            raise TypeError(f"Deflate's {name} must be a bool, not {type(getattr(deflate, name)).__name__}")


_RANGES: dict[str, tuple[int, int, bool]] = {
    "server_max_window_bits": (8, 15, True),
    "client_max_window_bits": (8, 15, True),
    "level": (0, 9, False),
    "mem_level": (1, 9, False),
    "threshold": (0, (1 << 63) - 1, False),
    "max_contexts": (0, (1 << 63) - 1, True),
}


@cache
def backend() -> Any:
    """Return the module zlib_ng if it is installed, else zlib; imported for the first compressed message."""
    try:
        return import_module("zlib_ng.zlib_ng")
    except ImportError:
        return import_module("zlib")


class Deflater:
    """Compresses the messages to send.

    Args:
        deflate: the settings.
        bits: the agreed window bits.
        keeps: True for context takeover: messages may refer to earlier ones.
    """

    __slots__ = ("_bits", "_deflate", "_keeps", "_stream", "threshold")

    def __init__(self, deflate: Deflate, bits: int, keeps: bool) -> None:
        self._deflate = deflate
        # zlib cannot deflate with 8 bits. With 9 it refers back by at most 512 - 262 bytes, which is less than 256.
        self._bits = max(bits, 9)
        self._keeps = keeps
        self._stream: Any = None
        self.threshold = deflate.threshold

    @property
    def kind(self) -> tuple[int, int, int] | None:
        """Cache key: compressors with equal keys produce equal output. None with context takeover."""
        return None if self._keeps else (self._bits, self._deflate.level, self._deflate.mem_level)

    def deflate(self, data: bytes, last: bool) -> bytes:
        """Compress a message, or a part of one.

        Args:
            data: the message, or the part.
            last: True if the message ends with it.

        Source: RFC 7692 section 7.2.1.
        """
        zlib = backend()
        stream = self._stream
        if stream is None:
            deflate = self._deflate
            stream = zlib.compressobj(deflate.level, zlib.DEFLATED, -self._bits, deflate.mem_level)
        out: bytes = stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH)
        self._stream = stream if self._keeps or not last else None
        if not last:
            return out
        return out[:-4] or b"\x00"  # an empty part after a flush has no output; b"\x00" begins an empty block


class Inflater:
    """Decompresses received messages.

    Args:
        bits: the agreed window bits of the peer.
        keeps: True for context takeover: messages may refer to earlier ones.
    """

    __slots__ = ("_bits", "_keeps", "_resets", "_started", "_stream")

    def __init__(self, bits: int, keeps: bool) -> None:
        self._bits = bits
        self._keeps = keeps
        self._stream: Any = None
        self._resets = 0  # final blocks in the current message
        self._started = False  # True if the current zlib stream has had input

    def inflate(self, data: bytes, max_size: int, size: int) -> list[bytes]:
        """Decompress a part of a message.

        Args:
            data: the part, not longer than a single read.
            max_size: limit of the whole message, in bytes of output.
            size: the output of the earlier parts, in bytes.

        Returns:
            The output, in pieces of at most STEP bytes.

        Raises:
            RemoteProtocolError: the data are invalid; or the output exceeds ``max_size``, which is found out at most
                STEP bytes later.
        """
        zlib = backend()
        pieces: list[bytes] = []
        limit = max_size - size
        if self._stream is None:
            self._stream = zlib.decompressobj(-self._bits)
        while True:
            stream = self._stream
            most = min(limit + 1, STEP)
            try:
                piece = stream.decompress(data, most)
            except zlib.error as error:
                raise RemoteProtocolError(Violation.NOT_DEFLATED, str(error)) from None
            self._started = True
            limit -= len(piece)
            if limit < 0:
                detail = f"inflated, it has more bytes than max_message_size, which is {max_size:,}"
                raise RemoteProtocolError(Violation.MESSAGE_TOO_BIG, detail)
            if piece:
                pieces.append(piece)
            if stream.eof:
                # A block with BFINAL ends the stream: the rest of the data is a new stream, with an empty window.
                self._resets += 1
                if self._resets > MAX_RESETS:
                    raise RemoteProtocolError(Violation.NOT_DEFLATED, f"it has more than {MAX_RESETS} final blocks")
                data = stream.unused_data
                self._stream = zlib.decompressobj(-self._bits)
                self._started = False
                if not data:
                    return pieces
            elif len(piece) < most:
                return pieces
            else:
                data = stream.unconsumed_tail

    def finish(self, max_size: int, size: int) -> list[bytes]:
        """End a message, and return the rest of its output. Arguments and exceptions are those of inflate().

        Source: RFC 7692 section 7.2.2.
        """
        pieces = self.inflate(TAIL, max_size, size) if self._started or not self._resets else []
        self._resets = 0
        if not self._keeps:
            self._stream = None
        return pieces
