"""The load generator, against ends that do right and wrong: a benchmark that does not look counts nonsense."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.messages import messages_file
from bench.processes import LOAD, build_load, features
from tests.certificates import server_context
from wasclean import ConnectionClosed, Deflate, WebSocket, connect, serve

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler, so no load generator")


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    build_load()


async def load(what: str, **options: object) -> asyncio.subprocess.Process:
    words = [f"{name}={value}" for name, value in ({"seconds": 0.1} | options).items()]
    return await asyncio.create_subprocess_exec(
        LOAD, what, *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )


async def ended(process: asyncio.subprocess.Process) -> tuple[list[dict[str, Any]], str]:
    """The lines that the load generator told, and what it complained of."""
    output, errors = await process.communicate()
    assert (process.returncode != 0) == bool(errors)
    return [json.loads(line) for line in output.splitlines()], errors.decode()


def echo(socket: WebSocket) -> None:
    socket.onmessage = lambda event: socket.send(event.data)


def answering(make: Callable[[str], str | bytes]) -> Callable[[WebSocket], None]:
    def handler(socket: WebSocket) -> None:
        socket.onmessage = lambda event: socket.send(make(event.data))

    return handler


@pytest.mark.parametrize(("size", "pace"), [(32, 300), (8192, 300), (1 << 20, 5)])
@pytest.mark.parametrize("binary", [False, True])
async def test_echoes_are_counted_and_those_on_schedule_timed(
    tmp_path: Path, size: int, pace: int, binary: bool
) -> None:
    messages = messages_file(tmp_path, size, binary)
    async with serve(echo, "127.0.0.1", 0) as server:
        options = {
            "connections": 2,
            "depth": 3,
            "pace": pace,
            "size": size,
            "binary": int(binary),
            "messages": messages,
        }
        told, errors = await ended(await load("echo", port=server.port, **options))
    assert not errors
    measuring, closed_loop, open_loop = told  # it ends when all echoes have come, however few there was time for
    assert measuring == {"measuring": True}
    assert closed_loop["seconds"] >= 0.1
    assert open_loop["sent"] >= open_loop["answered"] >= 0


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda text: text[:-1] + "?", "not the echo of what was sent"),
        (lambda text: text[:-1], "not the echo of what was sent"),
        (lambda text: text + "?", "not the echo of what was sent"),
        (lambda text: text.encode(), "a frame of opcode 2"),
    ],
)
async def test_a_wrong_echo_is_an_error(tmp_path: Path, make: Callable[[str], str | bytes], complaint: str) -> None:
    async with serve(answering(make), "127.0.0.1", 0) as server:
        process = await load("echo", port=server.port, size=32, depth=3, messages=messages_file(tmp_path, 32, False))
        _, errors = await ended(process)
    assert complaint in errors


async def test_an_echo_too_many_is_an_error(tmp_path: Path) -> None:
    def twice(socket: WebSocket) -> None:
        socket.onmessage = lambda event: (socket.send(event.data), socket.send(event.data))

    messages = tmp_path / "messages"
    messages.write_bytes(b"x" * 32)  # one message only, so that the second echo looks like the next one's
    async with serve(twice, "127.0.0.1", 0) as server:
        _, errors = await ended(await load("echo", port=server.port, size=32, messages=messages))
    assert "an echo of what was not sent" in errors


async def test_a_server_that_closes_is_an_error(tmp_path: Path) -> None:
    async def leave(socket: WebSocket) -> None:
        await socket.recv()

    async with serve(leave, "127.0.0.1", 0) as server:
        process = await load("echo", port=server.port, size=32, messages=messages_file(tmp_path, 32, False))
        _, errors = await ended(process)
    assert "the other end closes the connection" in errors


async def test_it_can_be_the_server(tmp_path: Path) -> None:
    messages = messages_file(tmp_path, 8192, False)
    process = await load("echo", port=0, size=8192, depth=4, messages=messages)
    assert process.stdout is not None
    port = json.loads(await process.stdout.readline())["port"]
    async with connect(f"ws://127.0.0.1:{port}", compression=None, proxy=None) as socket:
        async for message in _until_the_end(socket):
            await socket.send(message)
    told, errors = await ended(process)
    assert not errors
    assert told[-1]["messages"] >= 0


async def _until_the_end(socket: WebSocket) -> Any:
    """Its messages; the load generator ends without a farewell."""
    try:
        async for message in socket:
            yield message
    except ConnectionClosed:
        pass


@pytest.mark.parametrize("takeover", [0, 1])
async def test_compressed_echoes_are_inflated_and_compared(tmp_path: Path, takeover: int) -> None:
    if not features()["deflate"]:
        pytest.skip("built without zlib")
    options = {"size": 1024, "deflate": 12, "takeover": takeover, "messages": messages_file(tmp_path, 1024, False)}
    async with serve(echo, "127.0.0.1", 0, compression=Deflate(threshold=0)) as server:
        told, errors = await ended(await load("echo", port=server.port, **options))
    assert not errors
    assert told[-1]["messages"] >= 0
    async with serve(answering(lambda text: text[:-1] + "?"), "127.0.0.1", 0, compression=Deflate()) as server:
        _, errors = await ended(await load("echo", port=server.port, **options))
    assert "not the echo of what was sent" in errors
    async with serve(echo, "127.0.0.1", 0, compression=None) as server:
        _, errors = await ended(await load("echo", port=server.port, **options))
    assert "does not agree to the compression" in errors


async def test_tls(tmp_path: Path) -> None:
    if not features()["tls"]:
        pytest.skip("built without TLS")
    messages = messages_file(tmp_path, 1 << 20, True)
    async with serve(echo, "127.0.0.1", 0, ssl=server_context()) as server:
        options = {"size": 1 << 20, "binary": 1, "messages": messages, "tls": 1}
        told, errors = await ended(await load("echo", port=server.port, **options))
    assert not errors
    assert told[-1]["messages"] >= 0


async def test_connections_come_and_go_without_a_reset() -> None:
    async with serve(echo, "127.0.0.1", 0) as server:
        told, errors = await ended(await load("cycles", port=server.port, connections=4))
    assert not errors
    assert told[-1]["messages"] >= 0
    assert told[-1]["resets"] == 0


async def test_a_server_that_drains_has_to_say_1001() -> None:
    for code, complaint in ((1001, ""), (1012, "closed with 1012")):
        async with serve(echo, "127.0.0.1", 0) as server:
            process = await load("drain", port=server.port, connections=5, seconds=5)
            assert process.stdout is not None
            assert json.loads(await process.stdout.readline()) == {"held": 5}
            await server.close(code)
            told, errors = await ended(process)
        assert errors.strip() == complaint
        if not complaint:
            assert told[0]["closed"] == 5


async def test_a_broadcast_has_to_reach_everybody(tmp_path: Path) -> None:
    def handler(socket: WebSocket) -> None:
        def relay(data: str | bytes) -> None:
            for other in server.connections:
                other.send(data)

        socket.onmessage = lambda event: relay(event.data)

    messages = messages_file(tmp_path, 256, False)
    async with serve(handler, "127.0.0.1", 0) as server:
        told, errors = await ended(
            await load("broadcast", port=server.port, connections=7, size=256, messages=messages)
        )
    assert not errors
    assert told[-1]["messages"] == 7 * told[-1]["rounds"] > 0  # the first one may take as long as it likes
