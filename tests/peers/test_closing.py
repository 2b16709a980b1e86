"""Every way to close, with every peer: both ends must have the expected events."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.peers.ends import Gate, Peer, connected
from tests.peers.scenarios import CLOSINGS, OF_SERVERS, PEERS, Act, Close, Closing, Seen

pytestmark = pytest.mark.peer


def cases() -> list[Any]:
    return [
        pytest.param(name, role, closing, id=f"{name}-{role}-{closing}")
        for name, traits in PEERS.items()
        for role in traits.roles
        for closing in CLOSINGS
        if traits.can(closing.theirs) and not (role == "server" and closing.ours in OF_SERVERS)
    ]


@pytest.mark.parametrize(("peer", "role", "closing"), cases(), indirect=["peer"])
async def test_both_ends_see_how_the_connection_was_closed(
    peer: Peer, role: str, closing: Closing, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    expected = PEERS[request.node.callspec.params["peer"]].departure(closing, role)
    gate = Gate() if closing.crosses else None
    async with connected(peer, role, gate=gate) as (ours, theirs):
        if gate is not None:
            gate.hold()
        if closing.ours is not None:
            ours.act(closing.ours)
        if isinstance(closing.theirs, Close):
            await theirs.close(*closing.theirs)
        elif closing.theirs is not None:
            await theirs.terminate()
        if gate is not None:
            await gate.release()

        they_see, event = await asyncio.gather(theirs.closed(), ours.socket.wait_closed())

    assert they_see == expected.they_see
    assert Seen(event.code, event.reason, event.wasClean) == expected.we_see
    assert event.initiator == expected.initiator
    assert event.sent == expected.sent
    assert event.received == expected.received
    failures = [record.getMessage() for record in caplog.records if record.name == "wasclean.server"]
    assert len(failures) == (closing.ours is Act.RAISE)
