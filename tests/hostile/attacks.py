"""The attacks on servers: what hostile clients do, how many of them, and what it may cost."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from tests.hostile import bombs, clients, tls_clients
from tests.hostile.clients import MIB, Begun
from wasclean import compiled
from wasclean.model.registry import MAX_HANDSHAKES

#: Whether attacks have all their connections; otherwise a tenth of them.
FULL = os.environ.get("WASCLEAN_FULL_ATTACKS", "") not in ("", "0")

#: Clients that flood at the same time. Each takes what a turn of the loop gives to a connection, 64 KiB of tiny frames,
#: and others wait for them all: on the pure build for a good part of a second each.
FLOODING = 5 if compiled else 1

#: Handshakes, so many that by default a server has some of them end. Were they many more, the kernel could hand over
#: MAX_HANDSHAKES of them between the coming of a good client and its request, which would have to go as the oldest.
BEYOND = MAX_HANDSHAKES + 200


class Attack(NamedTuple):
    """Clients that do something all at once, and what a server should make of that.

    Attributes:
        name: what they do, in words.
        client: does it on one connection, of a port and with a number, and then on the next one.
        connections: how many there are at the same time.
        options: of the server.
        memory: bytes that the server may need for it; several times what it does need.
        tls: whether the server speaks TLS.
        least: how many of the connections there are in any run.
    """

    name: str
    client: Callable[[int, int, Begun], Awaitable[None]]
    connections: int
    options: Mapping[str, Any]
    memory: int
    tls: bool = False
    least: int = 2

    @property
    def size(self) -> int:
        """How many connections it has in this run."""
        return self.connections if FULL else min(self.connections, max(self.least, self.connections // 10))


ATTACKS = [
    Attack(
        "handshakes that never finish",
        clients.unfinished_handshake,
        10_000,
        {"max_handshakes": 20_000, "open_timeout": 60},
        100 * MIB,
    ),
    Attack("more handshakes than there may be", clients.handshake_in_the_way, BEYOND, {}, 100 * MIB, least=BEYOND),
    Attack("slowloris", clients.slowloris, 500, {"open_timeout": 2}, 30 * MIB),
    Attack("tiny frames", clients.tiny_frames, FLOODING, {}, 30 * MIB),
    Attack("tiny frames, limited", clients.tiny_frames, FLOODING, {"max_messages_per_second": 1000}, 30 * MIB),
    Attack("pings", clients.pings, FLOODING, {}, 30 * MIB),
    Attack("pings, unlimited", clients.pings, FLOODING, {"max_pings_per_second": None}, 30 * MIB),
    Attack("slow readers", clients.slow_reader, 50, {}, 100 * MIB),
    Attack("endless fragments", clients.endless_fragments, FLOODING, {}, 30 * MIB),
    Attack("messages that never finish", clients.unfinished_message, 50, {}, 150 * MIB),
    # What one read inflates to is in memory at once: 64 MiB.
    Attack("bombs", bombs.bombs, FLOODING, {}, FLOODING * 150 * MIB),
    Attack("bombs in fragments", bombs.bombs_in_fragments, FLOODING, {}, FLOODING * 150 * MIB),
    Attack("bombs beyond the limit", bombs.bombs_beyond_the_limit, FLOODING, {}, 100 * MIB),
    # asyncio's TLS has a buffer of 256 KiB for each of the MAX_HANDSHAKES that there may be.
    Attack(
        "more TLS handshakes than there may be",
        tls_clients.unfinished_tls,
        BEYOND,
        {},
        700 * MIB,
        tls=True,
        least=BEYOND,
    ),
    Attack("slow TLS handshakes", tls_clients.slow_tls, 500, {"open_timeout": 2}, 100 * MIB, tls=True),
    Attack("what is no TLS", tls_clients.no_tls, 50, {}, 30 * MIB, tls=True),
    Attack("farewells that read nothing", tls_clients.unread_farewell, 50, {"close_timeout": 0.5}, 100 * MIB, tls=True),
]
