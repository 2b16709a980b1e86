"""A server under attack answers others as before, needs little memory, and keeps nothing of it."""

from __future__ import annotations

import asyncio

import pytest

from tests.hostile.attacks import ATTACKS, Attack, descriptors
from tests.hostile.stage import PATIENCE, target, under
from wasclean import connect

NEWCOMERS = 2
ECHOES = 2


async def talk(url: str) -> None:
    """Be a good client: connect, have messages echoed, close."""
    async with connect(url) as socket:
        for i in range(ECHOES):
            await socket.send(f"message {i}")
            assert await socket.recv() == f"message {i}"
        assert (await socket.close()).ok


@pytest.mark.timeout(3 * PATIENCE)
@pytest.mark.parametrize("attack", ATTACKS, ids=[attack.name for attack in ATTACKS])
async def test_a_server_under_attack_answers_others_in_bounded_memory_and_keeps_nothing(attack: Attack) -> None:
    async with target(attack) as server:
        url = f"ws://127.0.0.1:{server.port}/"
        await talk(url)
        before = await server.held()
        async with connect(url) as acquaintance:
            async with under(attack, server.port):
                for i in range(NEWCOMERS):
                    await asyncio.wait_for(talk(url), PATIENCE)
                    await acquaintance.send(f"still there {i}")
                    assert await acquaintance.recv() == f"still there {i}"
            assert server.memory.peak() < attack.memory
            assert (await acquaintance.close()).ok
        await server.holds(before)
        assert server.process.stderr == ""


@pytest.mark.timeout(3 * PATIENCE)
async def test_all_handshakes_that_never_finish_are_held_at_the_same_time() -> None:
    attack = ATTACKS[0]
    async with target(attack) as server:
        before = await server.held()
        async with under(attack, server.port):
            held = await server.held()
            assert held.descriptors - before.descriptors >= descriptors(attack.connections)
            assert held.connections == 0
            assert held.tasks == before.tasks
