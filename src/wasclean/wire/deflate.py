"""permessage-deflate (RFC 7692): messages to deflated bytes, and back.

Neither side keeps anything until the first compressed message: an idle connection pays nothing. Then a Deflater takes
``2 ** (window bits + 2) + 2 ** (mem_level + 9)`` bytes and some 6 KiB, and an Inflater ``2 ** window bits`` and some 7
KiB, for as long as the connection lives, or, without context takeover, for as long as one message takes.
"""

from __future__ import annotations

from functools import cache, wraps
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from ..model.errors import RemoteProtocolError
from ..model.violations import Violation

#: The name of the extension in the IANA registry.
NAME = "permessage-deflate"

#: What deflate's flush ends with, which does not travel (RFC 7692 section 7.2.1).
TAIL = b"\x00\x00\xff\xff"

LEVEL = 2  # of zlib's 0 to 9: two thirds of the time of 6 for an eighth more bytes
MEM_LEVEL = 5  # of zlib's 1 to 9
WINDOW_BITS = 12  # of the window that we compress with: 32 KiB for a Deflater instead of 256
MAX_WINDOW_BITS = 15
THRESHOLD = 1024  # bytes below which a message is sent as it is

STEP = 1 << 16  # bytes that are inflated at a time, so that a limit is seen in time
MAX_RESETS = 8  # final blocks in one message; each means a new zlib stream, which is costly


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
    """How messages are compressed: the option ``compression``.

    Attributes:
        server_no_context_takeover, client_no_context_takeover: whether the server, or the client, compresses each
            message by itself: more bytes, and no memory between two messages.
        server_max_window_bits, client_max_window_bits: 8 to 15, the base-2 logarithm of the bytes that the server, or
            the client, looks back. None, the default, is 12 on a server, if the client lets it say so; on a client it
            leaves the server's to the server, and its own to 12.
        level: zlib's, from 0 (fast) to 9 (small).
        mem_level: zlib's, from 1 (little memory) to 9.
        threshold: bytes below which a message is sent as it is.
        required: whether a client closes with 1010, and a server refuses with 400, if the other end does not agree.
        max_contexts: connections of a server above which new ones have no context takeover; None for no such number.

    Raises:
        TypeError: one is not an int, or not a bool.
        ValueError: one is out of its range.
    """

    __slots__ = ()

    if not TYPE_CHECKING:  # which knows the signature from the fields

        @wraps(_Fields.__new__)
        def __new__(cls, *args, **options):  # noqa: D102
            self = super().__new__(cls, *args, **options)
            self.check()
            return self

    def without_contexts(self) -> Deflate:
        """The same, but that each message is compressed by itself, in both directions."""
        return self._replace(server_no_context_takeover=True, client_no_context_takeover=True)

    def check(self) -> None:
        """Check the values once more: _replace() does not. Raises as the constructor does."""
        for name, (least, most, may_be_none) in _RANGES.items():
            value = getattr(self, name)
            if value is None and may_be_none:
                continue
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"Deflate's {name} must be an int, not {type(value).__name__}")
            if not least <= value <= most:
                raise ValueError(f"Deflate's {name} must be from {least} to {most}, not {value}")
        for name in ("server_no_context_takeover", "client_no_context_takeover", "required"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"Deflate's {name} must be a bool, not {type(getattr(self, name)).__name__}")


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
    """zlib-ng's module if there is one, else zlib; imported when the first message is compressed."""
    try:
        return import_module("zlib_ng.zlib_ng")
    except ImportError:
        return import_module("zlib")


class Deflater:
    """Compresses the messages that we send.

    Args:
        deflate: the level and the like.
        bits: of the window.
        keeps: whether what was sent before helps with the next message.
    """

    __slots__ = ("_bits", "_deflate", "_keeps", "_stream", "threshold")

    def __init__(self, deflate: Deflate, bits: int, keeps: bool) -> None:
        self._deflate = deflate
        # zlib can't deflate with 8 bits; with 9 it looks back 512 - 262 bytes at most, and 8 bits are 256.
        self._bits = max(bits, 9)
        self._keeps = keeps
        self._stream: Any = None
        self.threshold = deflate.threshold

    @property
    def kind(self) -> tuple[int, int, int] | None:
        """Those of the same kind make the same of a message; None for one that has a past."""
        return None if self._keeps else (self._bits, self._deflate.level, self._deflate.mem_level)

    def deflate(self, data: bytes, last: bool) -> bytes:
        """Compress one message, or a part of one; ``last``: the end of it.

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
        return out[:-4] or b"\x00"  # nothing behind a flush gives nothing; this is an empty block


class Inflater:
    """Inflates the messages that we receive.

    Args:
        bits: of the peer's window.
        keeps: whether the next message may refer to those before.
    """

    __slots__ = ("_bits", "_keeps", "_resets", "_started", "_stream")

    def __init__(self, bits: int, keeps: bool) -> None:
        self._bits = bits
        self._keeps = keeps
        self._stream: Any = None
        self._resets = 0  # in the present message
        self._started = False  # whether the present zlib stream has had input

    def inflate(self, data: bytes, max_size: int, size: int) -> list[bytes]:
        """Inflate a part of a message.

        Args:
            data: at most as much as was read at once.
            max_size: bytes that may come out of all of the message.
            size: bytes that have come out of it before.

        Returns:
            What came out, in pieces of at most STEP bytes.

        Raises:
            RemoteProtocolError: there is more than ``max_size``, of which no more than STEP has been inflated; or the
                data are not deflated.
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
                # A final block: what follows is another stream, which knows nothing of this one.
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
        """What is left at the end of a message; as inflate().

        Source: RFC 7692 section 7.2.2.
        """
        pieces = self.inflate(TAIL, max_size, size) if self._started or not self._resets else []
        self._resets = 0
        if not self._keeps:
            self._stream = None
        return pieces
