"""Compression: rows 28 to 41 of the table of vulnerabilities."""

from __future__ import annotations

import asyncio
import random
import tracemalloc
import zlib
from contextlib import suppress

import pytest

from tests.endpoints import served
from tests.protocol_pair import BINARY, TEXT, End, close_payload, frame
from tests.security.rows import row
from tests.security.victim import MIB, both_roles, victim
from wasclean import Deflate, connect
from wasclean.model.registry import Role
from wasclean.model.violations import Violation
from wasclean.opening.extensions import Agreed, Parameters

RSV1 = 0x40
AGREED = Agreed(Parameters(), Deflate(threshold=0))


def deflated(message: bytes) -> bytes:
    """A compressed message's payload."""
    stream = zlib.compressobj(9, wbits=-15)
    return (stream.compress(message) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]


def huge(size: int) -> bytes:
    """The payload of a message of so many MiB of zeros, which is a thousandth of that."""
    stream = zlib.compressobj(9, wbits=-15)
    mebibyte = stream.compress(bytes(MIB)) + stream.flush(zlib.Z_FULL_FLUSH)  # refers to nothing before itself
    return (mebibyte * size)[:-4]


@pytest.mark.slow
@row(28, "a message of 1 MB that inflates to 1 GB")
@both_roles
async def test_a_bomb_takes_no_more_memory_than_a_message(role: str) -> None:
    async with victim(role, extension="permessage-deflate", max_message_size=MIB) as attacked:
        with suppress(ConnectionError):
            await attacked.peer.send(frame(Role(role), BINARY, huge(1024), rsv=RSV1))
        assert (await attacked.peer.frame()).payload[:2] == close_payload(1009)
        assert attacked.memory.peak() < 6 * MIB


@row(29, "22 bytes that inflate to 4 KiB, with a limit of 128")
@both_roles
def test_the_limit_is_one_on_what_is_inflated(role: str) -> None:
    payload = deflated(bytes(4096))
    assert len(payload) < 128
    end = End(Role(role), deflate=AGREED, max_message_size=128)
    end.feed(frame(Role(role), BINARY, payload, rsv=RSV1))
    assert (end.messages(), end.connection.closing.violation) == ([], Violation.MESSAGE_TOO_BIG)


@row(35, "send() cancelled at random, again and again")
async def test_a_cancelled_send_leaves_the_compressor_as_it_was() -> None:
    chance = random.Random(35)
    texts = [f"{number} " * chance.randrange(1, 60_000) for number in range(60)]
    async with served(max_buffered_amount=1 << 30) as server, connect(server.url, max_queue=2) as socket:
        sender = await server.sockets.get()

        async def send() -> None:
            for text in texts:
                sending = asyncio.ensure_future(_awaited(sender.send(text, True)))
                for _ in range(chance.randrange(4)):
                    await asyncio.sleep(0)
                sending.cancel()
                await asyncio.wait([sending])

        task = asyncio.create_task(send())
        assert [await socket.recv() for _ in texts] == texts
        await task


async def _awaited(sending: object) -> None:
    await sending  # type: ignore[misc]


@row(37, "10 MB sent, and then nothing")
def test_the_compressor_keeps_no_message() -> None:
    end = End(Role.SERVER, deflate=AGREED)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        end.connection.send(BINARY, b"0123456789" * MIB)
        end.flush()
        end.connection.fill()
        end.wire.clear()
        assert tracemalloc.get_traced_memory()[0] - before < MIB
    finally:
        tracemalloc.stop()


@row(40, "a secret beside what others choose")
@pytest.mark.parametrize("compress", [None, False])
def test_a_message_can_be_kept_out_of_the_compressor(compress: bool | None) -> None:
    def sizes(compress: bool | None) -> list[int]:
        found = []
        for guess in ("secret=hunter2", "secret=AAAAAAA"):
            end = End(Role.SERVER, deflate=AGREED)
            end.connection.send(TEXT, guess)
            end.flush()
            end.take()
            end.connection.send(TEXT, "secret=hunter2", compress)
            end.flush()
            found.append(len(end.take()))
        return found

    right, wrong = sizes(compress)
    assert (right == wrong) == (compress is False)
