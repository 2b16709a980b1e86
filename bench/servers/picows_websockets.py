"""picows' copy of the ``websockets`` API."""

from picows.websockets import ServerConnection, broadcast, serve

from bench.endpoint import HOST, run, serve_until_drained, server_context, told

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


async def main() -> None:
    """Serve until killed."""
    settings = told()
    handler = {"echo": echo, "broadcast": relay}[settings.mode]
    context = server_context(settings)
    async with serve(handler, HOST, 0, ssl=context, compression=None, backlog=8192) as server:

        async def drain() -> None:
            server.close()
            await server.wait_closed()

        await serve_until_drained(next(iter(server.sockets)).getsockname()[1], drain)


run(main())
