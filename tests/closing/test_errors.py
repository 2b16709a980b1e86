"""The tree of exceptions: what may be tried again, and what is a mistake of the program."""

from __future__ import annotations

import asyncio
import builtins
import pickle
import re
from copy import copy
from pathlib import Path
from typing import Any

import pytest

import wasclean
from tests.endpoints import echo, served
from wasclean import (
    ConnectionClosed,
    DOMException,
    HandshakeError,
    InvalidAccessError,
    InvalidStateError,
    LocalProtocolError,
    RemoteProtocolError,
    WebSocketError,
    connect,
)

PAGE = (Path(__file__).parents[2] / "docs" / "errors.md").read_text()
MISTAKES = [wasclean.SyntaxError, InvalidAccessError, InvalidStateError, LocalProtocolError]
FAULTS = [HandshakeError, ConnectionClosed, RemoteProtocolError]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_no_mistake_of_the_program_is_caught_with_what_may_be_tried_again(mistake: type[Exception]) -> None:
    assert not issubclass(mistake, (OSError, WebSocketError))
    assert issubclass(mistake, (ValueError, RuntimeError))


@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_that_may_be_tried_again_is_a_mistake(fault: type[Exception]) -> None:
    assert issubclass(fault, WebSocketError)
    assert not issubclass(fault, (DOMException, ValueError, TypeError, RuntimeError))


def test_the_page_has_every_exception_under_its_bases() -> None:
    tree = PAGE.split("```")[1].splitlines()[2:]
    parents: dict[int, Any] = {0: Exception}
    shown = set()
    for line in tree:
        indent, name = re.match(r"([ │├└─]*)([\w.]+)", line).groups()  # type: ignore[union-attr]
        shown.add(name)
        if "." in name:
            continue
        kind = getattr(wasclean, name, None) or getattr(builtins, name)
        parents[len(indent)] = kind
        assert issubclass(kind, parents[len(indent) - 4]), line
        for base in (ValueError, RuntimeError):
            if f"also a {base.__name__}" in line:
                assert issubclass(kind, base)
    ours = {name for name in wasclean.__all__ if isinstance(getattr(wasclean, name), type)}
    assert {name for name in ours if issubclass(getattr(wasclean, name), Exception)} <= shown


def loop_of_the_page(monkeypatch: pytest.MonkeyPatch) -> Any:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    monkeypatch.setattr(names["random"], "uniform", lambda low, high: 0.0)
    return names["listen"]


async def test_the_retry_loop_of_the_page_ends_at_a_typo(monkeypatch: pytest.MonkeyPatch) -> None:
    listen = loop_of_the_page(monkeypatch)
    with pytest.raises(wasclean.SyntaxError):
        await listen("wss//example.com")


async def test_the_retry_loop_of_the_page_connects_again_after_faults(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    listen = loop_of_the_page(monkeypatch)
    third = asyncio.Event()
    count = 0

    async def handler(socket: wasclean.WebSocket) -> None:
        nonlocal count
        count += 1
        if count == 3:
            third.set()
        socket.terminate()

    async with served(handler) as server:
        task = asyncio.create_task(listen(server.url))
        await third.wait()
        task.cancel()
        await asyncio.wait([task])
    assert "trying again:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda socket: socket.close(1006), InvalidAccessError),
        (lambda socket: socket.close(1000, 124 * "x"), wasclean.SyntaxError),
        (lambda socket: socket.close("1000"), TypeError),
        (lambda socket: socket.ping(126 * b"x"), ValueError),
        (lambda socket: socket.send(5), TypeError),
    ],
)
async def test_what_a_call_refuses_is_no_error_of_the_network(call: Any, error: type[Exception]) -> None:
    async with served(echo) as server, connect(server.url) as socket:
        with pytest.raises(error) as caught:
            call(socket)
    assert not isinstance(caught.value, (OSError, WebSocketError))


@pytest.mark.parametrize("again", [copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_a_copy_of_connection_closed_tells_whose_connection_it_was(again: Any) -> None:
    error = ConnectionClosed()
    error.socket_id = 7
    assert (again(error).socket_id, str(again(error))) == (7, str(error))


def test_an_error_of_the_opening_handshake_tells_what_it_was_given() -> None:
    error = wasclean.HandshakeError("no")
    assert (str(error), error.status, error.response) == ("no", 0, None)
    response = wasclean.Response(403)
    error = wasclean.HandshakeError("no", status=403, response=response)
    assert (error.status, error.response) == (403, response)


def test_an_error_after_the_end_says_what_its_event_says() -> None:
    event = wasclean.CloseEvent("close", code=1006, reason="gone")
    assert str(wasclean.ConnectionClosed(event)) == str(event)
