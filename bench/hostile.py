"""Measures the response times of wasclean's server for a normal client during attacks (``make bench-hostile``).

The server runs on one core, the attackers and the normal client on another. The normal client repeatedly sends a
message and waits for its echo; then it repeatedly opens a connection, has a message echoed, and closes it. The attacks
are those of ``make hostile``, which also checks the memory of the server.
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
        sys.exit(f"the normal client was refused: {head!r}")
    return good


def read(good: socket.socket, size: int) -> bytes:
    """Read exactly ``size`` bytes."""
    data = b""
    while len(data) < size:
        piece = good.recv(size - len(data))
        if not piece:
            sys.exit("the server has ended the connection of the normal client")
        data += piece
    return data


def ask(good: socket.socket) -> None:
    """Send a message, and wait for its echo."""
    good.sendall(encode(TEXT, MESSAGE, masked=True))
    if read(good, 2 + len(MESSAGE)) != encode(TEXT, MESSAGE):
        sys.exit("the normal client got a wrong reply")


def come_and_go(server: Target) -> None:
    """Open a connection, have a message echoed, and close it."""
    with closing(opened(server)) as good:
        ask(good)


def times(action: Callable[[], object], seconds: float) -> list[float]:
    """Return the durations of an action in milliseconds, repeating it for ``seconds``."""
    found: list[float] = []
    end = perf_counter() + seconds
    while len(found) < 2 or perf_counter() < end:
        start = perf_counter()
        action()
        found.append((perf_counter() - start) * 1000)
        sleep(PAUSE)
    return found


def figures(found: list[float]) -> list[str]:
    """Return the median, the 99th percentile and the maximum."""
    percentiles = quantiles(found, n=100, method="inclusive")
    return [f"{value:.1f}" for value in (percentiles[49], percentiles[98], max(found))]


async def measure(attack: Attack | None, seconds: float) -> list[str]:
    """Return the row of an attack in the table; None stands for no attack."""
    async with target(attack or ATTACKS[0]) as server:
        os.sched_setaffinity(server.process.pid, {cores()[0]})
        with closing(opened(server)) as good:
            if attack is None:
                return [*row("no attack", good, server, seconds), ""]
            async with under(attack, server.port):
                cells = row(attack.name, good, server, seconds)
            return [*cells, f"{server.memory.peak() / MIB:.1f}"]


def row(name: str, good: socket.socket, server: Target, seconds: float) -> list[str]:
    """Return a row without the memory."""
    echoes = times(lambda: ask(good), seconds)
    return [name, *figures(echoes), *figures(times(lambda: come_and_go(server), seconds))]


async def main() -> None:
    """Measure all attacks, and print the table."""
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
