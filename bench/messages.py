"""The messages of the load generator: files, which are generated once, and are the same in every run."""

from __future__ import annotations

import json
import random
from pathlib import Path

COUNT = 64  # different messages; more than fit into a compression window of 32 KiB
TOTAL = 1 << 20  # bytes of a file, unless one message is larger


def messages_file(folder: Path, size: int, binary: bool) -> Path:
    """Return the path of a file of messages of ``size`` bytes, one after the other."""
    path = folder / f"messages-{'binary' if binary else 'text'}-{size}"
    if not path.exists():
        chance = random.Random(size)
        count = max(1, min(COUNT, TOTAL // size))
        make = chance.randbytes if binary else lambda size: text(chance, size)
        path.write_bytes(b"".join(make(size) for _ in range(count)))
    return path


def text(chance: random.Random, size: int) -> bytes:
    """Return ``size`` bytes of ASCII that resemble the JSON of a market data feed."""
    made = bytearray()
    while len(made) < size:
        trade = {
            "type": chance.choice(["trade", "quote", "trade", "trade"]),
            "symbol": "".join(chance.choices("ABCDEFGH", k=4)),
            "price": round(chance.uniform(1, 1000), 2),
            "size": chance.randrange(1, 500) * 10,
            "time": f"2026-03-01T{chance.randrange(24):02}:{chance.randrange(60):02}:{chance.uniform(0, 60):09.6f}Z",
            "buyer": chance.random() < 0.5,
        }
        made += json.dumps(trade, separators=(",", ":")).encode() + b","
    return bytes(made[:size])
