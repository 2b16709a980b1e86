"""Scripts without an event loop: run as scripts."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from tests.endpoints import echo, served

EXAMPLES = Path(__file__).parents[1] / "examples"


async def run(code: str, *arguments: str) -> tuple[str, str, int | None]:
    """Run a script; returns what it printed, what it complained about, and its exit status."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "default",
        "-c",
        code,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    output, complaints = await process.communicate()
    return output.decode(), complaints.decode(), process.returncode


SCRIPT = """
import sys
from wasclean import WebSocket
socket = WebSocket(sys.argv[1])
socket.onopen = lambda event: socket.send("Hello Server!")
socket.onmessage = lambda event: (print("message:", event.data), socket.close(1000, "done"))
socket.onerror = lambda event: print("WebSocket error:", event)
socket.onclose = lambda event: print("WebSocket closed:", event.code, event.reason)
"""


async def test_the_articles_example_runs_as_a_plain_script() -> None:
    async with served(echo) as server:
        code = (EXAMPLES / "article.py").read_text().replace("ws://localhost:8080", server.url)
        assert await run(code) == ("WebSocket closed: 1006 \n", "", 0)


async def test_a_script_lives_until_its_last_socket_has_closed() -> None:
    async with served(echo) as server:
        output = "message: Hello Server!\nWebSocket closed: 1000 done\n"
        assert await run(SCRIPT, server.url) == (output, "", 0)


async def test_a_host_name_is_looked_up_although_the_script_has_ended() -> None:
    async with served(echo) as server:
        output, complaints, status = await run(SCRIPT, f"ws://localhost:{server.server.port}/")
        assert (output.splitlines()[-1], complaints, status) == ("WebSocket closed: 1000 done", "", 0)


async def test_a_listener_may_use_threads_although_the_script_has_ended() -> None:
    code = """
import asyncio, sys
from wasclean import WebSocket
socket = WebSocket(sys.argv[1])
async def on_open(event):
    print(await asyncio.to_thread(lambda: "from a thread"))
    socket.close()
socket.onopen = on_open
"""
    async with served(echo) as server:
        assert await run(code, server.url) == ("from a thread\n", "", 0)


async def test_a_socket_of_the_background_may_be_waited_for_in_a_loop_but_not_read_there() -> None:
    code = """
import asyncio, sys
from wasclean import InvalidStateError, WebSocket
socket = WebSocket(sys.argv[1])
async def main():
    await socket.wait_opened()
    try:
        await socket.recv()
    except InvalidStateError as error:
        print(error)
    print((await socket.close(1000)).code)
asyncio.run(main())
"""
    async with served(echo) as server:
        output, complaints, status = await run(code, server.url)
        assert output.splitlines()[0].startswith("this socket belongs to another event loop")
        assert (output.splitlines()[1], complaints, status) == ("1000", "", 0)


async def test_a_script_that_cannot_connect_says_so_and_ends(unused_tcp_port: int) -> None:
    output, complaints, status = await run(SCRIPT, f"ws://127.0.0.1:{unused_tcp_port}/")
    assert output.splitlines()[0].startswith("WebSocket error: ")
    assert output.splitlines()[1] == "WebSocket closed: 1006 "
    assert (complaints, status) == ("", 0)


async def test_the_main_thread_may_call_the_socket_at_any_time() -> None:
    code = """
import sys, threading
from wasclean import WebSocket, InvalidStateError
opened, closed, messages = threading.Event(), threading.Event(), []
socket = WebSocket(sys.argv[1])
socket.onopen = lambda event: opened.set()
socket.onmessage = lambda event: (messages.append(event.data), len(messages) == 100 and closed_by_main.set())
socket.onclose = lambda event: closed.set()
closed_by_main = threading.Event()
try:
    socket.send("too early")
except InvalidStateError as error:
    print(error.name)
opened.wait()
for i in range(100):
    socket.send(str(i))
closed_by_main.wait()
socket.close(1000)
print(socket.readyState.name)
closed.wait()
print(messages == [str(i) for i in range(100)], socket.readyState.name)
socket.send("late")
print(socket.bufferedAmount)
socket.close()
socket.terminate()
"""
    async with served(echo) as server:
        output, complaints, status = await run(code, server.url)
        lines = output.splitlines()
        assert (lines[0], lines[1] in ("CLOSING", "CLOSED"), lines[2:]) == (
            "InvalidStateError",
            True,
            ["True CLOSED", "4"],
        )
        assert (complaints, status) == ("", 0)


async def test_a_socket_that_is_opened_again_in_onclose_keeps_the_script_alive() -> None:
    code = """
import sys
from wasclean import WebSocket
left = 3
def connect():
    socket = WebSocket(sys.argv[1])
    socket.onopen = lambda event: socket.close()
    socket.onclose = again
def again(event):
    global left
    left -= 1
    print(event.code, left)
    if left:
        connect()
connect()
"""
    async with served(echo) as server:
        assert await run(code, server.url) == ("1005 2\n1005 1\n1005 0\n", "", 0)


async def test_sockets_of_one_script_may_come_one_after_the_other_and_from_several_threads() -> None:
    code = """
import sys, threading
from wasclean import WebSocket
def use():
    closed = threading.Event()
    socket = WebSocket(sys.argv[1])
    socket.onopen = lambda event: socket.close()
    socket.onclose = lambda event: closed.set()
    assert closed.wait(10)
for _ in range(3):
    use()
threads = [threading.Thread(target=use) for _ in range(5)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print("done")
"""
    async with served(echo) as server:
        assert await run(code, server.url) == ("done\n", "", 0)


async def test_a_bad_argument_raises_in_the_script_and_keeps_nothing_alive() -> None:
    code = """
from wasclean import WebSocket
for arguments in ({"url": "nonsense"}, {"url": "ws://localhost", "max_redirects": 7}):
    try:
        WebSocket(**arguments)
    except ValueError as error:
        print(type(error).__name__)
"""
    assert await run(code) == ("SyntaxError\nValueError\n", "", 0)


async def test_an_exception_in_a_handler_is_reported_and_the_script_goes_on() -> None:
    code = SCRIPT + "socket.onopen = lambda event: (socket.send('x'), 1 / 0)\n"
    async with served(echo) as server:
        output, complaints, status = await run(code, server.url)
        assert output == "message: x\nWebSocket closed: 1000 done\n"
        assert "ZeroDivisionError" in complaints
        assert "open listener" in complaints
        assert status == 0


async def test_a_coroutine_listener_finishes_before_the_script_ends() -> None:
    code = """
import asyncio, sys
from wasclean import WebSocket
socket = WebSocket(sys.argv[1])
socket.onopen = lambda event: socket.close()
async def on_close(event):
    await asyncio.sleep(0.05)
    print("finished")
socket.onclose = on_close
"""
    async with served(echo) as server:
        assert await run(code, server.url) == ("finished\n", "", 0)
