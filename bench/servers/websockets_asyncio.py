"""The ``websockets`` package, its asyncio server."""

import sys

import uvloop
from websockets.asyncio.server import ServerConnection, serve


async def handler(connection: ServerConnection) -> None:
    """Echo every message."""
    async for message in connection:
        await connection.send(message)


async def main(port: int) -> None:
    """Serve until killed."""
    async with serve(handler, "127.0.0.1", port, compression=None) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        await server.serve_forever()


uvloop.run(main(int(sys.argv[1])))
