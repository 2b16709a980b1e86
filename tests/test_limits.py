"""docs/limits.md has the names and defaults of the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.endpoints import served, turn
from tests.raw import PING, raw_client
from wasclean import WebSocket
from wasclean.aio import resolver
from wasclean.model import registry
from wasclean.opening import head_reader
from wasclean.options import MAX_REDIRECTS, ClientOptions, LimitOptions, Limits, ServerLimits, ServerOptions

PAGE = (Path(__file__).parents[1] / "docs" / "limits.md").read_text()
UNITS = {"": 1, " s": 1, " KiB": 1 << 10, " MiB": 1 << 20}


@pytest.fixture
def patient() -> None:
    """The defaults are those of the product."""


def rows_of(section: str) -> dict[str, str]:
    """The second column of a section's table by the first."""
    (text,) = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", text, re.MULTILINE))


def value(text: str) -> Any:
    """Return the value of a cell, in bytes or seconds."""
    if text == "None":
        return None
    match = re.fullmatch(r"(\d+)(| s| KiB| MiB)", text)
    assert match is not None, text
    return int(match[1]) * UNITS[match[2]]


@pytest.mark.parametrize(("role", "limits"), [("client", Limits({})), ("server", ServerLimits({}))])
def test_the_page_has_every_option_of_a_connection_with_its_default(role: str, limits: Limits) -> None:
    rows = rows_of("One connection")
    rows["max_message_size"] = dict(re.findall(r"(server|client)s (\d+ MiB)", rows["max_message_size"]))[role]
    assert {name: value(text) for name, text in rows.items()} == {
        name: getattr(limits, name) for name in LimitOptions.__annotations__
    }


def test_the_page_has_every_option_of_servers_with_its_default() -> None:
    limits = ServerLimits({})
    names = ServerOptions.__annotations__.keys() - LimitOptions.__annotations__.keys()
    assert {name: value(text) for name, text in rows_of("A server").items()} == {
        name: getattr(limits, name) for name in names
    }


def test_the_page_has_every_limit_of_clients() -> None:
    names = ClientOptions.__annotations__.keys() - LimitOptions.__annotations__.keys()
    assert rows_of("A client").keys() == {name for name in names if name.startswith("max_")}
    assert f"more than {MAX_REDIRECTS} are a ValueError" in PAGE


def test_the_page_has_the_constants_with_their_values() -> None:
    rows = rows_of("Constants")
    assert rows.keys() >= {name for name in vars(head_reader) if name.startswith("MAX_")}
    for name, text in rows.items():
        (home,) = (module for module in (head_reader, registry, resolver) if hasattr(module, name))
        assert value(text) == getattr(home, name), name


@pytest.mark.parametrize("options", [LimitOptions, ServerOptions], ids=lambda options: str(options.__name__))
def test_the_docstrings_describe_every_option(options: Any) -> None:
    described = set(re.findall(r"^ {8}(\w+):", f"{LimitOptions.__doc__}{options.__doc__}", re.MULTILINE))
    assert described == options.__annotations__.keys()


@pytest.mark.parametrize(
    ("name", "default"),
    [
        (name, value(text))
        for name, text in {**rows_of("One connection"), **rows_of("A server")}.items()
        if " M" not in text
    ],
)
def test_the_docstrings_state_the_same_defaults(name: str, default: Any) -> None:
    text = f"{LimitOptions.__doc__}{ServerOptions.__doc__}"
    (entry,) = re.findall(rf"^ {{8}}{name}: (.*?)(?=^ {{8}}\w|\Z)", text, re.MULTILINE | re.DOTALL)
    assert re.search(rf"Default: {default}[.,]", " ".join(entry.split())), entry


async def test_drain_bounds_how_far_a_server_is_ahead_of_a_client_that_does_not_read() -> None:
    sent = 0

    async def stream(socket: WebSocket) -> None:
        nonlocal sent
        while True:
            await socket.send(bytes(1000))
            sent += 1
            if sent % 20 == 0:
                await socket.drain()

    async with served(stream) as server, raw_client(server.server.port) as raw:
        for total in (20, 40):
            for _ in range(20):
                await raw.frame()
            ping = await raw.frame()
            assert ping.opcode == PING
            await turn(20)
            assert sent == total  # no more, although the kernel has room
            raw.send_frame(0xA, ping.payload)
