"""aiohttp's server."""

import asyncio
import zlib
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, set_zlib_backend, web

from bench.endpoint import HOST, run, serve_until_drained, server_context, told

clients: set[web.WebSocketResponse] = set()
settings = told()


class EqualZlib:
    """zlib, with the level and the memory level of the other contestants; aiohttp has no option for them."""

    Z_BEST_SPEED = settings.level  # aiohttp requests this level

    def __getattr__(self, name: str) -> Any:
        return getattr(zlib, name)

    def compressobj(self, **options: Any) -> Any:
        """Compress with the memory level of the other contestants."""
        return zlib.compressobj(**options, memLevel=settings.mem_level)


async def answer(response: web.WebSocketResponse, message: Any) -> None:
    """Send a message."""
    if message.type is WSMsgType.TEXT:
        await response.send_str(message.data)
    elif message.type is WSMsgType.BINARY:
        await response.send_bytes(message.data)


async def handler(request: web.Request) -> web.WebSocketResponse:
    """Echo every message, or send it to all clients."""
    response = web.WebSocketResponse(compress=bool(settings.deflate))
    await response.prepare(request)
    clients.add(response)
    try:
        async for message in response:
            if settings.mode == "echo":
                await answer(response, message)
            else:
                for other in clients:
                    await answer(other, message)
    finally:
        clients.discard(response)
    return response


async def drain() -> None:
    """Close all connections, as in aiohttp's documentation of a shutdown, but concurrently."""
    await asyncio.gather(*(response.close(code=WSCloseCode.GOING_AWAY) for response in list(clients)))


async def main() -> None:
    """Serve until killed."""
    backend: Any = EqualZlib()
    set_zlib_backend(backend)
    application = web.Application()
    application.router.add_get("/", handler)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0, ssl_context=server_context(settings), backlog=8192).start()
    await serve_until_drained(runner.addresses[0][1], drain)


run(main())
