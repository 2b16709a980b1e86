"""aiohttp's server."""

import asyncio
import zlib
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, set_zlib_backend, web

from bench.endpoint import HOST, run, serve_until_drained, server_context, told

everybody: set[web.WebSocketResponse] = set()
settings = told()


class EqualZlib:
    """zlib, with the level and the memory of everybody else; aiohttp has no option for them."""

    Z_BEST_SPEED = settings.level  # the level that aiohttp asks for

    def __getattr__(self, name: str) -> Any:
        return getattr(zlib, name)

    def compressobj(self, **options: Any) -> Any:
        """Compress with as much memory as everybody else."""
        return zlib.compressobj(**options, memLevel=settings.mem_level)


async def answer(response: web.WebSocketResponse, message: Any) -> None:
    """Send a message."""
    if message.type is WSMsgType.TEXT:
        await response.send_str(message.data)
    elif message.type is WSMsgType.BINARY:
        await response.send_bytes(message.data)


async def handler(request: web.Request) -> web.WebSocketResponse:
    """Echo every message, or send it to everybody."""
    response = web.WebSocketResponse(compress=bool(settings.deflate))
    await response.prepare(request)
    everybody.add(response)
    try:
        async for message in response:
            if settings.mode == "echo":
                await answer(response, message)
            else:
                for other in everybody:
                    await answer(other, message)
    finally:
        everybody.discard(response)
    return response


async def drain() -> None:
    """Close all connections, as aiohttp's documentation does at a shutdown, but side by side."""
    await asyncio.gather(*(response.close(code=WSCloseCode.GOING_AWAY) for response in list(everybody)))


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
