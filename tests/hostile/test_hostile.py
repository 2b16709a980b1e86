"""A server under attack serves other clients, needs bounded memory, and frees everything afterwards."""

from __future__ import annotations

import asyncio

import pytest

from tests.hostile.attackers import descriptors
from tests.hostile.attacks import ATTACKS, Attack
from tests.hostile.stage import PATIENCE, Target, target, under
from wasclean import connect

pytestmark = pytest.mark.slow

NEWCOMERS = 2
ECHOES = 2


def good_client(server: Target) -> connect:
    """Connect a normal client, with long timeouts because the machine is busy."""
    return connect(server.url, ssl=server.context, open_timeout=PATIENCE, close_timeout=PATIENCE, ping_timeout=None)


async def talk(server: Target) -> None:
    """Connect a normal client, have messages echoed, and close."""
    async with good_client(server) as socket:
        for i in range(ECHOES):
            await socket.send(f"message {i}")
            assert await socket.recv() == f"message {i}"
        assert (await socket.close()).ok


@pytest.mark.timeout(3 * PATIENCE)
@pytest.mark.parametrize("attack", ATTACKS, ids=[attack.name for attack in ATTACKS])
async def test_a_server_under_attack_answers_others_in_bounded_memory_and_keeps_nothing(attack: Attack) -> None:
    async with target(attack) as server:
        await talk(server)
        before = await server.at_rest()
        async with good_client(server) as acquaintance:
            async with under(attack, server.port):
                for i in range(NEWCOMERS):
                    await asyncio.wait_for(talk(server), PATIENCE)
                    await acquaintance.send(f"still there {i}")
                    assert await acquaintance.recv() == f"still there {i}"
            assert server.memory.peak() < attack.memory
            assert (await acquaintance.close()).ok
        await server.holds(before.__eq__, before)
        assert server.process.stderr == ""


@pytest.mark.timeout(3 * PATIENCE)
async def test_all_handshakes_that_never_finish_are_held_at_the_same_time() -> None:
    attack = ATTACKS[0]
    async with target(attack) as server:
        before = await server.at_rest()
        async with under(attack, server.port):
            all_of_them = before.descriptors + descriptors(attack.size)
            await server.holds(lambda held: held.descriptors >= all_of_them, f"{all_of_them} descriptors")
            held = await server.held()
            assert (held.connections, held.tasks) == (0, before.tasks)
