"""A server with event listeners, and a health check over plain HTTP. Usage: events_server.py [port]."""

import asyncio
import signal
import sys

from wasclean import CloseEvent, MessageEvent, Request, Response, WebSocket, serve


def health(request: Request) -> Response | None:
    return Response(200, "healthy\n") if request.target == "/health" else None


def handle(socket: WebSocket) -> None:
    def message(event: MessageEvent) -> None:
        if isinstance(event.data, str):
            socket.send(event.data.upper())
        else:
            socket.close(1003, "text only")

    def closed(event: CloseEvent) -> None:
        print("WebSocket closed:", event.code, event.reason, flush=True)

    socket.onmessage = message
    socket.onclose = closed


async def main(port: int) -> None:
    async with serve(handle, "127.0.0.1", port, on_request=health) as server:
        for number in (signal.SIGINT, signal.SIGTERM):  # on Windows leave these two lines out
            asyncio.get_running_loop().add_signal_handler(number, server.close)
        print(f"listening at ws://127.0.0.1:{server.port}", flush=True)
        await server.wait_closed()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 8080))
