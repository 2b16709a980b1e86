"""What a good client notices of hostile ones: how long wasclean takes to answer it meanwhile (``make bench-hostile``).

The server runs on one core, the attackers and the good client on another. The good client sends a message and waits for
its echo, and opens a connection, has a message echoed on it and closes it, again and again. The attacks are those of
tests/hostile, which also holds their memory against a bound; their size is that of ``make hostile``.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from statistics import quantiles
from time import perf_counter, sleep

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.processes import cores, raise_file_limit
from bench.terminal import progress, say, table
from tests.hostile.attacks import ATTACKS, Attack
from tests.hostile.clients import MIB, REQUEST
from tests.hostile.stage import Target, target, under
from tests.raw import TEXT, encode

MESSAGE = b"x" * 32
PAUSE = 0.005  # seconds between two messages
TIMEOUT = 60  # seconds


def opened(server: Target) -> socket.socket:
    """Open a connection."""
    good = socket.create_connection(("127.0.0.1", server.port), TIMEOUT)
    good.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if server.context is not None:
        good = server.context.wrap_socket(good, server_hostname="127.0.0.1")
    good.sendall(REQUEST)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += read(good, 1)
    if not head.startswith(b"HTTP/1.1 101 "):
        sys.exit(f"the good client was refused: {head!r}")
    return good


def read(good: socket.socket, size: int) -> bytes:
    """Read so many bytes."""
    data = b""
    while len(data) < size:
        piece = good.recv(size - len(data))
        if not piece:
            sys.exit("the server has ended the good client's connection")
        data += piece
    return data


def ask(good: socket.socket) -> None:
    """Have a message echoed."""
    good.sendall(encode(TEXT, MESSAGE, masked=True))
    if read(good, 2 + len(MESSAGE)) != encode(TEXT, MESSAGE):
        sys.exit("the good client got a wrong answer")


def come_and_go(server: Target) -> None:
    """Have a message echoed on a new connection."""
    with closing(opened(server)) as good:
        ask(good)


def times(action: Callable[[], object], seconds: float) -> list[float]:
    """How many milliseconds an action takes, again and again for so many seconds."""
    found: list[float] = []
    end = perf_counter() + seconds
    while len(found) < 2 or perf_counter() < end:
        start = perf_counter()
        action()
        found.append((perf_counter() - start) * 1000)
        sleep(PAUSE)
    return found


def figures(found: list[float]) -> list[str]:
    """The median, the 99th percentile and the maximum."""
    percentiles = quantiles(found, n=100, method="inclusive")
    return [f"{value:.1f}" for value in (percentiles[49], percentiles[98], max(found))]


async def measure(attack: Attack | None, seconds: float) -> list[str]:
    """The row of an attack in the table; of None that of a server which nobody attacks."""
    async with target(attack or ATTACKS[0]) as server:
        os.sched_setaffinity(server.process.pid, {cores()[0]})
        with closing(opened(server)) as good:
            if attack is None:
                return [*row("no attack", good, server, seconds), ""]
            async with under(attack, server.port):
                cells = row(attack.name, good, server, seconds)
            return [*cells, f"{server.memory.peak() / MIB:.1f}"]


def row(name: str, good: socket.socket, server: Target, seconds: float) -> list[str]:
    """A row without the memory."""
    echoes = times(lambda: ask(good), seconds)
    return [name, *figures(echoes), *figures(times(lambda: come_and_go(server), seconds))]


async def main() -> None:
    """Measure all attacks, and tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=5, help="seconds for each of the two kinds of figures (5)")
    parser.add_argument("--only", action="append", default=[], metavar="TEXT", help="attacks with TEXT in their name")
    chosen = parser.parse_args()
    wanted = [a for a in ATTACKS if not chosen.only or any(text in a.name for text in chosen.only)]
    raise_file_limit(max(a.connections for a in ATTACKS))
    os.sched_setaffinity(0, {cores()[1]})
    rows = [["milliseconds", "echo p50", "p99", "max", "new connection p50", "p99", "max", "server's memory, MiB"]]
    for attack in (None, *wanted):
        progress(attack.name if attack else "no attack")
        rows.append(await measure(attack, chosen.seconds))
    say("")
    table(rows)


if __name__ == "__main__":
    import uvloop

    uvloop.run(main())
