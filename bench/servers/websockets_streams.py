"""The ``websockets`` package, its asyncio server."""

from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory

from bench.endpoint import HOST, Settings, run, serve_until_drained, server_context, told

clients: set[ServerConnection] = set()


async def echo(connection: ServerConnection) -> None:
    """Echo every message."""
    async for message in connection:
        await connection.send(message)


async def relay(connection: ServerConnection) -> None:
    """Send every message to all clients."""
    clients.add(connection)
    async for message in connection:
        broadcast(clients, message)


def extensions(settings: Settings) -> list[ServerPerMessageDeflateFactory]:
    """Return the extension for compression."""
    if not settings.deflate:
        return []
    bits = settings.deflate
    compress = {"level": settings.level, "memLevel": settings.mem_level}
    return [
        ServerPerMessageDeflateFactory(
            server_max_window_bits=bits, client_max_window_bits=bits, compress_settings=compress
        )
    ]


async def main() -> None:
    """Serve until killed."""
    settings = told()
    handler = {"echo": echo, "broadcast": relay}[settings.mode]
    async with serve(
        handler,
        HOST,
        0,
        ssl=server_context(settings),
        compression=None,
        extensions=extensions(settings),
        backlog=8192,
    ) as server:

        async def drain() -> None:
            server.close()
            await server.wait_closed()

        await serve_until_drained(next(iter(server.sockets)).getsockname()[1], drain)


run(main())
