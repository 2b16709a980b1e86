"""The demo: the article's example, line by line, and one scenario for each registered close code, all over TCP."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import NamedTuple

from .. import CloseCode, CloseEvent, WebSocket
from ..model.violations import Violation
from .scenarios import SCENARIOS, Scenario
from .servers import DemoServer, read_all

#: The port of the server in the article.
PORT = 8080

#: Time limit of a scenario, in seconds.
SCENARIO_TIMEOUT = 5.0

#: The article's example. The last line runs before the connection is established.
ARTICLE = (
    "from wasclean import WebSocket",
    'socket = WebSocket("ws://localhost:{port}")',
    'socket.onopen = lambda event: socket.send("Hello Server!")',
    'socket.onclose = lambda event: print("WebSocket closed:", event.code, event.reason)',
    "socket.close()",
)


class Seen(NamedTuple):
    """The close event of one side; ``sent`` is the code of the Close frame that this side sent."""

    code: int
    reason: str
    was_clean: bool
    sent: int | None


class Expected(NamedTuple):
    """The expected close events of both sides; None for a side without a WebSocket."""

    client: Seen | None
    server: Seen | None

    def where(self, code: int) -> str:
        """Return the side whose event has the code: ``both``, ``client``, ``server`` or ``neither``."""
        client, server = (seen is not None and seen.code == code for seen in self)
        return "both" if client and server else "client" if client else "server" if server else "neither"


def _exchanged(code: CloseCode, reason: str = "") -> Expected:
    """One side sends the code, and the other echoes it (RFC 6455 section 5.5.1)."""
    seen = Seen(code, reason, True, None if code == CloseCode.NO_STATUS_RCVD else int(code))
    return Expected(seen, seen)


def _failed(violation: Violation) -> Expected:
    """The server fails the connection with the code of the violation, and awaits no Close frame (section 7.1.7)."""
    code = violation.code
    return Expected(Seen(code, violation.text, True, int(code)), Seen(CloseCode.ABNORMAL_CLOSURE, "", False, int(code)))


def _unspoken(code: CloseCode) -> Seen:
    return Seen(code, "", False, None)


#: The expected events, by code. 1005, 1006 and 1015 are never sent: they stand for the absence of a code.
EXPECTED = {
    CloseCode.NORMAL_CLOSURE: _exchanged(CloseCode.NORMAL_CLOSURE, "done"),
    CloseCode.GOING_AWAY: _exchanged(CloseCode.GOING_AWAY),
    CloseCode.PROTOCOL_ERROR: _failed(Violation.RESERVED_OPCODE),
    CloseCode.UNSUPPORTED_DATA: _exchanged(CloseCode.UNSUPPORTED_DATA, "text only"),
    CloseCode.NO_STATUS_RCVD: _exchanged(CloseCode.NO_STATUS_RCVD),
    CloseCode.ABNORMAL_CLOSURE: Expected(_unspoken(CloseCode.ABNORMAL_CLOSURE), _unspoken(CloseCode.ABNORMAL_CLOSURE)),
    CloseCode.INVALID_FRAME_PAYLOAD_DATA: _failed(Violation.TEXT_NOT_UTF8),
    CloseCode.POLICY_VIOLATION: _exchanged(CloseCode.POLICY_VIOLATION, "log in first"),
    CloseCode.MESSAGE_TOO_BIG: _failed(Violation.MESSAGE_TOO_BIG),
    CloseCode.MANDATORY_EXTENSION: _exchanged(CloseCode.MANDATORY_EXTENSION, "permessage-deflate"),
    CloseCode.INTERNAL_ERROR: _exchanged(CloseCode.INTERNAL_ERROR),
    CloseCode.SERVICE_RESTART: _exchanged(CloseCode.SERVICE_RESTART, "back in a minute"),
    CloseCode.TRY_AGAIN_LATER: _exchanged(CloseCode.TRY_AGAIN_LATER, "no place left"),
    CloseCode.BAD_GATEWAY: _exchanged(CloseCode.BAD_GATEWAY, "the upstream server is down"),
    CloseCode.TLS_HANDSHAKE: Expected(_unspoken(CloseCode.TLS_HANDSHAKE), None),
}


@dataclass
class Result:
    """The result of a scenario.

    Attributes:
        scenario: the scenario.
        expected: the expected events.
        client, server: the close events of both sides; None if there was none.
        milliseconds: the duration, from connecting to the end.
        notes: further lines: records that the server logged, and the exception that ended the scenario early.
    """

    scenario: Scenario
    expected: Expected
    client: Seen | None
    server: Seen | None
    milliseconds: float
    notes: list[str]

    @property
    def ok(self) -> bool:
        """True if both events are as expected, and one of them has the code of the scenario."""
        return (self.client, self.server) == self.expected and self.expected.where(self.scenario.code) != "neither"


class Reporter:
    """Receives the progress of the demo."""

    def port_taken(self, port: int, error: OSError) -> None:
        """The server cannot listen on this port, and uses another one."""

    def listening(self, port: int) -> None:
        """The server is listening."""

    def line(self, text: str) -> None:
        """A line of the example is about to run."""

    def logged(self, text: str) -> None:
        """The example has printed a line."""

    def article_done(self, ok: bool) -> None:
        """The socket of the example has closed; ``ok`` is True if its code is 1006."""

    def scenario_done(self, result: Result) -> None:
        """A scenario has ended."""


async def run(port: int, reporter: Reporter) -> bool:
    """Run the demo.

    Returns:
        True if all results are as expected.

    Raises:
        OSError: no port is available.
    """
    server = DemoServer()
    async with server.opened(port) as error:
        if error is not None:
            reporter.port_taken(port, error)
        reporter.listening(server.port)
        ok = await run_article(server, reporter)
        for scenario in SCENARIOS:
            result = await run_scenario(server, scenario)
            reporter.scenario_done(result)
            ok = ok and result.ok
    return ok


async def run_article(server: DemoServer, reporter: Reporter) -> bool:
    """Run the article's example; return True if the code is 1006, as in a browser."""
    server.add_route("/", read_all)
    variables: dict[str, object] = {"print": lambda *values: reporter.logged(" ".join(map(str, values)))}
    for line in ARTICLE:
        text = line.format(port=server.port)
        reporter.line(text)
        exec(text, variables)
    socket = variables["socket"]
    assert isinstance(socket, WebSocket)
    event = await socket.wait_closed()
    ok = event.code == CloseCode.ABNORMAL_CLOSURE
    reporter.article_done(ok)
    return ok


async def run_scenario(server: DemoServer, scenario: Scenario) -> Result:
    """Run a scenario until both sides have closed, or SCENARIO_TIMEOUT has passed."""
    route = server.add_route(f"/{scenario.code}", scenario.handler)
    expected = EXPECTED[scenario.code]
    event = None
    start = perf_counter()
    with captured_log("wasclean.server") as notes:
        try:
            async with asyncio.timeout(SCENARIO_TIMEOUT):
                event = await scenario.client(route)
                if expected.server is not None:
                    await asyncio.wait([route.server_event])
        except Exception as error:
            notes.append(f"{type(error).__name__}: {error}")
    milliseconds = (perf_counter() - start) * 1000
    server_event = route.server_event.result() if route.server_event.done() else None
    return Result(scenario, expected, seen(event), seen(server_event), milliseconds, notes)


def seen(event: CloseEvent | None) -> Seen | None:
    """Return the part of a close event that is compared and shown."""
    if event is None:
        return None
    return Seen(event.code, event.reason, event.wasClean, None if event.sent is None else event.sent.code)


@contextmanager
def captured_log(name: str) -> Iterator[list[str]]:
    """Collect the records of a logger, one line each, and keep them from the handlers of the root logger."""
    lines: list[str] = []
    logger = logging.getLogger(name)
    handler = _Lines(lines.append)
    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate


class _Lines(logging.Handler):
    def __init__(self, take: Callable[[str], None]) -> None:
        super().__init__()
        self._take = take

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        what = record.getMessage() if error is None else f"{type(error).__name__}: {error}"
        self._take(f"(the server logs {what})")
