"""A server in a process of its own, which can be asked what it holds, and those who attack it."""

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

#: Seconds until an attack is under way, or has left no trace.
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
        context: for TLS with it, if it speaks that.
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
        """Ask it what it holds."""
        return await _held(self.port, self.context)

    async def at_rest(self) -> Held:
        """What it holds when nobody else talks to it: a connection that has just ended may be there for a moment."""
        found = []
        for _ in range(5):
            found.append(await self.held())
            await asyncio.sleep(0.02)
        return min(found)

    async def holds(self, expected: Callable[[Held], bool], what: object) -> None:
        """Wait until it holds what is expected.

        Raises:
            AssertionError: it does not within PATIENCE.
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
    """Run a server with the options that an attack is meant for."""
    context = client_context() if attack.tls else None
    with _certificate(attack.tls) as path, started(PROGRAM, json.dumps(attack.options), path) as running:
        port = int(await running.line("port ", PATIENCE))
        await _held(port, context)  # whatever is imported or made once
        yield Target(running, Memory(running.pid), port, context)


@contextmanager
def _certificate(wanted: bool) -> Iterator[str]:
    """The path of a certificate and its key, if it is wanted."""
    if not wanted:
        yield ""
        return
    certificate = authority().issue_cert("127.0.0.1", key_type=trustme.KeyType.ECDSA)
    with certificate.private_key_and_cert_chain_pem.tempfile() as path:
        yield path


@asynccontextmanager
async def under(attack: Attack, port: int) -> AsyncIterator[Process]:
    """Run an attack on a port; when the context begins it is under way, and when it ends the attackers are killed."""
    client = attack.client
    arguments = (client.__module__, client.__name__, str(attack.size), str(port))
    # They have a processor's time when nobody else wants it: it is the server that is to be looked at.
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
