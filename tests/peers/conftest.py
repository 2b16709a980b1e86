"""The peers as fixtures. Tests are skipped if a peer is missing, or fail; see tests/conftest.py."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

from tests.peers.ends import Peer
from tests.peers.scripted import FILES

if TYPE_CHECKING:
    from tests.peers.with_chromium import Chromium


@pytest.fixture
def peer(request: pytest.FixtureRequest) -> Peer:
    """The peer whose name is the parameter of this fixture."""
    found: Peer = request.getfixturevalue(f"{request.param}_peer")
    return found


def _import(name: str, needs: str) -> Any:
    pytest.importorskip(needs, reason=f"{needs} is not installed", exc_type=ImportError)
    return import_module(f"tests.peers.with_{name}")


def _program(name: str) -> str:
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"there is no {name}")
    return program


@pytest.fixture(scope="session")
def wasclean_peer() -> Any:
    return _import("wasclean", "wasclean").Wasclean()


@pytest.fixture(scope="session")
def websockets_peer() -> Any:
    return _import("websockets", "websockets").Websockets()


@pytest.fixture(scope="session")
def aiohttp_peer() -> Any:
    return _import("aiohttp", "aiohttp").Aiohttp()


@pytest.fixture(scope="session")
def ws_peer() -> Iterator[Any]:
    program = _program("node")
    if not (FILES / "node_modules" / "ws").exists():
        pytest.skip("Node's ws is not installed: make peers")
    with _import("ws", "wasclean").node(program) as peer:
        yield peer


@pytest.fixture(scope="session")
def chromium_peer() -> Iterator[Chromium]:
    program = _program("chromium")
    with _import("chromium", "playwright").chromium(program) as peer:
        yield peer
