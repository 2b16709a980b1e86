"""The examples of the README run, and print the output that it states."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.endpoints import served
from wasclean import WebSocket, connect

README = (Path(__file__).parents[1] / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


async def run(code: str) -> list[str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-c", code, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, complaints = await process.communicate()
    assert complaints == b""
    return output.decode().splitlines()


async def test_the_first_example_talks_to_a_server_until_that_closes() -> None:
    async def greet(socket: object) -> None:
        await socket.send("Hello " + await socket.recv())  # type: ignore[attr-defined]

    async with served(greet) as server:
        code = EXAMPLES[0].replace("8080", str(server.server.port))
        assert await run(code) == ["Hello Hello Server!", "WebSocket closed: 1000 "]


async def test_the_stream_example_prints_what_the_readme_says() -> None:
    closed = "closed cleanly by local (local_close), 1000 Normal Closure 'done'"
    assert await run(EXAMPLES[1]) == ["Hello Server!", closed]


async def test_the_chat_example_tells_everybody(unused_tcp_port: int) -> None:
    code = EXAMPLES[2].replace("8080", str(unused_tcp_port))
    process = await asyncio.create_subprocess_exec(sys.executable, "-W", "error", "-c", code)
    try:
        async with AsyncExitStack() as stack:
            clients: list[WebSocket] = []
            while len(clients) < 3:
                with contextlib.suppress(OSError):  # it has not begun to listen
                    clients.append(await stack.enter_async_context(connect(f"ws://localhost:{unused_tcp_port}")))
                await asyncio.sleep(0.01)
            await clients[0].send("hello")
            assert [await client.recv() for client in clients] == ["hello"] * 3
    finally:
        process.kill()
        await process.communicate()


async def test_the_server_example_serves(unused_tcp_port: int) -> None:
    code = EXAMPLES[3].replace("8080", str(unused_tcp_port)).replace("import asyncio", "import asyncio, sys")
    process = await asyncio.create_subprocess_exec(sys.executable, "-u", "-c", code, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == f"Listening on port {unused_tcp_port}\n".encode()
        async with connect(f"ws://localhost:{unused_tcp_port}", "chat") as socket:
            await socket.send("hello")
            assert await socket.recv() == "hello"
        reader, writer = await asyncio.open_connection("localhost", unused_tcp_port)
        writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await reader.read()).endswith(b"ok\n")
        writer.close()
    finally:
        process.kill()
        await process.communicate()


def test_the_explanation_is_what_explain_says() -> None:
    (explanation,) = [block for block in README.split("```")[1::2] if block.startswith("\n")]
    assert explanation.strip() in (Path(__file__).parent / "closing" / "explanations.txt").read_text()


def test_there_are_no_other_examples() -> None:
    assert len(EXAMPLES) == 4


@pytest.mark.parametrize("word", ["/work", "TODO", "FIXME", "BENCH"])
def test_the_readme_is_finished(word: str) -> None:
    assert word not in (Path(__file__).parents[1] / "README.md").read_text()
