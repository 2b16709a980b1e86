"""Fixtures and settings for all tests."""

from __future__ import annotations

import asyncio
import os
import socket as sockets
import sys
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest
from hypothesis import settings

from tests.faults.patience import NEVER
from wasclean.options import Limits

# A deadline of Hypothesis would fail on a busy machine.
settings.register_profile("any speed", deadline=None)
settings.load_profile("any speed")

# The environment may define a proxy, but all servers of the tests are on this machine.
for _name in [name for name in os.environ if name.lower().endswith("_proxy")]:
    del os.environ[_name]

uvloop = pytest.importorskip("uvloop") if sys.platform != "win32" else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With WASCLEAN_REQUIRE_PEERS, report a test that is skipped because its peer is missing as failed."""
    report = yield
    required = os.environ.get("WASCLEAN_REQUIRE_PEERS", "") not in ("", "0")
    if required and report.skipped and item.get_closest_marker("peer") is not None:
        report.outcome = "failed"
        report.longrepr = f"WASCLEAN_REQUIRE_PEERS is set, but {call.excinfo and call.excinfo.value}"
    return report


@pytest.fixture
def unused_tcp_port() -> Iterator[int]:
    """A port that refuses connections, and that the system assigns to no other program. A server may bind to it."""
    with sockets.socket() as held:
        held.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the default timeouts and the ping interval to NEVER, so that a busy machine does not make tests fail."""
    for name in ("open_timeout", "close_timeout", "ping_interval", "ping_timeout", "write_timeout"):
        monkeypatch.setattr(Limits.options[name], "default", NEVER)


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run tests that need an event loop on asyncio and on uvloop; tests with other programs on asyncio only."""
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if uvloop is not None and item.get_closest_marker("peer") is None:
        factories["uvloop"] = uvloop.new_event_loop
    return factories
