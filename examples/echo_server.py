"""An echo server. On Ctrl-C it closes its connections with 1001. Usage: echo_server.py [port]."""

import asyncio
import signal
import sys

from wasclean import WebSocket, serve


async def echo(socket: WebSocket) -> None:
    async for message in socket:
        await socket.send(message)


async def main(port: int) -> None:
    async with serve(echo, "127.0.0.1", port) as server:
        for number in (signal.SIGINT, signal.SIGTERM):  # on Windows leave these two lines out
            asyncio.get_running_loop().add_signal_handler(number, server.close)
        print(f"listening at ws://127.0.0.1:{server.port}", flush=True)
        await server.wait_closed()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 8080))
