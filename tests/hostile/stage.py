"""A server in another process, which reports its resources, and attacks on it."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import NamedTuple

import trustme

from tests.certificates import authority, client_context
from tests.faults.processes import Process, process
from tests.faults.programs import started
from tests.hostile.attacks import Attack
from tests.security.victim import Memory

#: Limit for an attack to begin, and for the server to free its resources afterwards, in seconds.
PATIENCE = 120.0

PROGRAM = """
import asyncio, json, os, ssl, sys
from tests.faults.programs import run
from tests.hostile.attackers import descriptors
from wasclean import Response, serve

options, certificate = sys.argv[1:]

async def echo(socket):
    async for message in socket:
        await socket.send(message)

async def main():
    def on_request(request):
        if request.path == "/held":
            held = len(server.connections), len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))
            return Response(200, json.dumps(held))

    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    descriptors(20_000)
    async with serve(echo, "127.0.0.1", 0, ssl=context, on_request=on_request, **json.loads(options)) as server:
        print("port", server.port)
        await server.serve_forever()

run(main)
"""


class Held(NamedTuple):
    """The resources of a server.

    Attributes:
        connections: the number of its sockets.
        tasks: the number of tasks in its loop.
        descriptors: the number of open files, including the connection of the query.
    """

    connections: int
    tasks: int
    descriptors: int


class Target(NamedTuple):
    """An echo server.

    Attributes:
        process: its process.
        memory: the memory of the process, relative to the time before the attack.
        port: the port that it listens on.
        context: the TLS context for clients; None without TLS.
    """

    process: Process
    memory: Memory
    port: int
    context: ssl.SSLContext | None

    @property
    def url(self) -> str:
        """The URL to connect to."""
        return f"{'ws' if self.context is None else 'wss'}://127.0.0.1:{self.port}/"

    async def held(self) -> Held:
        """Query its resources."""
        return await _held(self.port, self.context)

    async def at_rest(self) -> Held:
        """Return its resources while it has no clients: the minimum of several queries, since ends take a moment."""
        found = []
        for _ in range(5):
            found.append(await self.held())
            await asyncio.sleep(0.02)
        return min(found)

    async def holds(self, expected: Callable[[Held], bool], what: object) -> None:
        """Wait until its resources are as expected.

        Raises:
            AssertionError: they are not after PATIENCE.
        """
        held = None
        try:
            async with asyncio.timeout(PATIENCE):
                while not expected(held := await self.held()):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"the server holds {held} instead of {what}") from None


@asynccontextmanager
async def target(attack: Attack) -> AsyncIterator[Target]:
    """Run a server with the options of an attack."""
    context = client_context() if attack.tls else None
    with _certificate(attack.tls) as path, started(PROGRAM, json.dumps(attack.options), path) as running:
        port = int(await running.line("port ", PATIENCE))
        await _held(port, context)  # so that modules and objects that are needed once exist
        yield Target(running, Memory(running.pid), port, context)


@contextmanager
def _certificate(wanted: bool) -> Iterator[str]:
    """Yield the path of a certificate and its key, or an empty str if none is wanted."""
    if not wanted:
        yield ""
        return
    certificate = authority().issue_cert("127.0.0.1", key_type=trustme.KeyType.ECDSA)
    with certificate.private_key_and_cert_chain_pem.tempfile() as path:
        yield path


@asynccontextmanager
async def under(attack: Attack, port: int) -> AsyncIterator[Process]:
    """Run an attack on a port: wait until it has begun, and kill the attackers at the end of the context."""
    client = attack.client
    arguments = (client.__module__, client.__name__, str(attack.size), str(port))
    # They run with low priority, because the server is under test.
    with process("nice", sys.executable, "-m", "tests.hostile.attackers", *arguments) as attackers:
        await attackers.line("under way", PATIENCE)
        yield attackers
        assert attackers.is_running, attackers.stderr


async def _held(port: int, context: ssl.SSLContext | None) -> Held:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    writer.write(b"GET /held HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return Held(*json.loads(answer.partition(b"\r\n\r\n")[2]))
