"""The table of cells: the kinds of load to measure."""

from __future__ import annotations

from dataclasses import dataclass

from bench.contestants import (
    AIOHTTP,
    ALL,
    CALLBACKS,
    CALLBACKS_PURE,
    COMPILED,
    DEFLATING,
    PICOWS,
    WEBSOCKETS,
    Contestant,
)

KIB = 1024
MIB = 1024 * KIB
SIZES = {
    32: "32 B",
    256: "256 B",
    KIB: "1 KiB",
    8 * KIB: "8 KiB",
    16 * KIB: "16 KiB",
    100 * KIB: "100 KiB",
    MIB: "1 MiB",
}


@dataclass(frozen=True)
class Cell:
    """One kind of load.

    Attributes:
        kind: ``echo``, ``cycles``, ``drain``, ``broadcast``, ``idle`` or ``import``.
        connections: the number of connections; for ``cycles``, the number at a time.
        size: the size of a message, in bytes.
        depth: the number of messages in flight on each connection.
        client: True if the contestants are clients, False if they are servers.
        binary: True for binary messages, False for text.
        tls: True for TLS.
        deflate: the window bits of permessage-deflate; 0 for no compression.
        takeover: True for compression with context takeover.
        pace: messages per second of the open loop that measures latency, low enough for all contestants; 0 for none.
        contestants: the contestants.
        quick: True if the cell is part of the quick run.
    """

    kind: str
    connections: int = 0
    size: int = 0
    depth: int = 1
    client: bool = False
    binary: bool = False
    tls: bool = False
    deflate: int = 0
    takeover: bool = False
    pace: int = 0
    contestants: tuple[Contestant, ...] = COMPILED
    quick: bool = False

    @property
    def name(self) -> str:
        """The name of the cell, also for --cell."""
        if self.kind != "echo":
            return _NAMES[self.kind].format(self.connections, SIZES.get(self.size))
        words = [f"{'client' if self.client else 'server'} echo: {self.connections:,} x {SIZES[self.size]}"]
        words.append("binary" if self.binary else "text")
        words.append(f"{self.depth} in flight")
        if self.tls:
            words.append("TLS")
        if self.deflate:
            words.append("deflate with takeover" if self.takeover else "deflate")
        return ", ".join(words)

    @property
    def note(self) -> str:
        """An explanation of the figures; empty if none is needed."""
        return f"Latency: at {self.pace:,} messages per second, from the time each was due." if self.pace else ""


_NAMES = {
    "cycles": "connect and close, {:,} at a time",
    "drain": "drain {:,} connections with 1001",
    "broadcast": "broadcast of {1} to {0:,} connections",
    "idle": "{:,} idle connections",
    "import": "import of the package",
}

CELLS = (
    # many small messages: the cost of a turn of the loop
    Cell("echo", 100, 32, 16, contestants=ALL, quick=True),
    Cell("echo", 1, 32, 64),
    Cell("echo", 1_000, 32, 16, binary=True),
    # one at a time: the cost of a message
    Cell("echo", 100, 256, 1, pace=10_000, contestants=ALL, quick=True),
    Cell("echo", 1, 256, 1, pace=5_000),
    Cell("echo", 1_000, 256, 1, binary=True, pace=10_000),
    # larger messages: the cost of a byte
    Cell("echo", 100, 8 * KIB, 1, pace=5_000),
    Cell("echo", 1, 8 * KIB, 16, binary=True),
    Cell("echo", 100, 100 * KIB, 1),
    Cell("echo", 1, 100 * KIB, 16, binary=True),
    Cell("echo", 1, MIB, 1, binary=True),
    Cell("echo", 1, MIB, 1),
    # TLS
    Cell("echo", 100, 256, 1, tls=True, pace=5_000, quick=True),
    Cell("echo", 1, 32, 64, tls=True),
    Cell("echo", 1, MIB, 1, binary=True, tls=True),
    # permessage-deflate
    Cell("echo", 100, KIB, 1, deflate=12, pace=2_500, contestants=DEFLATING, quick=True),
    Cell("echo", 100, 16 * KIB, 1, deflate=12, contestants=DEFLATING),
    Cell("echo", 100, KIB, 1, deflate=12, takeover=True, contestants=DEFLATING),
    # clients
    Cell("echo", 100, 32, 16, client=True, quick=True),
    Cell("echo", 100, 256, 1, client=True, pace=10_000),
    Cell("echo", 1, 100 * KIB, 16, client=True, binary=True),
    Cell("echo", 1, MIB, 1, client=True, binary=True),
    Cell("echo", 100, 256, 1, client=True, tls=True, pace=5_000),
    # opening, closing, broadcasting, idling
    Cell("cycles", 50, quick=True),
    Cell("broadcast", 5_000, 256),
    Cell("drain", 5_000),
    Cell("idle", 5_000, contestants=ALL),
    Cell("import", contestants=(CALLBACKS, CALLBACKS_PURE, PICOWS, WEBSOCKETS, AIOHTTP), quick=True),
)
