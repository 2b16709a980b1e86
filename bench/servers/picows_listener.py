"""picows' own API: a listener, as in its examples. It passes bytes on, and does not validate text."""

import asyncio

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

from bench.endpoint import HOST, run, serve_until_drained, server_context, told

clients: set[WSTransport] = set()


class Echo(WSListener):
    """Echo every message."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Add a client."""
        clients.add(transport)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Remove a client."""
        clients.discard(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Reply to a message; answer a Close frame, which picows leaves to its user."""
        if frame.msg_type == WSMsgType.CLOSE:
            if not transport.is_close_frame_sent:
                transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        else:
            self.answer(transport, frame)

    def answer(self, transport: WSTransport, frame: WSFrame) -> None:
        """Echo a message."""
        transport.send(frame.msg_type, frame.get_payload_as_bytes())


class Broadcast(Echo):
    """Send every message to all clients."""

    def answer(self, transport: WSTransport, frame: WSFrame) -> None:
        """Send a message to all clients."""
        message = frame.get_payload_as_bytes()
        for other in clients:
            other.send(frame.msg_type, message)


async def drain() -> None:
    """Close all connections."""
    leaving = list(clients)
    for transport in leaving:
        transport.send_close(WSCloseCode.GOING_AWAY)
    await asyncio.gather(*(transport.wait_disconnected() for transport in leaving))


async def main() -> None:
    """Serve until killed."""
    settings = told()
    listener = {"echo": Echo, "broadcast": Broadcast}[settings.mode]

    def new_listener(request: WSUpgradeRequest) -> WSListener:
        return listener()

    server = await ws_create_server(new_listener, HOST, 0, ssl=server_context(settings), backlog=8192)
    await serve_until_drained(server.sockets[0].getsockname()[1], drain)


run(main())
