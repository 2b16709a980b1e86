"""picows' copy of the ``websockets`` API."""

import sys

import uvloop
from picows.websockets import ServerConnection, serve


async def handler(connection: ServerConnection) -> None:
    """Echo every message."""
    async for message in connection:
        await connection.send(message)


async def main(port: int) -> None:
    """Serve until killed."""
    async with serve(handler, "127.0.0.1", port, compression=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


uvloop.run(main(int(sys.argv[1])))
