"""One epoll for all of a loop's connections."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import socket as sockets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from textwrap import dedent
from typing import Any
from weakref import ref

import pytest

from tests.endpoints import turn
from wasclean.aio import poller
from wasclean.aio.interface import Transport
from wasclean.aio.readiness import Readiness

pytestmark = pytest.mark.skipif(not poller.AVAILABLE, reason="there is no epoll on this system")

if poller.AVAILABLE:
    import select
    from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT


class Member(Transport):
    """Takes note of what it is told, and does something then."""

    def __init__(self, then: Callable[[], object] = lambda: None) -> None:
        self.told: list[int] = []
        self.then = then

    def ready(self, events: int) -> None:
        self.told.append(events)
        self.then()


@contextmanager
def pair() -> Iterator[tuple[sockets.socket, sockets.socket]]:
    """Two ends of a connection."""
    ours, theirs = sockets.socketpair()
    with ours, theirs:
        yield ours, theirs


@contextmanager
def joined() -> Iterator[poller.Poller]:
    """The running loop's poller."""
    loop = asyncio.get_running_loop()
    joined = poller.join(loop)
    try:
        yield joined
    finally:
        joined.leave(loop)


async def test_a_member_is_told_what_it_watches() -> None:
    with joined() as epoll, pair() as (ours, theirs):
        member = Member(lambda: ours.recv(10))
        epoll.watch(ours.fileno(), member, 0, EPOLLIN)
        await turn()
        assert member.told == []
        theirs.send(b"x")
        await turn()
        assert member.told == [EPOLLIN]
        epoll.watch(ours.fileno(), member, EPOLLIN, 0)
        theirs.send(b"x")
        await turn()
        assert member.told == [EPOLLIN]
        member.then = lambda: epoll.watch(ours.fileno(), member, EPOLLOUT, 0)
        epoll.watch(ours.fileno(), member, 0, EPOLLOUT)
        await turn()
        assert member.told == [EPOLLIN, EPOLLOUT]


def test_a_look_finds_no_more_than_it_may_and_goes_on_where_it_was() -> None:
    with select.epoll() as source, ExitStack() as stack:
        ours = [stack.enter_context(pair())[0] for _ in range(3)]
        readiness = Readiness(source, 2)
        assert readiness.look() == 0
        for end in ours:
            source.register(end.fileno(), EPOLLOUT)
        found = []
        for _ in range(2):
            assert readiness.look() == 2
            assert {readiness.events(i) for i in range(2)} == {EPOLLOUT}
            found += [readiness.number(i) for i in range(2)]
            with pytest.raises(IndexError):
                readiness.number(2)
            with pytest.raises(IndexError):
                readiness.events(2)
        assert set(found) == {end.fileno() for end in ours}


def test_a_look_at_what_is_closed_is_an_error() -> None:
    source = select.epoll()
    readiness = Readiness(source, 2)
    source.close()
    with pytest.raises((OSError, ValueError)):
        readiness.look()


async def test_it_is_told_again_as_long_as_it_has_not_read() -> None:
    with joined() as epoll, pair() as (ours, theirs):
        member = Member()
        epoll.watch(ours.fileno(), member, 0, EPOLLIN)
        theirs.send(b"x")
        await turn(5)
        assert len(member.told) > 2
        epoll.watch(ours.fileno(), member, EPOLLIN, 0)


async def test_it_is_told_of_an_end_in_full() -> None:
    """uvloop tells once of a connection that was reset, and never again."""
    with joined() as epoll, pair() as (ours, theirs):
        member = Member()
        epoll.watch(ours.fileno(), member, 0, EPOLLIN)
        theirs.close()
        await turn(5)
        assert len(member.told) > 2
        assert set(member.told) <= {EPOLLIN | EPOLLHUP, EPOLLIN | EPOLLHUP | EPOLLERR}
        epoll.watch(ours.fileno(), member, EPOLLIN, 0)


async def test_one_that_ends_another_in_the_same_turn_does_it_in_time() -> None:
    with joined() as epoll, pair() as (one, of_one), pair() as (two, of_two):
        members: list[Member] = []

        def end_both() -> None:
            for number in (one.fileno(), two.fileno()):
                epoll.watch(number, members[0], EPOLLIN, 0)

        members += [Member(end_both), Member(end_both)]
        epoll.watch(one.fileno(), members[0], 0, EPOLLIN)
        epoll.watch(two.fileno(), members[1], 0, EPOLLIN)
        of_one.send(b"x")
        of_two.send(b"x")
        await turn()
        assert sorted(len(member.told) for member in members) == [0, 1]


async def test_its_descriptor_is_closed_when_the_last_member_has_left() -> None:
    def epolls() -> int:
        links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
        return sum(os.path.exists(link) and "eventpoll" in os.readlink(link) for link in links)

    loop = asyncio.get_running_loop()
    before = epolls()
    first = poller.join(loop)
    assert poller.join(loop) is first
    assert epolls() == before + 1
    first.leave(loop)
    assert poller.join(loop) is first
    first.leave(loop)
    first.leave(loop)
    assert epolls() == before
    with joined() as second:
        assert second is not first


def test_an_epoll_that_is_taken_out_of_its_module_later_on_is_no_loss() -> None:
    """As gevent's monkey patching does."""
    program = """
        import asyncio, select
        from wasclean import connect, serve

        for name in ("epoll", "poll"):
            delattr(select, name)

        async def echo(socket):
            async for message in socket:
                await socket.send(message)

        async def main():
            async with serve(echo, "127.0.0.1", 0) as server, connect(f"ws://127.0.0.1:{server.port}") as socket:
                await socket.send("x")
                assert await socket.recv() == "x"
                if (child := os.fork()) == 0:
                    os._exit(0)
                assert os.waitpid(child, 0)[1] == 0
                await socket.send("y")
                assert await socket.recv() == "y"

        import os
        asyncio.run(main())
    """
    done = subprocess.run([sys.executable, "-c", dedent(program)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


async def test_a_loop_that_refuses_to_look_at_it_has_none() -> None:
    class Loop:
        refuses = True

        def add_reader(self, number: int, callback: Callable[[], object]) -> None:
            if self.refuses:
                raise OSError(errno.ENOSPC, "too much is watched")
            self.callback = callback

        def remove_reader(self, number: int) -> None:
            del self.callback

    loop: Any = Loop()
    with pytest.raises(OSError, match="too much is watched"):
        poller.join(loop)
    loop.refuses = False
    joined = poller.join(loop)
    assert loop.callback == joined._poll
    joined.leave(loop)
    assert not hasattr(loop, "callback")


def test_a_loop_that_is_closed_with_members_is_freed() -> None:
    loop = asyncio.new_event_loop()
    member = Member()
    ours, theirs = sockets.socketpair()
    with ours, theirs:
        poller.join(loop).watch(ours.fileno(), member, 0, EPOLLIN)
        member.then = partial(id, loop)  # a member refers to its loop
        loop.close()
        gone = ref(loop)
        del loop, member
        gc.collect()
        assert gone() is None


def test_each_loop_has_its_own() -> None:
    async def main() -> poller.Poller:
        with joined() as epoll:
            return epoll

    assert asyncio.run(main()) is not asyncio.run(main())
