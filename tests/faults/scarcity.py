"""A program that makes each memory allocation fail in turn, and checks the effect on a connection.

``python -m tests.faults.scarcity WHAT`` does so while bytes are received (``read``), in close() (``close``), or while
the end is being reported (``end``). It prints how often the connection lived on, ended, or could not report its end.
"""

from __future__ import annotations

import _testcapi  # type: ignore[import-not-found]  # a part of CPython's tests, missing in some installations
import gc
import sys
from asyncio import AbstractEventLoop, new_event_loop
from collections import Counter, deque
from collections.abc import Callable
from contextvars import Context
from typing import Any

from tests.raw import BINARY, PING, TEXT, encode
from wasclean import WebSocket
from wasclean.model.registry import Role
from wasclean.opening.extensions import Agreement
from wasclean.options import ServerLimits
from wasclean.socket import calls
from wasclean.socket.host import Host
from wasclean.socket.opening import establish
from wasclean.socket.session import Session
from wasclean.socket.websocket import attach, new_websocket
from wasclean.wire.receiver import ReadBuffer

LOOP = new_event_loop()

#: More allocations than any of these steps has.
ALLOCATIONS = 400

MESSAGES = ["x" * 1000, b"y" * 5000 + b"z" * 5000, "é" * 300]
ARRIVES = b"".join(
    [
        encode(TEXT, b"x" * 1000, masked=True),
        encode(BINARY, b"y" * 5000, masked=True, fin=False),
        encode(PING, b"hi", masked=True),
        encode(0, b"z" * 5000, masked=True),
        encode(TEXT, "é".encode() * 300, masked=True),
    ]
)


class Bench(Host):
    """A host whose loop does not run."""

    def __init__(self) -> None:
        self.tasks: deque[Callable[[], object]] = deque()
        self.reports: list[str] = []
        self.ended = ""

    def run(self) -> None:
        while self.tasks:
            self.tasks.popleft()()

    def time(self) -> float:
        return 100.0

    def loop(self) -> AbstractEventLoop:
        return LOOP

    def write(self, data: Any, last: bool = False) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def half_close(self) -> None:
        self.ended = "fin"

    def abort(self, reset: bool) -> None:
        self.ended = "rst"

    def held(self) -> tuple[int, int]:
        return 0, 0

    def slept(self) -> float:
        return 0.0

    def set_alarm(self, when: float | None) -> None:
        pass

    def queue_task(self, function: Callable[[], object]) -> None:
        self.tasks.append(function)

    def report(self, message: str, error: BaseException) -> None:
        self.reports.append(message)

    def address(self, name: str) -> Any:
        return None


def is_done(promise: Any) -> bool:
    """True if awaiting the promise would not wait."""
    try:
        promise.__await__().send(None)
    except StopIteration:
        return True
    return False


def attempt(what: str, number: int) -> str:
    """Make one allocation fail; return a description of the effect."""
    host = Bench()
    session = Session(Role.SERVER, ServerLimits({}), host, ReadBuffer(), host.time())
    session.on_end = lambda socket: None
    socket = new_websocket()
    attach(socket, session, Context())
    seen: list[Any] = []
    for name in ("message", "error", "close"):
        socket.addEventListener(name, seen.append)
    establish(session, Agreement(), b"", None)
    host.run()
    closed = calls.until_closed(session)
    session.connection.receiver.get_buffer()[: len(ARRIVES)] = ARRIVES
    if what == "end":
        socket.terminate()
    raised = False
    _testcapi.set_nomemory(number, number + 1)
    try:
        if what == "read":
            session.data_received(len(ARRIVES), host.time())
        elif what == "close":
            socket.close(1000, "bye")
            host.run()
        else:
            host.run()
    except MemoryError:
        raised = True
    finally:
        _testcapi.remove_mem_hooks()
    host.run()
    lived = socket.readyState < WebSocket.CLOSED
    socket.terminate()
    host.run()

    assert socket.readyState == WebSocket.CLOSED
    assert host.ended
    assert is_done(closed)
    types = [event.type for event in seen]
    own = any("listener" in report for report in host.reports)  # the allocation was made by the listener
    arrived = iter(MESSAGES)
    assert all(event.data in arrived for event in seen if event.type == "message")
    if not lived and what == "read":
        assert own or seen[-1].cause == "internal_error"
    assert types.count("close") <= 1
    if "close" not in types:
        return "untold"
    assert types[-1] == "close"
    return f"{'lived' if lived else 'ended'}{', raised' * raised}"


if __name__ == "__main__":
    gc.disable()
    found = Counter(attempt(sys.argv[1], number) for number in range(ALLOCATIONS))
    for outcome, times in found.items():
        print(f"{outcome}: {times}")
