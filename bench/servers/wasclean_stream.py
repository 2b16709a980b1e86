"""wasclean as a stream: ``async for``. WASCLEAN_PURE=1 runs the pure build."""

import sys

import uvloop

from wasclean import WebSocket, serve


async def handler(socket: WebSocket) -> None:
    """Echo every message."""
    async for message in socket:
        await socket.send(message)


async def main(port: int) -> None:
    """Serve until killed."""
    async with serve(handler, "127.0.0.1", port) as server:
        print(server.port, flush=True)
        await server.serve_forever()


uvloop.run(main(int(sys.argv[1])))
