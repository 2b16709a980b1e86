"""Every ordinary end of a process: whoever is connected reads a Close frame with 1001, and nobody reads complaints."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

from tests.faults.patience import NEVER, PATIENCE, until
from tests.faults.processes import Ended, Process, python
from tests.raw import CLOSE, TEXT, Frame, Raw, close_payload, raw_client, raw_server
from wasclean.model.registry import GRACE

GONE = Frame(CLOSE, close_payload(1001))

START = """
import asyncio, contextlib, os, signal, sys, threading, time
from wasclean.model import registry
registry.GRACE = float(sys.argv[3])
from wasclean import ConnectionClosed, WebSocket, connect, serve

def run(main):
    if sys.argv[1] == "uvloop":
        import uvloop
        uvloop.run(main)
    else:
        asyncio.run(main)

def new_loop():
    if sys.argv[1] == "uvloop":
        import uvloop
        return uvloop.new_event_loop()
    return asyncio.new_event_loop()

def closed(event):
    print("closed:", event.sent.code if event.sent else None, event.cause, flush=True)

url = sys.argv[2]
"""


@contextmanager
def program(code: str, url: str = "", grace: float = GRACE) -> Iterator[Process]:
    """Run a program on the kind of loop that we have; every warning is an error.

    Args:
        code: what it does.
        url: of a peer.
        grace: seconds that the closing may take; NEVER where the end must not wait for them.
    """
    kind = "uvloop" if "uvloop" in type(asyncio.get_running_loop()).__module__ else "asyncio"
    with python(START + code, kind, url, str(grace), environment={"PYTHONWARNINGS": "error"}) as running:
        yield running


class Peer:
    """A raw server for one client after the other.

    Attributes:
        url: where it is.
    """

    def __init__(self, *, answers: bool = True) -> None:
        self.url = ""
        self._answers = answers
        self._arrived: asyncio.Queue[Raw] = asyncio.Queue()
        self._frames: asyncio.Queue[Frame | None] = asyncio.Queue()

    async def serve(self, raw: Raw) -> None:
        """Tell the test of the client's frames until a Close frame or EOF; answer the former."""
        self._arrived.put_nowait(raw)
        try:
            while (frame := await raw.frame()).opcode != CLOSE:
                self._frames.put_nowait(frame)
        except asyncio.IncompleteReadError:
            self._frames.put_nowait(None)
            return
        self._frames.put_nowait(frame)
        if self._answers:
            raw.send_frame(CLOSE, frame.payload)
        else:
            await raw.rest()

    async def client(self) -> Raw:
        """Wait for a client."""
        return await asyncio.wait_for(self._arrived.get(), PATIENCE)

    async def frame(self) -> Frame | None:
        """Wait for its next frame; None if it has gone without a Close frame."""
        return await asyncio.wait_for(self._frames.get(), PATIENCE)


@asynccontextmanager
async def peer(*, answers: bool = True) -> AsyncIterator[Peer]:
    it = Peer(answers=answers)
    async with raw_server(it.serve) as url:
        it.url = url
        yield it


async def ended(running: Process) -> Ended:
    """Wait for the end, which must come."""
    return await running.ended()


def is_quiet(stderr: str, error: str = "") -> bool:
    """Whether there is nothing on stderr, or nothing but the user's own error."""
    if not error:
        return not stderr
    own = stderr.startswith("Traceback ") and stderr.splitlines()[-1].startswith(error)
    return own and not re.search(r"Exception ignored|Warning|destroyed|never retrieved|Task", stderr)


ENDS = {
    "return": ("pass", 0, ""),
    "an exception": ("1 / 0", 1, "ZeroDivisionError"),
    "sys.exit() in main()": ("sys.exit(3)", 3, ""),
    "exit() in main()": ("exit(3)", 3, ""),
    "sys.exit() in a callback": ("asyncio.get_running_loop().call_soon(sys.exit, 3); await asyncio.sleep(600)", 3, ""),
    "SIGINT": ("await asyncio.sleep(600)", -signal.SIGINT, "KeyboardInterrupt"),
    "SIGTERM": ("await asyncio.sleep(600)", -signal.SIGTERM, ""),
}

KINDS = {
    "events": "socket = WebSocket(url); await socket.wait_opened(); socket.onclose = closed",
    "stream": "socket = await connect(url)",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("end", ENDS)
async def test_a_client_tells_its_server_of_its_end(end: str, kind: str) -> None:
    code, status, error = ENDS[end]
    async with peer() as server:
        text = f"async def main():\n    {KINDS[kind]}\n    print('ready')\n    {code}\nrun(main())"
        with program(text, server.url) as running:
            await running.line("ready")
            if "SIG" in end:
                running.send_signal(signal.Signals[end])
            assert await server.frame() == GONE
            result = await ended(running)
            assert (result.status, is_quiet(result.stderr, error)) == (status, True), result
            assert kind == "stream" or "closed: 1001 process_exit" in result.stdout


@pytest.mark.parametrize("kind", ["events", "stream"])
@pytest.mark.parametrize("end", ENDS)
async def test_a_server_tells_its_clients_of_its_end(end: str, kind: str) -> None:
    code, status, error = ENDS[end]
    text = f"""
def events(socket):
    socket.onclose = closed
async def stream(socket):
    async for message in socket:
        pass
async def main():
    server = await serve({kind}, "127.0.0.1", 0)
    print("port:", server.port)
    while not server.connections:
        await asyncio.sleep(0.001)
    print("ready")
    {code}
run(main())
"""
    with program(text) as running:
        port = int(await running.line("port: "))
        async with raw_client(port) as client:
            await running.line("ready")
            if "SIG" in end:
                running.send_signal(signal.Signals[end])
            assert await client.frame() == GONE
            client.send_close(1001)
            assert await client.rest() == b""
        result = await ended(running)
        assert (result.status, is_quiet(result.stderr, error)) == (status, True), result
        assert kind == "stream" or "closed: 1001 process_exit" in result.stdout


#: Where sys.exit() or exit() may be called, beside main(): each when a message arrives.
PLACES = {
    "a listener": "socket = WebSocket(url); socket.onclose = closed; socket.onmessage = lambda event: sys.exit(3)",
    "a listener's coroutine": """
    socket = WebSocket(url)
    async def received(event):
        await asyncio.sleep(0)
        exit(3)
    socket.onmessage = received
""",
    "a task that reads": """
    async def read():
        async with connect(url) as socket:
            await socket.recv()
            sys.exit(3)
    task = asyncio.create_task(read())
""",
    "a task that reads in a loop": """
    async def read():
        socket = await connect(url)
        async for message in socket:
            if message == "now":
                sys.exit(3)
    task = asyncio.create_task(read())
""",
}


@pytest.mark.parametrize("place", PLACES)
async def test_a_client_that_exits_elsewhere_says_so(place: str) -> None:
    text = f"""
async def main():
    other = await connect(url)
    {PLACES[place]}
    try:
        await asyncio.sleep(600)
    finally:
        task = None
run(main())
"""
    async with peer() as server:
        with program(text, server.url) as running:
            await server.client()
            client = await server.client()
            client.send_frame(TEXT, b"earlier")
            client.send_frame(TEXT, b"now")
            client.send_frame(TEXT, b"later")
            assert {await server.frame(), await server.frame()} == {GONE}
            result = await ended(running)
            if place.startswith("a task"):  # asyncio itself complains of the user's task
                assert result.stderr.count("Task exception was never retrieved") == 1, result
                assert result.stderr.endswith("SystemExit: 3\n"), result
            else:
                assert result.stderr == ""
            assert result.status == 3


HANDLERS = {
    "a handler": "def handler(socket): sys.exit(3)",
    "a handler's coroutine": """
async def handler(socket):
    sys.exit(3)
""",
    "a handler that reads": """
async def handler(socket):
    async for message in socket:
        exit(3)
""",
    "a listener": """
def handler(socket):
    socket.onmessage = lambda event: exit(3)
""",
}


@pytest.mark.parametrize("place", HANDLERS)
async def test_a_server_whose_handler_exits_ends_like_every_other(place: str) -> None:
    text = f"""
{HANDLERS[place]}
async def main():
    async with serve(handler, "127.0.0.1", 0) as server:
        print("port:", server.port)
        await server.wait_closed()
run(main())
"""
    with program(text) as running:
        async with raw_client(int(await running.line("port: "))) as client:
            client.send_frame(TEXT, b"now")
            client.send_frame(TEXT, b"later")
            assert await client.frame() == GONE
            client.send_close(1001)
        result = await ended(running)
        assert (result.status, is_quiet(result.stderr)) == (3, True), result


async def test_a_process_that_is_client_and_server_closes_both_ends() -> None:
    text = """
async def main():
    server = await serve(lambda socket: setattr(socket, "onclose", closed), "127.0.0.1", 0)
    async with connect(f"ws://127.0.0.1:{server.port}/") as socket:
        other = WebSocket(f"ws://127.0.0.1:{server.port}/")
        other.onclose = closed
        await other.wait_opened()
        while len(server.connections) < 2:
            await asyncio.sleep(0.001)
        print("ready", flush=True)
        await asyncio.sleep(600)
run(main())
"""
    for number in (signal.SIGINT, signal.SIGTERM):
        with program(text) as running:
            await running.line("ready")
            running.send_signal(number)
            result = await ended(running)
            error = "KeyboardInterrupt" if number == signal.SIGINT else ""
            assert (result.status, is_quiet(result.stderr, error)) == (-number, True), result
            assert result.stdout.count("closed: ") == 3


# A peer that never answers.


@pytest.mark.parametrize("end", ["return", "an exception", "sys.exit() in a callback", "SIGINT", "SIGTERM"])
async def test_a_peer_that_never_answers_delays_the_end_by_the_grace_at_most(end: str) -> None:
    code, status, error = ENDS[end]
    async with peer(answers=False) as server:
        text = f"""
async def main():
    first = WebSocket(url)
    first.onclose = closed
    second = await connect(url)
    await first.wait_opened()
    print("ready")
    async with {"second" if "SIG" in end or "callback" in end else "contextlib.nullcontext()"}:
        {code}
run(main())
"""
        with program(text, server.url) as running:
            await running.line("ready")
            if "SIG" in end:
                running.send_signal(signal.Signals[end])
            assert {await server.frame(), await server.frame()} == {GONE}
            result = await ended(running)
            assert (result.status, is_quiet(result.stderr, error)) == (status, True), result


async def test_a_second_sigint_ends_the_waiting_for_the_peer() -> None:
    async with peer(answers=False) as server:
        text = """
async def main():
    socket = WebSocket(url)
    socket.onclose = closed
    await socket.wait_opened()
    print("ready")
    await asyncio.sleep(600)
run(main())
"""
        with program(text, server.url, NEVER) as running:
            await running.line("ready")
            running.send_signal(signal.SIGINT)
            assert await server.frame() == GONE
            running.send_signal(signal.SIGINT)
            result = await ended(running)
            assert (result.status, is_quiet(result.stderr, "KeyboardInterrupt")) == (-signal.SIGINT, True), result


async def test_two_sigints_at_once_end_a_process_too() -> None:
    async with peer(answers=False) as server:
        text = """
async def main():
    async with connect(url) as socket:
        print("ready")
        await socket.recv()
run(main())
"""
        with program(text, server.url) as running:
            await running.line("ready")
            running.send_signal(signal.SIGINT)
            assert await server.frame() == GONE
            running.send_signal(signal.SIGINT)
            result = await ended(running)
            assert (result.status, is_quiet(result.stderr, "KeyboardInterrupt")) == (-signal.SIGINT, True), result


# Loops that nobody ends in an orderly way.


LOOSE = """
loop = new_loop()
async def main():
    socket = WebSocket(url)
    socket.onclose = closed
    await socket.wait_opened()
    print("ready", flush=True)
    return socket
"""


async def test_a_loop_that_ctrl_c_has_stopped_is_ended_at_the_interpreters_exit() -> None:
    async with peer() as server:
        code = "loop.create_task(main()).add_done_callback(lambda task: print('idle', flush=True))\nloop.run_forever()"
        with program(LOOSE + code, server.url) as running:
            await running.line("idle")  # not inside main(), whose exception nobody would retrieve
            running.send_signal(signal.SIGINT)
            assert await server.frame() == GONE
            result = await ended(running)
            assert (result.status, is_quiet(result.stderr, "KeyboardInterrupt")) == (-signal.SIGINT, True), result
            assert "closed: 1001 process_exit" in result.stdout


async def test_a_loop_that_has_stopped_is_ended_at_the_interpreters_exit() -> None:
    async with peer() as server:
        with program(LOOSE + "socket = loop.run_until_complete(main())", server.url) as running:
            assert await server.frame() == GONE
            result = await ended(running)
            assert (result.status, result.stderr) == (0, "")
            assert "closed: 1001 process_exit" in result.stdout


async def test_a_loop_of_a_daemon_thread_is_told_at_the_interpreters_exit() -> None:
    async with peer() as server:
        code = """
ready = threading.Event()
async def wait():
    socket = await main()
    ready.set()
    await asyncio.sleep(600)
threading.Thread(target=loop.run_until_complete, args=[wait()], daemon=True).start()
ready.wait()
"""
        with program(LOOSE + code, server.url) as running:
            assert await server.frame() == GONE
            assert (await ended(running))[:2] == (0, "ready\nclosed: 1001 process_exit\n")


async def test_a_loop_that_has_stopped_is_ended_by_sigterm() -> None:
    async with peer() as server:
        code = "loop.run_until_complete(main())\nprint('stopped', flush=True)\ntime.sleep(600)"
        with program(LOOSE + code, server.url) as running:
            await running.line("stopped")
            running.send_signal(signal.SIGTERM)
            assert await server.frame() == GONE
            result = await ended(running)
            assert (result.status, result.stderr) == (-signal.SIGTERM, "")


async def test_a_loop_that_is_just_closed_closes_its_connections_first() -> None:
    async with peer() as server:
        code = "socket = loop.run_until_complete(main())\nloop.close()"
        with program(LOOSE + code, server.url) as running:
            assert await server.frame() == GONE
            result = await ended(running)
            assert (result.status, result.stderr) == (0, "")
            assert "closed: 1001 process_exit" in result.stdout


# SIGTERM, and whose it is.


async def test_a_second_sigterm_ends_the_process_at_once() -> None:
    async with peer(answers=False) as server:
        text = """
async def main():
    socket = await connect(url)
    print("ready")
    await socket.wait_closed()
run(main())
"""
        with program(text, server.url, NEVER) as running:
            await running.line("ready")
            running.send_signal(signal.SIGTERM)
            assert await server.frame() == GONE
            running.send_signal(signal.SIGTERM)
            assert await ended(running) == (-signal.SIGTERM, "ready\n", "")


async def test_a_blocked_loop_does_not_keep_a_process_alive_after_sigterm() -> None:
    async with peer() as server:
        text = """
async def main():
    socket = await connect(url)
    print("ready")
    while True:
        time.sleep(0.01)
run(main())
"""
        with program(text, server.url) as running:
            await running.line("ready")
            running.send_signal(signal.SIGTERM)
            assert await ended(running) == (-signal.SIGTERM, "ready\n", "")


async def test_sigterm_is_the_default_again_when_no_connection_is_left() -> None:
    async with peer() as server:
        text = """
def told(when):
    print(when, signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
async def main():
    told("before")
    first, second = await connect(url), await connect(url)
    told("first")
    await first.close()
    told("second")
    await second.close()
    await asyncio.sleep(0)
    told("after")
run(main())
told("end")
"""
        with program(text, server.url) as running:
            assert await ended(running) == (0, "before True\nfirst False\nsecond False\nafter True\nend True\n", "")


@pytest.mark.parametrize("own", ["lambda *_: sys.exit(5)", "signal.SIG_IGN"])
async def test_a_program_keeps_its_own_handler(own: str) -> None:
    async with peer() as server:
        text = f"""
own = {own}
signal.signal(signal.SIGTERM, own)
async def main():
    socket = await connect(url)
    print(signal.getsignal(signal.SIGTERM) is own)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(0.1)
run(main())
"""
        with program(text, server.url) as running:
            assert await server.frame() == GONE
            assert await ended(running) == (5 if "exit" in own else 0, "True\n", "")


async def test_a_handler_that_is_set_later_is_not_replaced() -> None:
    async with peer() as server:
        text = """
async def main():
    done = asyncio.Event()
    socket = await connect(url)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, done.set)
    await (await connect(url)).close()
    print("ready")
    await done.wait()
    print("told")
run(main())
"""
        with program(text, server.url) as running:
            await running.line("ready")
            running.send_signal(signal.SIGTERM)
            assert await ended(running) == (0, "ready\ntold\n", "")
            assert {await server.frame(), await server.frame()} == {Frame(CLOSE, b""), GONE}


async def test_connections_of_several_loops_are_closed_by_sigterm() -> None:
    async with peer() as server:
        text = """
async def main():
    socket = await connect(url)
    sys.stdout.write("ready" + chr(10))
    await socket.wait_closed()
threading.Thread(target=run, args=[main()], daemon=True).start()
run(main())
"""
        with program(text, server.url) as running:
            await server.client()
            await server.client()
            await until(lambda: running.stdout.count("ready") == 2, "both connections")
            running.send_signal(signal.SIGTERM)
            assert {await server.frame(), await server.frame()} == {GONE}
            assert await ended(running) == (-signal.SIGTERM, "ready\nready\n", "")


async def test_a_listener_that_connects_again_does_not_delay_the_end() -> None:
    async with peer() as server:
        text = """
count = 0
def again(event):
    global count
    count += 1
    if count > 1:
        assert event.cause == "process_exit" or event.cause == "cancelled", event.cause
    WebSocket(url).onclose = again
async def main():
    socket = await WebSocket(url).wait_opened()
    socket.onclose = again
    print("ready")
    await asyncio.sleep(600)
run(main())
"""
        for number in (signal.SIGINT, signal.SIGTERM):
            with program(text, server.url, NEVER) as running:
                await running.line("ready")
                running.send_signal(number)
                assert await server.frame() == GONE
                result = await ended(running)
                error = "KeyboardInterrupt" if number == signal.SIGINT else ""
                assert (result.status, is_quiet(result.stderr, error)) == (-number, True), result


# serve_forever().


FOREVER = """
async def handler(socket):
    try:
        async for message in socket:
            pass
        {then}
    except asyncio.CancelledError:
        print("cancelled")
async def main():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    async with serve(handler, "127.0.0.1", 0) as server:
        print("port:", server.port)
        await server.serve_forever()
    assert before == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    print("returned")
run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
async def test_serve_forever_closes_its_connections_at_a_signal_and_returns(number: signal.Signals) -> None:
    with program(FOREVER.format(then="pass")) as running:
        port = int(await running.line("port: "))
        async with raw_client(port) as first, raw_client(port) as second:
            running.send_signal(number)
            for client in (first, second):
                assert await client.frame() == GONE
                with pytest.raises(ConnectionError):
                    await asyncio.open_connection("127.0.0.1", port)
                client.send_close(1001)
                assert await client.rest() == b""
        result = await ended(running)
        assert (result.status, result.stderr) == (0, "")
        assert "returned" in result.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
async def test_serve_forever_ends_everything_at_a_second_signal(number: signal.Signals) -> None:
    with program(FOREVER.format(then=f"await asyncio.sleep({NEVER})"), grace=NEVER) as running:
        async with (
            raw_client(int(await running.line("port: "))) as answers,
            raw_client(int(await running.line("port: "))) as silent,
        ):
            running.send_signal(number)
            assert await silent.frame() == await answers.frame() == GONE
            answers.send_close(1001)
            await answers.rest()
            running.send_signal(number)
            with pytest.raises(ConnectionResetError):
                await silent.rest()
            result = await ended(running)
        assert (result.status, result.stderr) == (0, "")
        assert "cancelled" in result.stdout
        assert "returned" in result.stdout


async def test_serve_forever_of_two_servers_ends_both() -> None:
    text = """
async def main():
    async with serve(print, "127.0.0.1", 0) as first, serve(print, "127.0.0.1", 0) as second:
        print("ports:", first.port, second.port)
        await asyncio.gather(first.serve_forever(), second.serve_forever())
    print("SIGTERM:", signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
run(main())
"""
    with program(text) as running:
        first, second = (await running.line("ports: ")).split()
        async with raw_client(int(first)) as one, raw_client(int(second)) as other:
            running.send_signal(signal.SIGTERM)
            assert await one.frame() == await other.frame() == GONE
        result = await ended(running)
        assert (result.status, result.stderr) == (0, "")
        assert "SIGTERM: True" in result.stdout


async def test_a_server_whose_loop_is_blocked_dies_of_the_second_signal() -> None:
    text = """
async def main():
    async with serve(print, "127.0.0.1", 0) as server:
        asyncio.get_running_loop().call_soon(print, "ready")
        asyncio.get_running_loop().call_later(0.01, block)
        await server.serve_forever()
def block():
    print("blocked")
    while True:
        time.sleep(0.01)
run(main())
"""
    with program(text) as running:
        await running.line("blocked")
        running.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.05)  # two at once would be one
        running.send_signal(signal.SIGTERM)
        result = await ended(running)
        assert (result.status, result.stderr) == (128 + signal.SIGTERM, "")


async def test_serve_forever_leaves_a_programs_own_handler_alone() -> None:
    text = """
def own(number, frame):
    print("own")
    sys.exit(7)
signal.signal(signal.SIGTERM, own)
async def main():
    async with serve(print, "127.0.0.1", 0) as server:
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)
        await server.serve_forever()
run(main())
"""
    with program(text) as running:
        assert await ended(running) == (7, "own\n", "")


# fork().


CHILDREN = {
    "os._exit()": ("os._exit(0)", "0"),
    "sys.exit()": ("sys.exit(3)", "3"),
    "an exception": ("os.dup2(os.open(os.devnull, os.O_WRONLY), 2); raise ValueError", "1"),
    "a return": ("return", "0"),
    "SIGTERM": ("assert signal.getsignal(15) is signal.SIG_DFL; os.kill(os.getpid(), 15); time.sleep(600)", "-15"),
    "close()": ("socket.send('child'); socket.close(4000); return", "0"),
    "terminate()": ("socket.terminate(); return", "0"),
}


@pytest.mark.parametrize("end", CHILDREN)
async def test_a_forked_child_leaves_its_parents_connections_alone(end: str) -> None:
    text = f"""
async def main():
    socket, other = await connect(url), WebSocket(url)
    other.onclose = closed
    await other.wait_opened()
    child = os.fork()
    if not child:
        {CHILDREN[end][0]}
    status = os.waitpid(child, 0)[1]
    print("child:", os.waitstatus_to_exitcode(status))
    await socket.send("parent")
    print("answer:", await socket.recv())
    await socket.close(4001)
run(main())
"""
    async with peer() as server:
        with program(text, server.url) as running:
            client = await server.client()
            await server.client()
            assert await server.frame() == Frame(TEXT, b"parent")
            client.send_frame(TEXT, b"still here")
            await running.line("answer: ")
            assert await server.frame() == Frame(CLOSE, close_payload(4001))
            assert await server.frame() == GONE
            result = await ended(running)
            assert (result.status, result.stderr) == (0, ""), result
            assert result.stdout.count("answer: still here") == 1
            # uvloop crashes when a forked child closes a loop that has a connection, of whatever library.
            assert await running.line("child: ") in (CHILDREN[end][1], "-11")
