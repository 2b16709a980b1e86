"""Peers with the JavaScript API, which are controlled by commands.

They live longer than a test, and a test has an event loop of its own; so they are run in the loop of another thread.
"""

from __future__ import annotations

import asyncio
import base64
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

from tests.peers.ends import End, Listening, Peer
from tests.peers.scenarios import Seen

#: The folder of the scripts.
FILES = Path(__file__).parent

#: Seconds for a peer to start or to end.
PATIENCE = 120.0

T = TypeVar("T")


class Background:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self._loop = asyncio.SelectorEventLoop()
        self._thread = Thread(target=self._loop.run_forever, name="peers", daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in that loop, and block until it has ended."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE)

    async def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in that loop, and await it in the present one."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, self._loop))

    def stop(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()


#: A function that calls a command in JavaScript with arguments, and returns its result.
Call = Callable[..., Awaitable[Any]]


class ScriptedEnd(End):
    def __init__(self, call: Call, id: int, subprotocol: str) -> None:
        self._call = call
        self._id = id
        self.subprotocol = subprotocol

    async def send(self, message: str | bytes, frames: int = 1) -> None:
        if isinstance(message, str):
            packed = {"text": message}
        else:
            packed = {"base64": base64.b64encode(message).decode()}
        if frames == 1:
            await self._call("send", self._id, packed)
        else:
            await self._call("sendFragments", self._id, packed, frames)

    async def recv(self) -> str | bytes:
        packed = await self._call("receive", self._id)
        return packed["text"] if "text" in packed else base64.b64decode(packed["base64"])

    async def ping(self) -> None:
        assert await self._call("ping", self._id, "?") == "?"

    async def close(self, code: int | None, reason: str) -> None:
        if code is None:
            await self._call("close", self._id)
        elif not reason:
            await self._call("close", self._id, code)
        else:
            await self._call("close", self._id, code, reason)

    async def terminate(self) -> None:
        await self._call("terminate", self._id)

    async def closed(self) -> Seen:
        return Seen(**await self._call("closed", self._id))


class ScriptedServer(Listening):
    def __init__(self, call: Call, id: int, port: int) -> None:
        self._call = call
        self._id = id
        self.port = port

    async def accept(self) -> End:
        end = await self._call("accept", self._id)
        return ScriptedEnd(self._call, end, await self._call("opened", end))


class Scripted(Peer, ABC):
    """A peer that is controlled by commands."""

    @abstractmethod
    async def call(self, command: str, *values: Any) -> Any:
        """Call a command."""

    @asynccontextmanager
    async def connect(self, url: str, subprotocols: Sequence[str]) -> AsyncIterator[End]:
        number = await self.call("connect", url, subprotocols)
        end = ScriptedEnd(self.call, number, await self.call("opened", number))
        yield end
        await end.close(None, "")
        await end.closed()
