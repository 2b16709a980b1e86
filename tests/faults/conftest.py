"""What the tests of faults share. They need Linux: what they look at is not to be had elsewhere."""

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
    """Checks, when the test has ended and its variables are gone, that nothing is left."""
    from tests.faults.invariants import invariants

    async with invariants() as kept:
        yield kept


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has stopped to read looks more often whether the peer has ended the connection."""
    monkeypatch.setattr("wasclean.aio.transport.WATCH", 0.02)


@pytest.fixture
def linger(monkeypatch: pytest.MonkeyPatch) -> float:
    """The peer has less time than two seconds to end TCP: so much."""
    from tests.faults.stage import set_linger

    return set_linger(monkeypatch, 0.1)


@pytest.fixture
def endless_linger(monkeypatch: pytest.MonkeyPatch) -> None:
    """The peer has all the time that it wants to end TCP: what waits for that waits for ever."""
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
    """Starts nginx, then HAProxy, in front of a port; mark the test with ``peer``."""
    from tests.faults import gateways

    start: Start = getattr(gateways, request.param)
    return start
