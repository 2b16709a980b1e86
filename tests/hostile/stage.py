"""A server in a process of its own, which can be asked what it holds, and those who attack it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from tests.faults.processes import Process, process
from tests.faults.programs import started
from tests.hostile.attacks import ATTACKS, Attack
from tests.security.victim import Memory

#: Seconds until an attack is under way, or has left no trace.
PATIENCE = 40.0

PROGRAM = """
import asyncio, json, os, sys
from tests.faults.programs import run
from tests.hostile.attacks import descriptors
from wasclean import Response, serve

async def echo(socket):
    async for message in socket:
        await socket.send(message)

async def main():
    def on_request(request):
        if request.path == "/held":
            held = len(server.connections), len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))
            return Response(200, json.dumps(held))

    descriptors(20_000)
    async with serve(echo, "127.0.0.1", 0, on_request=on_request, **json.loads(sys.argv[1])) as server:
        print("port", server.port)
        await server.serve_forever()

run(main)
"""


class Held(NamedTuple):
    """What a server holds.

    Attributes:
        connections: its sockets.
        tasks: of its loop.
        descriptors: its open files, that of the connection included which has asked.
    """

    connections: int
    tasks: int
    descriptors: int


class Target(NamedTuple):
    """A server that echoes.

    Attributes:
        process: in which it is.
        memory: what that needs, from before the attack on.
        port: where it listens.
    """

    process: Process
    memory: Memory
    port: int

    async def held(self) -> Held:
        """Ask it what it holds."""
        return await _held(self.port)

    async def holds(self, expected: Held) -> None:
        """Wait until it holds just that.

        Raises:
            AssertionError: it does not within PATIENCE.
        """
        held = None
        try:
            async with asyncio.timeout(PATIENCE):
                while (held := await self.held()) != expected:
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"the server holds {held} instead of {expected}") from None


@asynccontextmanager
async def target(attack: Attack) -> AsyncIterator[Target]:
    """Run a server with the options that an attack is meant for."""
    with started(PROGRAM, json.dumps(attack.options)) as running:
        port = int(await running.line("port "))
        await _held(port)  # whatever is imported or made once
        yield Target(running, Memory(running.pid), port)


@asynccontextmanager
async def under(attack: Attack, port: int) -> AsyncIterator[Process]:
    """Run an attack on a port; when the context begins it is under way, and when it ends the attackers are killed."""
    number = ATTACKS.index(attack)
    # They have a processor's time when nobody else wants it: it is the server that is to be looked at.
    with process("nice", sys.executable, "-m", "tests.hostile.attacks", str(number), str(port)) as attackers:
        await attackers.line("under way", PATIENCE)
        yield attackers
        assert attackers.is_running, attackers.stderr


async def _held(port: int) -> Held:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /held HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return Held(*json.loads(answer.partition(b"\r\n\r\n")[2]))
