"""Sends a message, prints the reply, and closes. Usage: echo_client.py [url]."""

import asyncio
import sys

from wasclean import connect


async def main(url: str) -> None:
    async with connect(url) as socket:
        await socket.send("Hello Server!")
        print(await socket.recv())
        event = await socket.close(1000, "done")
    print(event)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8080"))
