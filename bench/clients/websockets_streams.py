"""The ``websockets`` package, its asyncio client."""

import asyncio

from websockets.asyncio.client import connect

from bench.endpoint import client_context, run, told


async def main() -> None:
    """Echo every message, until killed."""
    settings = told()
    context = client_context(settings)

    async def echo() -> None:
        async with connect(settings.url, ssl=context, compression=None, proxy=None) as connection:
            async for message in connection:
                await connection.send(message)

    await asyncio.gather(*(echo() for _ in range(settings.connections)))


run(main())
