"""aiohttp's server."""

import asyncio
import sys

import uvloop
from aiohttp import WSMsgType, web


async def handler(request: web.Request) -> web.WebSocketResponse:
    """Echo every message."""
    response = web.WebSocketResponse(compress=False)
    await response.prepare(request)
    async for message in response:
        if message.type is WSMsgType.TEXT:
            await response.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await response.send_bytes(message.data)
    return response


async def main(port: int) -> None:
    """Serve until killed."""
    application = web.Application()
    application.router.add_get("/", handler)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


uvloop.run(main(int(sys.argv[1])))
