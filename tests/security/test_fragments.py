"""Fragments, chunks and tiny frames: rows 16 to 27 of the table of vulnerabilities."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from time import process_time

import pytest

from tests.faults.invariants import Invariants
from tests.faults.patience import until
from tests.faults.stage import Place, all_of, on_tcp, pair
from tests.protocol_pair import BINARY, CONTINUATION, TEXT, End, close_payload, frame
from tests.security.rows import row, rows
from tests.security.victim import KIB, MIB, both_roles, send_all, victim
from wasclean.model.registry import Role
from wasclean.opening.readers import RequestReader, ResponseReader
from wasclean.options import Limits

MAX_FRAGMENTS = Limits.options["max_fragments"].default
MAX_QUEUE = Limits.options["max_queue"].default


@both_roles
@rows(
    "fragment, batches",
    (16, "fragments of one byte without end", b"x", 5000),
    (18, "300,000 empty fragments", b"", 3000),
    (19, "300,000 empty fragments, to a client too", b"", 3000),
)
async def test_fragments_are_counted_also_empty_ones(role: str, fragment: bytes, batches: int) -> None:
    end = Role(role)
    async with victim(role) as attacked:
        await attacked.peer.send(frame(end, BINARY, fragment, fin=False))
        await send_all(attacked.peer, frame(end, CONTINUATION, fragment, fin=False) * 100, batches)
        assert (await attacked.peer.frame()).payload[:2] == close_payload(1008)
        assert attacked.memory.peak() < 4 * MIB


@row(17, "as many fragments as the limit allows, and then silence")
@both_roles
@pytest.mark.parametrize("count", [MAX_FRAGMENTS - 1, 130_000])
async def test_a_message_that_is_held_back_holds_its_bytes_and_no_more(role: str, count: int) -> None:
    end = Role(role)
    async with victim(role, max_fragments=count + 1) as attacked:
        fragments = frame(end, BINARY, b"x", fin=False) + frame(end, CONTINUATION, b"x", fin=False) * (count - 1)
        await attacked.peer.send(fragments + frame(end, 0x9, b"?"))
        assert (await attacked.peer.frame()).payload == b"?"  # all has been read
        assert attacked.memory.grown() < count + 2 * MIB


@row(20, "three fragments of half the limit and more, of the last one its header only")
@on_tcp
async def test_the_limit_of_a_message_counts_all_fragments(place: Place, invariants: Invariants) -> None:
    role = Role(place.role)
    half = bytes(512 * KIB)
    async with pair(place, invariants, max_message_size=MIB) as (socket, peer):
        await peer.send(frame(role, BINARY, half, fin=False) + frame(role, CONTINUATION, half, fin=False))
        await peer.send(frame(role, 0x9, b"?"))
        assert (await peer.frame()).payload == b"?"
        await peer.send(frame(role, CONTINUATION, declared=len(half)))
        assert (await peer.frame()).payload[:2] == close_payload(1009)
        assert (await socket.wait_closed()).discarded > MIB
        peer.close()


@row(25, "a last fragment with which a message has the limit, or a byte more")
@on_tcp
@pytest.mark.parametrize("more", [0, 1])
async def test_the_last_fragment_counts(place: Place, more: int, invariants: Invariants) -> None:
    role = Role(place.role)
    async with pair(place, invariants, max_message_size=1000) as (socket, peer):
        await peer.send(frame(role, BINARY, bytes(600), fin=False) + frame(role, CONTINUATION, bytes(400 + more)))
        if more:
            assert (await peer.frame()).payload[:2] == close_payload(1009)
            received, event = await all_of(socket)
            assert (received, event.cause) == ([], "message_too_big")
        else:
            assert await socket.recv() == bytes(1000)
            socket.terminate()
        peer.close()


# Linear time.


def read_chunks(role: Role, count: int) -> None:
    """One frame, which arrives in chunks of 16 bytes."""
    end = End(role, max_message_size=None)
    end.connection.receive_data(frame(role, TEXT, declared=1 << 40), end.now)
    chunk = frame(role, TEXT, b"x" * 16)[-16:]
    for _ in range(count):
        end.connection.receive_data(chunk, end.now)


def read_fragments(role: Role, count: int) -> None:
    """One message, in fragments of 16 bytes, each in a read of its own."""
    end = End(role, max_message_size=None)
    end.connection.receive_data(frame(role, TEXT, b"x", fin=False), end.now)
    fragment = frame(role, CONTINUATION, b"x" * 16, fin=False)
    for _ in range(count):
        end.connection.receive_data(fragment, end.now)


def read_header_bytes(role: Role, count: int) -> None:
    """A header of the opening handshake, or rather four one after the other, byte by byte."""
    for _ in range(4):
        reader = RequestReader() if role is Role.SERVER else ResponseReader()
        reader.feed(b"GET / HTTP/1.1\r\nX: " if role is Role.SERVER else b"HTTP/1.1 101 \r\nX: ")
        for _ in range(count):
            reader.feed(b"y")


def seconds(work: Callable[[], None]) -> float:
    """The least CPU time of five."""
    times = []
    for _ in range(5):
        before = process_time()
        work()
        times.append(process_time() - before)
    return min(times)


@row(21, "many times as many fragments, chunks and bytes of a head")
@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize(("work", "count"), [(read_chunks, 3000), (read_fragments, 3000), (read_header_bytes, 600)])
def test_ten_times_the_input_does_not_take_a_hundred_times_the_time(
    role: Role, work: Callable[[Role, int], None], count: int
) -> None:
    """The time of the CPU is noisy where others compete for it, but not by a factor of four."""
    once, ten_times = seconds(lambda: work(role, count)), seconds(lambda: work(role, 10 * count))
    assert ten_times <= 40 * once


@row(22, "a frame of 200 kB, each byte in a segment of its own")
@both_roles
async def test_a_frame_that_comes_byte_by_byte_is_one_buffer(role: str) -> None:
    data = frame(Role(role), BINARY, bytes(200_000))
    async with victim(role) as attacked:
        for byte in data[:-1]:
            await attacked.peer.send(bytes((byte,)))
        assert attacked.memory.peak() < 3 * MIB
        await attacked.peer.send(data[-1:] + frame(Role(role), 0x9, b"?"))
        assert (await attacked.peer.frame()).payload == b"?"


@row(23, "input that breaks the rules, and 60 MB behind it")
@both_roles
async def test_what_follows_a_violation_is_not_kept_and_has_an_end(role: str) -> None:
    async with victim(role) as attacked:
        await attacked.peer.send(b"\xff")
        assert await send_all(attacked.peer, b"\xff" * MIB, 60) < 60
        assert attacked.memory.peak() < 4 * MIB


@row(27, "empty messages without end, to a handler that does not read")
@on_tcp
async def test_unread_messages_pause_reading(place: Place, invariants: Invariants) -> None:
    role = Role(place.role)
    async with pair(place, invariants) as (socket, peer):
        tasks = len(asyncio.all_tasks())
        flood = asyncio.ensure_future(send_all(peer, frame(role, TEXT) * 10_000, 10_000))
        await until(lambda: socket.stats.messages_received > MAX_QUEUE, "the first messages")
        received = 0
        while received != (received := socket.stats.messages_received):
            await asyncio.sleep(0.05)
        assert received < 64 * KIB // len(frame(role, TEXT)) + MAX_QUEUE + 1  # one read more than there is room for
        assert len(asyncio.all_tasks()) <= tasks + 1  # the flood's own
        flood.cancel()
        with suppress(asyncio.CancelledError):
            await flood
        socket.terminate()
        peer.close()


@row(27, "as many tiny messages as one read holds, to a handler that does not read")
@both_roles
async def test_what_one_read_brings_is_all_that_a_full_queue_can_hold(role: str) -> None:
    async with victim(role, "hold") as attacked:
        flood = asyncio.ensure_future(send_all(attacked.peer, frame(Role(role), TEXT, b"xy") * 10_000, 10_000))
        with suppress(TimeoutError):
            await asyncio.wait_for(flood, 0.7)
        assert attacked.memory.peak() < 6 * MIB
