"""wasclean as in a browser: a plain function that sets ``onmessage``. WASCLEAN_PURE=1 runs the pure build."""

import wasclean
from bench.endpoint import HOST, run, serve_until_drained, server_context, told
from bench.servers.wasclean_settings import compression
from wasclean import WebSocket, serve

clients: set[WebSocket] = set()


def echo(socket: WebSocket) -> None:
    """Echo every message."""
    socket.onmessage = lambda event: socket.send(event.data)


def broadcast(socket: WebSocket) -> None:
    """Send every message to all clients."""
    clients.add(socket)
    socket.onmessage = lambda event: wasclean.broadcast(clients, event.data)
    socket.onclose = lambda event: clients.discard(socket)


async def main() -> None:
    """Serve until killed."""
    settings = told()
    handler = {"echo": echo, "broadcast": broadcast}[settings.mode]
    context = server_context(settings)
    async with serve(handler, HOST, 0, ssl=context, compression=compression(settings), backlog=8192) as server:
        await serve_until_drained(server.port, server.close)


run(main())
