"""The examples, run as scripts. The article's example has other tests."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.patience import PATIENCE
from wasclean import connect

EXAMPLES = Path(__file__).parent.parent / "examples"
SERVERS = ["echo_server.py", "events_server.py"]


@contextmanager
def running(script: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a script; terminate it at the end of the context."""
    with subprocess.Popen(
        [sys.executable, str(EXAMPLES / script), *arguments], stdout=subprocess.PIPE, text=True
    ) as it:
        try:
            yield it
        finally:
            if it.poll() is None:
                it.terminate()


@contextmanager
def server(script: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run a server on a free port; yield its URL and its process."""
    with running(script, "0") as process:
        yield read_line(process).removeprefix("listening at "), process


def read_line(process: subprocess.Popen[str]) -> str:
    """Return the next line of output."""
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


def test_the_echo_client_gets_its_message_back_from_the_echo_server() -> None:
    with server("echo_server.py") as (url, _), running("echo_client.py", url) as client:
        output, _ = client.communicate(timeout=PATIENCE)
    assert output.splitlines() == ["Hello Server!", "closed cleanly by local (local_close), 1000 Normal Closure 'done'"]
    assert client.returncode == 0


@pytest.mark.parametrize("script", SERVERS)
async def test_a_server_that_is_told_to_end_tells_its_clients_first(script: str) -> None:
    with server(script) as (url, process):
        async with connect(url) as socket:
            process.terminate()
            event = await socket.wait_closed()
        assert (event.code, event.wasClean) == (1001, True)
        assert process.wait(timeout=PATIENCE) == 0


async def test_the_events_server_answers_text_and_refuses_bytes() -> None:
    with server("events_server.py") as (url, process):
        async with connect(url) as socket:
            await socket.send("hello")
            assert await socket.recv() == "HELLO"
            await socket.send(b"\x00")
            event = await socket.wait_closed()
        assert (event.code, event.reason, event.wasClean) == (1003, "text only", True)
        assert read_line(process) == "WebSocket closed: 1003 text only"


def test_the_events_server_answers_a_health_check() -> None:
    with server("events_server.py") as (url, _):
        health = url.replace("ws:", "http:") + "/health"
        response = urllib.request.urlopen(health, timeout=PATIENCE)
        with response:
            assert (response.status, response.read()) == (200, b"healthy\n")
