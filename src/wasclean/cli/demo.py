"""The demo: the article's example, line by line, and one scenario for each close code that exists, all over TCP."""

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
from .stage import Theatre, read_all

#: Where the article's server listens.
PORT = 8080

#: Seconds that a scenario may take before it counts as failed.
PATIENCE = 5.0

#: The article's example. Its last line runs before anything has been connected.
ARTICLE = (
    "from wasclean import WebSocket",
    'socket = WebSocket("ws://localhost:{port}")',
    'socket.onopen = lambda event: socket.send("Hello Server!")',
    'socket.onclose = lambda event: print("WebSocket closed:", event.code, event.reason)',
    "socket.close()",
)


class Seen(NamedTuple):
    """What one side's close event says; ``sent`` is the code of the Close frame that it sent itself."""

    code: int
    reason: str
    was_clean: bool
    sent: int | None


class Expected(NamedTuple):
    """What both sides are to see; None where there is no WebSocket."""

    client: Seen | None
    server: Seen | None

    def where(self, code: int) -> str:
        """Which side's event carries the code: ``both``, ``client`` or ``server``."""
        client, server = (seen is not None and seen.code == code for seen in self)
        return "both" if client and server else "client" if client else "server" if server else "nobody"


def _exchanged(code: CloseCode, reason: str = "") -> Expected:
    """One side says the code and the other answers with the same (RFC 6455 section 5.5.1)."""
    seen = Seen(code, reason, True, None if code == CloseCode.NO_STATUS_RCVD else int(code))
    return Expected(seen, seen)


def _failed(violation: Violation) -> Expected:
    """The server fails the connection with the rule's code, and does not wait for an answer (section 7.1.7)."""
    code = violation.code
    return Expected(Seen(code, violation.text, True, int(code)), Seen(CloseCode.ABNORMAL_CLOSURE, "", False, int(code)))


def _unspoken(code: CloseCode) -> Seen:
    return Seen(code, "", False, None)


#: What the registry says of each code. Nobody sends 1005, 1006 and 1015: they say that no Close frame had a code.
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
class Row:
    """What a scenario gave.

    Attributes:
        scenario: which one.
        expected: what it was to give.
        client, server: what each side saw; None if there was no event.
        milliseconds: how long it took, connecting and closing.
        notes: what else there is to say: what the server logged, and why the scenario could not be played to its end.
    """

    scenario: Scenario
    expected: Expected
    client: Seen | None
    server: Seen | None
    milliseconds: float
    notes: list[str]

    @property
    def ok(self) -> bool:
        """Whether both sides saw what was expected, and the scenario is the code's."""
        return (self.client, self.server) == self.expected and self.expected.where(self.scenario.code) != "nobody"


class Report:
    """Who is told how the demo goes: all of it, as it happens."""

    def port_taken(self, port: int, error: OSError) -> None:
        """The server can't listen on the port, so it takes another one."""

    def listening(self, port: int) -> None:
        """The server is listening."""

    def line(self, text: str) -> None:
        """A line of the example is about to run."""

    def logged(self, text: str) -> None:
        """The example has printed something."""

    def article_done(self, ok: bool) -> None:
        """The example's socket has closed; whether with 1006."""

    def row(self, row: Row) -> None:
        """A scenario is over."""


async def run(port: int, report: Report) -> bool:
    """Run the demo.

    Returns:
        Whether everything was as expected.

    Raises:
        OSError: there is no port to listen on.
    """
    theatre = Theatre()
    async with theatre.opened(port) as error:
        if error is not None:
            report.port_taken(port, error)
        report.listening(theatre.port)
        ok = await run_article(theatre, report)
        for scenario in SCENARIOS:
            row = await play(theatre, scenario)
            report.row(row)
            ok = ok and row.ok
    return ok


async def run_article(theatre: Theatre, report: Report) -> bool:
    """Run the article's example; returns whether it ended with 1006, as it does in a browser."""
    theatre.stage("/", read_all)
    variables: dict[str, object] = {"print": lambda *values: report.logged(" ".join(map(str, values)))}
    for line in ARTICLE:
        text = line.format(port=theatre.port)
        report.line(text)
        exec(text, variables)
    socket = variables["socket"]
    assert isinstance(socket, WebSocket)
    event = await socket.wait_closed()
    ok = event.code == CloseCode.ABNORMAL_CLOSURE
    report.article_done(ok)
    return ok


async def play(theatre: Theatre, scenario: Scenario) -> Row:
    """Play a scenario to its end, on both sides."""
    stage = theatre.stage(f"/{scenario.code}", scenario.handler)
    expected = EXPECTED[scenario.code]
    client = None
    start = perf_counter()
    with captured("wasclean.server") as notes:
        try:
            async with asyncio.timeout(PATIENCE):
                client = await scenario.client(stage)
                if expected.server is not None:
                    await asyncio.wait([stage.server_event])
        except Exception as error:
            notes.append(f"{type(error).__name__}: {error}")
    milliseconds = (perf_counter() - start) * 1000
    server = stage.server_event.result() if stage.server_event.done() else None
    return Row(scenario, expected, seen(client), seen(server), milliseconds, notes)


def seen(event: CloseEvent | None) -> Seen | None:
    """What the table says of an event."""
    if event is None:
        return None
    return Seen(event.code, event.reason, event.wasClean, None if event.sent is None else event.sent.code)


@contextmanager
def captured(name: str) -> Iterator[list[str]]:
    """Catch what a logger is told, and keep it from the root's handlers: one line for each record."""
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
