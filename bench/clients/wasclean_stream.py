"""wasclean as a stream: ``async for``. WASCLEAN_PURE=1 runs the pure build."""

import asyncio

from bench.endpoint import client_context, run, told
from wasclean import connect


async def main() -> None:
    """Echo every message, until killed."""
    settings = told()
    context = client_context(settings)

    async def echo() -> None:
        async with connect(settings.url, ssl=context, compression=None, proxy=None) as socket:
            async for message in socket:
                await socket.send(message)

    await asyncio.gather(*(echo() for _ in range(settings.connections)))


run(main())
