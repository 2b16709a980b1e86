"""The examples of the README run, and print what it says."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import pytest

from tests.endpoints import served

EXAMPLES = re.findall(r"```python\n(.*?)```", (Path(__file__).parents[1] / "README.md").read_text(), re.DOTALL)


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
        code = EXAMPLES[0].replace("ws://localhost:8080", server.url)
        assert await run(code) == ["Hello Hello Server!", "WebSocket closed: 1000 "]


async def test_the_stream_example_prints_what_the_readme_says() -> None:
    assert await run(EXAMPLES[1]) == ["Hello Server!", "closed cleanly by local, 1000 Normal Closure 'done'"]


async def test_the_server_example_is_valid() -> None:
    assert await run(EXAMPLES[2]) == []


def test_there_are_no_other_examples() -> None:
    assert len(EXAMPLES) == 3


@pytest.mark.parametrize("word", ["/work", "TODO", "FIXME"])
def test_the_readme_is_finished(word: str) -> None:
    assert word not in (Path(__file__).parents[1] / "README.md").read_text()
