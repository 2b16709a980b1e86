"""Queries of the operating system, with real sockets, and on systems that do not support them."""

from __future__ import annotations

import errno
import os
import select
import socket as sockets
import struct
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from tests.faults.patience import PATIENCE
from wasclean.aio import kernel

if sys.platform != "linux":
    pytest.skip("other kernels tell less", allow_module_level=True)

Pair = tuple[sockets.socket, sockets.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Both ends of a TCP connection."""
    with sockets.create_server(("127.0.0.1", 0)) as listener, sockets.create_connection(listener.getsockname()) as ours:
        theirs, _ = listener.accept()
        with theirs:
            yield ours, theirs


def until(condition: Callable[[], object]) -> None:
    """Wait for what the kernel does by itself."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def arrived(socket: sockets.socket) -> None:
    """Wait until there is something to read, be it the end."""
    assert select.select([socket], [], [], PATIENCE)[0]


def fill(socket: sockets.socket) -> int:
    """Write until the kernel takes no more; returns how much it has taken."""
    socket.setblocking(False)
    taken = 0
    while True:
        try:
            taken += socket.send(bytes(1 << 16))
        except BlockingIOError:
            return taken


def reset(socket: sockets.socket) -> None:
    """End TCP with a RST."""
    socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
    socket.close()


# unsent()


def test_what_the_peer_has_acknowledged_is_not_unsent(pair: Pair) -> None:
    ours, theirs = pair
    assert kernel.unsent(ours.fileno()) == 0
    ours.sendall(b"x" * 1000)
    arrived(theirs)
    until(lambda: kernel.unsent(ours.fileno()) == 0)  # although nobody has read it


def test_what_the_peers_kernel_has_no_room_for_is_unsent(pair: Pair) -> None:
    ours, theirs = pair
    taken = fill(ours)
    until(lambda: kernel.unsent(ours.fileno()) + kernel.unread(theirs.fileno()) == taken)
    assert kernel.unsent(ours.fileno()) > 0
    theirs.settimeout(PATIENCE)
    left = taken
    while left:
        left -= len(theirs.recv(1 << 16))
    until(lambda: kernel.unsent(ours.fileno()) == 0)


# unread()


def test_unread_counts_what_has_arrived(pair: Pair) -> None:
    ours, theirs = pair
    assert kernel.unread(ours.fileno()) == 0
    theirs.sendall(b"hello")
    arrived(ours)
    assert kernel.unread(ours.fileno()) == 5
    assert ours.recv(2) == b"he"
    assert kernel.unread(ours.fileno()) == 3
    ours.recv(3)
    assert kernel.unread(ours.fileno()) == 0


# has_ended()


@pytest.mark.parametrize("size", [0, 1000], ids=["idle", "behind bytes"])
@pytest.mark.parametrize("end", ["fin", "rst"])
def test_the_peers_end_is_seen_also_behind_bytes_that_nobody_has_read(pair: Pair, end: str, size: int) -> None:
    ours, theirs = pair
    assert not kernel.has_ended(ours.fileno())
    theirs.sendall(bytes(size))
    until(lambda: kernel.unread(ours.fileno()) == size)
    assert not kernel.has_ended(ours.fileno())
    reset(theirs) if end == "rst" else theirs.close()
    until(lambda: kernel.has_ended(ours.fileno()))


def test_a_peer_that_only_stops_sending_has_ended_its_side(pair: Pair) -> None:
    ours, theirs = pair
    theirs.shutdown(sockets.SHUT_WR)
    until(lambda: kernel.has_ended(ours.fileno()))
    ours.sendall(b"still read")
    assert theirs.recv(100) == b"still read"


@pytest.mark.parametrize("end", ["fin", "rst"])
def test_a_connection_is_broken_by_a_reset_and_not_by_a_fin(pair: Pair, end: str) -> None:
    ours, theirs = pair
    assert not kernel.is_broken(ours.fileno())
    reset(theirs) if end == "rst" else theirs.close()
    until(lambda: kernel.has_ended(ours.fileno()))
    assert kernel.is_broken(ours.fileno()) == (end == "rst")


def test_our_own_end_is_not_the_peers(pair: Pair) -> None:
    ours, theirs = pair
    ours.shutdown(sockets.SHUT_WR)
    arrived(theirs)
    assert not kernel.has_ended(ours.fileno())
    assert kernel.has_ended(theirs.fileno())


# peek()


def test_peek_leaves_what_it_shows(pair: Pair) -> None:
    ours, theirs = pair
    theirs.sendall(b"hello, world")
    arrived(ours)
    for _ in range(2):
        assert kernel.peek(ours.fileno(), 5) == b"hello"
        assert kernel.peek(ours.fileno(), 1 << 20) == b"hello, world"
    assert kernel.unread(ours.fileno()) == 12
    assert ours.recv(100) == b"hello, world"


def test_peek_does_not_wait(pair: Pair) -> None:
    ours, theirs = pair
    ours.setblocking(False)
    assert kernel.peek(ours.fileno(), 100) == b""
    assert kernel.peek(ours.fileno(), 0) == b""
    theirs.close()
    arrived(ours)
    assert kernel.peek(ours.fileno(), 100) == b""


def test_peek_after_a_reset_is_no_error(pair: Pair) -> None:
    ours, theirs = pair
    reset(theirs)
    arrived(ours)
    assert kernel.peek(ours.fileno(), 100) == b""


def test_peek_without_a_descriptor_to_spare_sees_nothing(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(number: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    ours, theirs = pair
    theirs.sendall(b"x")
    arrived(ours)
    monkeypatch.setattr(os, "dup", refuse)
    assert kernel.peek(ours.fileno(), 100) == b""


# limit_unsent()


def test_what_the_kernel_takes_beyond_what_it_can_send_is_limited(pair: Pair) -> None:
    ours, theirs = pair
    for socket, option in ((theirs, sockets.SO_RCVBUF), (ours, sockets.SO_SNDBUF)):
        socket.setsockopt(sockets.SOL_SOCKET, option, 4096 if socket is theirs else 4 << 20)
    kernel.limit_unsent(ours)
    limited = fill(ours)
    assert limited < 4 * kernel.NOTSENT
    ours.setsockopt(sockets.IPPROTO_TCP, getattr(sockets, "TCP_NOTSENT_LOWAT", 25), 1 << 30)
    assert fill(ours) > limited  # so it was not the buffer that was full


def test_what_has_no_such_limit_is_left_alone() -> None:
    ours, theirs = sockets.socketpair()
    with ours, theirs:
        kernel.limit_unsent(ours)
        ours.sendall(b"x")
        assert theirs.recv(1) == b"x"
    with sockets.socket() as closed:
        pass
    kernel.limit_unsent(closed)


# Where there is nothing to ask.


def test_of_no_file_nothing_is_known() -> None:
    assert kernel.unsent(-1) == kernel.unread(-1) == 0
    assert kernel.peek(-1, 100) == b""
    assert not kernel.has_ended(-1)
    assert not kernel.is_broken(-1)


def test_of_what_is_no_connection_nothing_is_known() -> None:
    number = os.open(os.devnull, os.O_RDONLY)
    try:
        assert kernel.unsent(number) == kernel.unread(number) == 0
    finally:
        os.close(number)
    assert kernel.unsent(number) == kernel.unread(number) == 0  # closed


# slept()


def test_slept_is_what_the_boot_clock_is_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kernel.slept() > -0.001
    clocks = {time.CLOCK_BOOTTIME: 5000.0, time.CLOCK_MONOTONIC: 1400.0}
    monkeypatch.setattr(time, "clock_gettime", clocks.__getitem__)
    assert kernel.slept() == 3600


def test_without_a_boot_clock_nobody_has_slept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(time, "CLOCK_BOOTTIME")
    assert kernel.slept() == 0
