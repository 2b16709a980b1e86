"""Functions for the servers and clients of the benchmark: settings, TLS, event loop."""

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
    """Return the settings of this process."""
    return Settings(**json.loads(sys.argv[1]))


def server_context(settings: Settings) -> ssl.SSLContext | None:
    """Return the TLS context of a server; None without TLS."""
    if not settings.certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(settings.certificate, settings.key)
    return context


def client_context(settings: Settings) -> ssl.SSLContext | None:
    """Return the TLS context of a client; None without TLS."""
    return ssl.create_default_context(cafile=settings.authority) if settings.authority else None


async def serve_until_drained(port: int, drain: Callable[[], Awaitable[object]]) -> None:
    """Print the port, and wait for SIGTERM; then close all connections, print ``drained``, and wait.

    The process stays alive so that its CPU time can be read.
    """
    terminated = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminated.set)
    print(port, flush=True)
    await terminated.wait()
    await drain()
    print("drained", flush=True)
    await stay()


async def stay() -> None:
    """Wait until the process is killed."""
    await asyncio.Event().wait()


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run on uvloop, as all Python contestants do."""
    uvloop.run(main)
