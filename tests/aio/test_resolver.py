"""Names are looked up on threads of our own, which keep neither the loop's executor busy nor the process alive."""

from __future__ import annotations

import asyncio
import errno
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.endpoints import echo, served, turn
from tests.faults.patience import until
from tests.proxies import exchange, proxy_of, socks
from wasclean.aio import resolver
from wasclean.aio.resolver import resolve


class NameServer:
    """Stands in for socket.getaddrinfo(): names below ``.slow`` have an address once they are released.

    Attributes:
        asked: the names below ``.slow`` that were asked for.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.real: Any = socket.getaddrinfo
        self._released = threading.Event()

    def getaddrinfo(self, host: Any, *args: Any, flags: int = 0, **options: Any) -> Any:
        if flags & socket.AI_NUMERICHOST or not str(host).endswith(".slow"):
            return self.real(host, *args, flags=flags, **options)
        self.asked.append(host)
        self._released.wait()
        return self.real("127.0.0.1", *args, flags=flags, **options)

    def release(self) -> None:
        self._released.set()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    names = NameServer()
    monkeypatch.setattr(socket, "getaddrinfo", names.getaddrinfo)
    yield names
    names.release()


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)


async def addresses(host: str | None, *, passive: bool = False) -> list[Any]:
    return [info[4] for info in await resolve(asyncio.get_running_loop(), host, 80, passive=passive)]


@pytest.mark.usefixtures("no_threads")
async def test_an_address_takes_no_thread() -> None:
    assert await addresses("127.0.0.1") == [("127.0.0.1", 80)]
    assert await addresses("::1") == [("::1", 80, 0, 0)]
    assert set(await addresses(None, passive=True)) <= {("0.0.0.0", 80), ("::", 80, 0, 0)}


async def test_an_address_may_have_a_scope() -> None:
    number, name = socket.if_nameindex()[0]
    for scope in (name, str(number)):
        assert await addresses(f"fe80::1%{scope}") == [("fe80::1", 80, 0, number)]


async def test_a_name_has_the_addresses_that_the_system_knows() -> None:
    found = await addresses("localhost")
    assert {address[0] for address in found} <= {"127.0.0.1", "::1"}
    assert found == await addresses("localhost", passive=True)


@pytest.mark.usefixtures("no_threads")
async def test_without_a_thread_a_look_up_is_an_os_error() -> None:
    with pytest.raises(BlockingIOError) as error:
        await addresses("localhost")
    assert error.value.errno == errno.EAGAIN


@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".invalid", ".", "no-such-name.invalid"])
async def test_what_cannot_be_looked_up_is_a_gaierror(host: str) -> None:
    with pytest.raises(socket.gaierror):
        await addresses(host)


async def test_a_text_that_is_no_name_is_told_with_its_cause() -> None:
    with pytest.raises(socket.gaierror, match=r"Name or service not known: 'a\.\.b' is no name: .*empty") as error:
        await addresses("a..b")
    assert isinstance(error.value.__cause__, UnicodeError)


async def test_a_name_without_an_address_is_a_gaierror(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [])
    with pytest.raises(socket.gaierror, match=r"Name or service not known: 'h\.invalid' has no address"):
        await addresses("h.invalid")


async def test_a_mistake_of_ours_stays_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(host: object, port: int, flags: int) -> Any:
        if flags:
            raise socket.gaierror
        raise AttributeError("a typo")

    monkeypatch.setattr(resolver, "_look_up", look_up)
    with pytest.raises(AttributeError, match="a typo"):
        await addresses("h.invalid")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("scheme", ["", "socks4", "socks5", "socks5h"])
async def test_a_full_executor_keeps_nobody_from_connecting(host: str, scheme: str) -> None:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(1))
    free = threading.Event()
    jobs = [loop.run_in_executor(None, free.wait) for _ in range(3)]
    try:
        async with served(echo) as server, proxy_of(socks, server.server.port) as proxy:
            options: Any = {"proxy": f"{scheme}://{host}:{proxy.port}"} if scheme else {}
            assert (await exchange(f"ws://{host}:{server.server.port}/", **options)).ok
    finally:
        free.set()
        await asyncio.gather(*jobs)


async def test_many_look_ups_that_hang_have_so_many_threads_and_no_more(
    names: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver, "MAX_LOOKUPS", 2)
    before = set(threading.enumerate())
    tasks = [asyncio.ensure_future(addresses(f"{i}.slow")) for i in range(6)]
    await until(lambda: len(names.asked) == 2)
    await turn(10)
    assert names.asked == ["0.slow", "1.slow"]
    assert len(set(threading.enumerate()) - before) == 2
    for task in tasks[:2] + tasks[3:5]:  # two that are asked for, and two that wait
        task.cancel()
    names.release()
    assert await tasks[2] == await tasks[5] == [("127.0.0.1", 80)]
    assert names.asked == ["0.slow", "1.slow", "2.slow", "5.slow"]
    await asyncio.wait(tasks)
    assert [task.cancelled() for task in tasks] == [True, True, False, True, True, False]


def test_an_answer_that_comes_after_the_end_of_the_loop_is_dropped(
    names: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", failures.append)

    async def leave() -> None:
        task = asyncio.ensure_future(addresses("a.slow"))
        await until(lambda: names.asked)
        task.cancel()

    before = set(threading.enumerate())
    asyncio.run(leave())
    (thread,) = set(threading.enumerate()) - before
    names.release()
    thread.join(60)
    assert not thread.is_alive()
    assert failures == []


def run(program: str) -> str:
    """Run a program to its end, and return its output."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_thread_that_outlives_the_main_thread_can_connect() -> None:
    program = """
import asyncio, threading
from wasclean import connect, serve

async def exchange():
    async with serve(lambda socket: socket.close(4000), "127.0.0.1", 0) as server:
        for host in ("127.0.0.1", "localhost"):
            socket = await connect(f"ws://{host}:{server.port}/", proxy=None)
            print((await socket.wait_closed()).code)

def later():
    threading.main_thread().join()
    asyncio.run(exchange())

threading.Thread(target=later).start()
"""
    assert run(program) == "4000\n4000\n"


@pytest.mark.parametrize("way", ["asyncio.run(connect())", "a script"])
def test_a_resolver_that_hangs_does_not_keep_the_process(way: str) -> None:
    program = """
import asyncio, socket, threading, wasclean

def getaddrinfo(host, *args, flags=0, **options):
    if flags & socket.AI_NUMERICHOST:
        raise socket.gaierror
    threading.Event().wait()

socket.getaddrinfo = getaddrinfo
"""
    if way == "a script":
        program += """
client = wasclean.WebSocket("ws://name.invalid/", proxy=None, open_timeout=0.1)
client.onclose = lambda event: print(event.cause, event.phase)
"""
    else:
        program += """
async def main():
    try:
        await wasclean.connect("ws://name.invalid/", proxy=None, open_timeout=0.1)
    except TimeoutError as error:
        print(error.event.cause, error.event.phase)

asyncio.run(main())
"""
    assert run(program) == "open_timeout dns\n"
