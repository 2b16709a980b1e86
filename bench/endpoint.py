"""What the servers and clients of the benchmark share: what they were told, TLS, and their loop."""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import uvloop

from bench.settings import HOST, Settings

__all__ = ["HOST", "Settings", "client_context", "run", "serve_until_drained", "server_context", "stay", "told"]


def told() -> Settings:
    """What this process was told."""
    return Settings(**json.loads(sys.argv[1]))


def server_context(settings: Settings) -> ssl.SSLContext | None:
    """The TLS context of a server."""
    if not settings.certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(settings.certificate, settings.key)
    return context


def client_context(settings: Settings) -> ssl.SSLContext | None:
    """The TLS context of a client."""
    return ssl.create_default_context(cafile=settings.authority) if settings.authority else None


async def serve_until_drained(port: int, drain: Callable[[], Awaitable[object]]) -> None:
    """Serve; at SIGTERM close all connections, say so, and stay, so that the CPU time can still be read."""
    terminated = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminated.set)
    print(port, flush=True)
    await terminated.wait()
    await drain()
    print("drained", flush=True)
    await stay()


async def stay() -> None:
    """Do nothing more, until killed."""
    await asyncio.Event().wait()


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run on uvloop, as everybody does."""
    uvloop.run(main)
