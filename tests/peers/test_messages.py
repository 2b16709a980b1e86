"""Messages of every kind, pings and subprotocols, with every peer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.peers.ends import Peer, connected
from tests.peers.scenarios import MESSAGES, PEERS, Traits
from wasclean import Deflate

pytestmark = pytest.mark.peer


def ends(able: Callable[[Traits], bool] = lambda traits: True) -> list[Any]:
    """Every peer in every role that it supports."""
    return [
        pytest.param(name, role, id=f"{name}-{role}")
        for name, traits in PEERS.items()
        for role in traits.roles
        if able(traits)
    ]


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES.keys())
@pytest.mark.parametrize(("peer", "role"), ends(), indirect=["peer"])
async def test_a_message_arrives_as_it_was_sent_both_ways(peer: Peer, role: str, message: str | bytes) -> None:
    async with connected(peer, role) as (ours, theirs):
        ours.socket.send(message)
        assert await theirs.recv() == message
        await theirs.send(message)
        assert await ours.socket.recv() == message


@pytest.mark.parametrize(("peer", "role"), ends(), indirect=["peer"])
async def test_messages_keep_their_order_while_both_ends_send(peer: Peer, role: str) -> None:
    messages = [f"{number}" if number % 2 else bytes([number]) * 5000 for number in range(50)]
    async with connected(peer, role) as (ours, theirs):

        async def send() -> None:
            for message in messages:
                await theirs.send(message)

        async def receive() -> list[str | bytes]:
            return [await ours.socket.recv() for _ in messages]

        sending, receiving = asyncio.create_task(send()), asyncio.create_task(receive())
        for message in messages:
            await ours.socket.send(message)
        assert [await theirs.recv() for _ in messages] == messages
        await sending
        assert await receiving == messages


@pytest.mark.parametrize(
    "message", [m for m in MESSAGES.values() if m], ids=[name for name, m in MESSAGES.items() if m]
)
@pytest.mark.parametrize(("peer", "role"), ends(lambda traits: traits.fragments), indirect=["peer"])
async def test_the_fragments_of_a_message_are_put_together(peer: Peer, role: str, message: str | bytes) -> None:
    async with connected(peer, role) as (ours, theirs):
        await theirs.send(message, frames=5)
        await theirs.send("next")
        assert await ours.socket.recv() == message
        assert await ours.socket.recv() == "next"


@pytest.mark.parametrize(("peer", "role"), ends(), indirect=["peer"])
async def test_the_peer_answers_our_pings(peer: Peer, role: str) -> None:
    async with connected(peer, role) as (ours, _):
        pings = [ours.socket.ping(), ours.socket.ping("text"), ours.socket.ping(bytes(125))]
        for ping in pings:
            assert await ping >= 0


@pytest.mark.parametrize(("peer", "role"), ends(lambda traits: traits.pings), indirect=["peer"])
async def test_we_answer_the_peers_pings(peer: Peer, role: str) -> None:
    async with connected(peer, role) as (_, theirs):
        await theirs.ping()


@pytest.mark.parametrize(("peer", "role"), ends(), indirect=["peer"])
async def test_both_ends_agree_on_a_subprotocol(peer: Peer, role: str) -> None:
    async with connected(peer, role, subprotocols=["chat.v1", "chat.v0"], offered=["chat.v2", "chat.v1"]) as (
        ours,
        theirs,
    ):
        assert ours.socket.protocol == "chat.v1"
        assert theirs.subprotocol == "chat.v1"


@pytest.mark.parametrize(("peer", "role"), ends(), indirect=["peer"])
async def test_no_extension_is_in_use_unless_we_want_one(peer: Peer, role: str) -> None:
    async with connected(peer, role) as (ours, _):
        assert ours.socket.extensions == ""


COMPRESSIONS = {
    "context takeover": Deflate(threshold=0),
    "no context takeover": Deflate(True, True, threshold=0),
    "small windows": Deflate(server_max_window_bits=9, client_max_window_bits=9, threshold=0),
    "best": Deflate(level=9, mem_level=9, server_max_window_bits=15, client_max_window_bits=15, threshold=0),
}


@pytest.mark.parametrize("compression", COMPRESSIONS.values(), ids=COMPRESSIONS.keys())
@pytest.mark.parametrize(("peer", "role"), ends(), indirect=["peer"])
async def test_compressed_messages_arrive_as_they_were_sent_both_ways(
    peer: Peer, role: str, compression: Deflate
) -> None:
    async with connected(peer, role, compression=compression) as (ours, theirs):
        assert ours.socket.extensions.startswith("permessage-deflate")
        # Only 512 KiB: incompressible messages become larger, and some peers compare that size with their limit.
        for message in [whole[: 1 << 19] for whole in (*MESSAGES.values(), *MESSAGES.values())]:
            ours.socket.send(message)
            assert await theirs.recv() == message
            await theirs.send(message)
            assert await ours.socket.recv() == message
        event = await ours.socket.close()
        assert event.wasClean
