"""wasclean as in a browser: ``onmessage``. WASCLEAN_PURE=1 runs the pure build."""

from bench.endpoint import client_context, run, stay, told
from wasclean import WebSocket


async def main() -> None:
    """Echo every message, until killed."""
    settings = told()
    context = client_context(settings)
    sockets = [WebSocket(settings.url, ssl=context, compression=None, proxy=None) for _ in range(settings.connections)]
    for socket in sockets:
        socket.onmessage = lambda event: event.target.send(event.data)
    for socket in sockets:
        await socket.wait_opened()
    await stay()


run(main())
