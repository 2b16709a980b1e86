"""Programs under attack in other processes, so that their memory can be measured."""

from __future__ import annotations

import json
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.faults.patience import PATIENCE
from tests.faults.processes import Process
from tests.faults.programs import started
from tests.faults.tcp_peer import tcp_client, tcp_server
from tests.faults.tls_peer import TLSPeer

KIB, MIB = 1 << 10, 1 << 20

both_roles = pytest.mark.parametrize("role", ["client", "server"])

PROGRAM = """
import asyncio, json, sys
from tests.faults.programs import run, tell
from wasclean import Cause, connect, serve

role, port, options, handler = sys.argv[1:]
options = json.loads(options)

async def read(socket):  # messages are dropped
    async for message in socket:
        pass

async def hold(socket):  # does not read
    await socket.wait_closed()

async def echo(socket):
    async for message in socket:
        await socket.send(message)

async def handle(socket):
    socket.addEventListener("close", tell)
    await globals()[handler](socket)

async def main():
    if role == "server":
        async with serve(handle, "127.0.0.1", 0, **options) as server:
            print("port", server.port)
            await server.serve_forever()
    else:
        socket = await connect(f"ws://127.0.0.1:{port}/", **options)
        try:
            await handle(socket)
        finally:
            await socket.wait_closed()
            await asyncio.Event().wait()  # so that its memory can be measured

run(main)
"""


class Memory:
    """The resident memory of a process, relative to the time when this object is made.

    Args:
        pid: its process id.
    """

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")
        self._before = self._now("VmRSS")
        (self._folder / "clear_refs").write_text("5")  # resets the peak

    def grown(self) -> int:
        """Return the growth of the memory, in bytes."""
        return self._now("VmRSS") - self._before

    def peak(self) -> int:
        """Return the largest growth so far, in bytes."""
        return self._now("VmHWM") - self._before

    def _now(self, name: str) -> int:
        (size,) = re.findall(rf"^{name}:\s+(\d+) kB$", (self._folder / "status").read_text(), re.MULTILINE)
        return int(size) * KIB


class Victim(NamedTuple):
    """A program under attack, and its attacker.

    Attributes:
        process: the process of the program.
        memory: its memory, relative to the time when the connection was opened.
        peer: the raw other end of its connection.
        port: the port of the server.
    """

    process: Process
    memory: Memory
    peer: TLSPeer
    port: int


@asynccontextmanager
async def victim(role: str, handler: str = "read", *, extension: str = "", **options: Any) -> AsyncIterator[Victim]:
    """Run a program that is a server or a client of wasclean, and open a connection with it.

    Args:
        role: ``server`` or ``client``.
        handler: the name of a function in PROGRAM that handles the connection.
        extension: the extension that the attacker offers or agrees to.
        options: options of serve() or connect().
    """
    options = {"ping_interval": None, "close_timeout": PATIENCE} | options  # no pings unless a test needs them
    if role == "server":
        with started(PROGRAM, role, 0, json.dumps(options), handler) as process:
            port = int(await process.line("port "))
            async with tcp_client(port) as first:  # so that modules and objects that are needed once exist
                await first.send_close(1000)
                await first.ended()
            async with tcp_client(port, extension=extension) as peer:
                yield Victim(process, Memory(process.pid), peer, port)
    else:
        async with tcp_server() as server:
            with started(PROGRAM, role, server.port, json.dumps(options), handler) as process:
                peer = await server.accept(extension)
                yield Victim(process, Memory(process.pid), peer, server.port)


async def send_all(peer: TLSPeer, data: bytes, times: int = 1) -> int:
    """Send bytes ``times`` times, or until the connection ends; return how many times they were sent."""
    for done in range(times):
        try:
            await peer.send(data)
        except ConnectionError as error:
            error.__traceback__ = None  # breaks a cycle: traceback, this frame, the error
            return done
    return times


def sockets_in_state(port: int, state: int) -> int:
    """Return the number of TCP sockets with this local port in a state, such as 8 for CLOSE_WAIT."""
    lines = Path(f"/proc/{os.getpid()}/net/tcp").read_text().splitlines()[1:]
    return sum(line.split()[1].endswith(f":{port:04X}") and int(line.split()[3], 16) == state for line in lines)
