"""Hostile clients in another process: ``python -m tests.hostile.attackers MODULE FUNCTION CONNECTIONS PORT``.

The program prints ``under way`` when the attack has begun on all connections, and runs until it is killed. It imports
few modules, because it is started for each test.
"""

from __future__ import annotations

import asyncio
import resource
import sys
from collections.abc import Awaitable, Callable
from importlib import import_module

from tests.hostile.clients import Begun


def descriptors(wanted: int) -> int:
    """Raise the limit of open files to its maximum; return how many of the wanted connections it allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard - 200)


async def main(client: Callable[[int, int, Begun], Awaitable[None]], connections: int, port: int) -> None:
    """Attack until the process is killed."""
    count = descriptors(connections)
    waiting = set(range(count))

    async def repeat(number: int) -> None:
        def begun() -> None:
            if number in waiting:
                waiting.remove(number)
                if not waiting:
                    print("under way", flush=True)

        while True:
            try:
                await client(port, number, begun)
            except ConnectionError:
                pass

    await asyncio.gather(*map(repeat, range(count)))


if __name__ == "__main__":
    module, function, *numbers = sys.argv[1:]
    asyncio.run(main(getattr(import_module(module), function), *map(int, numbers)))
