"""aiohttp's client."""

import asyncio

from aiohttp import ClientSession, TCPConnector, WSMsgType

from bench.endpoint import client_context, run, told


async def main() -> None:
    """Echo every message, until killed."""
    settings = told()
    context = client_context(settings) or True

    async with ClientSession(connector=TCPConnector(limit=0)) as session:

        async def echo() -> None:
            async with session.ws_connect(settings.url, ssl=context) as socket:
                async for message in socket:
                    if message.type is WSMsgType.TEXT:
                        await socket.send_str(message.data)
                    elif message.type is WSMsgType.BINARY:
                        await socket.send_bytes(message.data)

        await asyncio.gather(*(echo() for _ in range(settings.connections)))


run(main())
