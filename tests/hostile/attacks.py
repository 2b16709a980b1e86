"""The attacks on servers: the behaviour and number of hostile clients, and the memory that a server may need."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from tests.hostile import bombs, clients, tls_clients
from tests.hostile.clients import MIB, Begun
from wasclean import compiled
from wasclean.options import ServerLimits

#: True if attacks use all their connections, False for a tenth of them.
FULL = os.environ.get("WASCLEAN_FULL_ATTACKS", "") not in ("", "0")

#: Number of clients that flood at the same time. In each turn of the loop, a connection may process 64 KiB of tiny
#: frames, and others wait for all of them. On the pure build that takes a large part of a second for each client.
FLOODING = 5 if compiled else 1

#: Number of handshakes that makes a server end some of them by default. With many more, the kernel could accept
#: max_handshakes of them between a normal client's connection and its request, so that this would be the oldest.
BEYOND = ServerLimits.options["max_handshakes"].default + 200


class Attack(NamedTuple):
    """An attack by many clients at the same time.

    Attributes:
        name: a description.
        client: a coroutine function for one connection, called repeatedly with a port, a number and a callback.
        connections: the number of connections.
        options: the options of the server.
        memory: the memory that the server may need, in bytes: several times of what it does need.
        tls: True if the server uses TLS.
        least: the minimum of the connections, if a tenth is fewer.
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
        """The number of connections in this run."""
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
    # All messages of one read are in memory after decompression: 64 MiB.
    Attack("bombs", bombs.bombs, FLOODING, {}, FLOODING * 150 * MIB),
    Attack("bombs in fragments", bombs.bombs_in_fragments, FLOODING, {}, FLOODING * 150 * MIB),
    Attack("bombs beyond the limit", bombs.bombs_beyond_the_limit, FLOODING, {}, 100 * MIB),
    # asyncio's TLS has a buffer of 256 KiB for each of at most max_handshakes connections.
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
