"""The ends of loops that are not those of asyncio.run()."""

from __future__ import annotations

import asyncio
import gc
import weakref

from tests.endpoints import echo, served
from tests.process.test_exits import GONE, peer, program
from tests.raw import TEXT, Frame
from wasclean import connect
from wasclean.process import loops


async def test_a_loop_has_a_guard_while_it_has_a_connection_or_a_server() -> None:
    before = len(loops._guards)
    async with served(echo) as server:
        assert len(loops._guards) == before + 1
        async with connect(server.url):
            assert len(loops._guards) == before + 1
    await asyncio.sleep(0)
    assert len(loops._guards) == before


def test_a_loop_that_is_forgotten_is_freed() -> None:
    async def main() -> None:
        async with served(echo) as server, connect(server.url):
            pass

    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    loop.close()
    known = weakref.ref(loop)
    del loop
    gc.collect()
    assert known() is None


async def test_a_program_may_end_its_loop_by_itself() -> None:
    text = """
loop = new_loop()
async def main():
    socket = WebSocket(url)
    socket.onclose = closed
    await socket.wait_opened()
    return socket
socket = loop.run_until_complete(main())
loop.run_until_complete(loop.shutdown_asyncgens())
print("shut down", flush=True)
loop.close()
"""
    async with peer() as server:
        with program(text, server.url) as running:
            assert await server.frame() == GONE
            assert await running.ended() == (0, "closed: 1001 process_exit\nshut down\n", "")


async def test_the_last_words_of_a_programs_generator_still_leave() -> None:
    text = """
async def numbers(socket):
    try:
        yield 1
    finally:
        socket.send("last")
async def main():
    global socket, generator
    socket = await connect(url)
    generator = numbers(socket)
    await anext(generator)
run(main())
"""
    async with peer() as server:
        with program(text, server.url) as running:
            assert await server.frame() == Frame(TEXT, b"last")
            assert await server.frame() == GONE
            assert (await running.ended()).status == 0


async def test_a_program_that_exits_twice_closes_its_connections_all_the_same() -> None:
    text = """
async def main():
    first, second = WebSocket(url), WebSocket(url)
    first.onmessage = second.onmessage = lambda event: sys.exit(3)
    for socket in (first, second):
        await socket.wait_opened()
        socket.onclose = closed
    print("ready")
    await asyncio.sleep(600)
run(main())
"""
    async with peer() as server:
        with program(text, server.url) as running:
            clients = [await server.client(), await server.client()]
            await running.line("ready")
            for client in clients:
                client.send_frame(TEXT, b"now")
            assert {await server.frame(), await server.frame()} == {GONE}
            ended = await running.ended()  # asyncio may complain of main(), whose cancellation it has not awaited
            assert ended[:2] == (3, "ready\n" + 2 * "closed: 1001 process_exit\n")


async def test_a_loop_that_was_closed_first_loses_no_connection_however_its_listeners_are_made() -> None:
    text = """
async def finished(event):
    print("never")
async def main():
    socket = WebSocket(url)
    await socket.wait_opened()
    socket.onclose = finished
    socket.addEventListener("close", closed)
    return socket
loop = new_loop()
socket = loop.run_until_complete(main())
loop.close()
"""
    async with peer() as server:
        with program(text, server.url) as running:
            assert await server.frame() == GONE
            assert await running.ended() == (0, "closed: 1001 process_exit\n", "")
