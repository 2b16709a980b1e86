"""Fixtures for the tests of faults, which need Linux."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import pytest

from tests.faults.patience import NEVER

if sys.platform != "linux":
    collect_ignore_glob = ["*"]

if TYPE_CHECKING:
    from tests.faults.gateways import Start
    from tests.faults.invariants import Invariants
    from tests.faults.namespace import Namespace


@pytest.fixture
async def invariants() -> AsyncIterator[Invariants]:
    """Check the invariants when the test has ended and its variables are gone."""
    from tests.faults.invariants import invariants

    async with invariants() as kept:
        yield kept


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """While reading is paused, check more often for the end of the connection."""
    monkeypatch.setattr("wasclean.aio.watch.WATCH_INTERVAL", 0.02)


@pytest.fixture
def linger(monkeypatch: pytest.MonkeyPatch) -> float:
    """Give the peer less time to end TCP than two seconds; return that time."""
    from tests.faults.stage import set_linger

    return set_linger(monkeypatch, 0.1)


@pytest.fixture
def endless_linger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the peer unlimited time to end TCP."""
    from tests.faults.stage import set_linger

    set_linger(monkeypatch, NEVER)


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """A network namespace; mark the test with ``peer``."""
    from tests.faults.namespace import Namespace

    with Namespace.make() as made:
        yield made


@pytest.fixture(params=["nginx", "haproxy"])
def gateway(request: pytest.FixtureRequest) -> Start:
    """A function that starts nginx, or HAProxy, in front of a port; mark the test with ``peer``."""
    from tests.faults import gateways

    start: Start = getattr(gateways, request.param)
    return start
