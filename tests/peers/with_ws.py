"""Node's ws as a peer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from tests.peers.ends import Listening
from tests.peers.scripted import FILES, PATIENCE, Background, Scripted, ScriptedServer

LONGEST_LINE = 8 << 20  # bytes: a message of 1 MiB in base64 and JSON, with room


class Node(Scripted):
    """Node's ws, in a process of its own."""

    def __init__(self, background: Background, process: asyncio.subprocess.Process) -> None:
        self._background = background
        self._process = process
        self._calls: list[asyncio.Future[Any]] = []

    async def call(self, command: str, *values: Any) -> Any:
        return await self._background.call(self._call(command, values))

    async def _call(self, command: str, values: tuple[Any, ...]) -> Any:
        answer = asyncio.get_running_loop().create_future()
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([len(self._calls), command, values]).encode() + b"\n")
        self._calls.append(answer)
        return await answer

    async def read(self) -> None:
        """Take the answers, until there will be no more."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            number, result, *error = json.loads(line)
            if error:
                self._calls[number].set_exception(RuntimeError(f"Node: {error[0]}"))
            else:
                self._calls[number].set_result(result)
        for call in self._calls:
            if not call.done():
                call.set_exception(EOFError("Node has ended"))
                call.exception()  # marks it as retrieved: the caller may have been cancelled

    @asynccontextmanager
    async def serve(self, subprotocols: Sequence[str]) -> AsyncIterator[Listening]:
        server = await self.call("serve", subprotocols)
        try:
            yield ScriptedServer(self.call, server["id"], server["port"])
        finally:
            await self.call("stop", server["id"])


@contextmanager
def node(program: str) -> Iterator[Node]:
    """Node's ws, as long as the context lasts."""

    async def start() -> tuple[Node, asyncio.subprocess.Process, asyncio.Task[None]]:
        process = await asyncio.create_subprocess_exec(
            program,
            str(FILES / "node.mjs"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LONGEST_LINE,
        )
        peer = Node(background, process)
        return peer, process, asyncio.create_task(peer.read())

    async def end(process: asyncio.subprocess.Process, reading: asyncio.Task[None]) -> None:
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), PATIENCE / 2)
        except TimeoutError:
            process.kill()
            await process.wait()
        await reading

    background = Background()
    try:
        peer, process, reading = background.run(start())
        try:
            yield peer
        finally:
            background.run(end(process, reading))
    finally:
        background.stop()
