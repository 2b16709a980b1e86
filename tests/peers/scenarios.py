"""The scenarios for every peer: ways to close, with the expected events of both ends, and messages.

The table says what RFC 6455 asks for. Where a peer does otherwise, its Traits say so and why.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

from wasclean import CloseFrame


class Close(NamedTuple):
    """An end calls close()."""

    code: int | None = None
    reason: str = ""


class Act(Enum):
    """An action of an end other than close()."""

    TERMINATE = "terminate"
    RETURN = "the handler returns"
    RAISE = "the handler raises"
    SHUT_DOWN = "the server shuts down"


#: Actions of servers only.
OF_SERVERS = frozenset({Act.RETURN, Act.RAISE, Act.SHUT_DOWN})


class Seen(NamedTuple):
    """A close event with JavaScript's attributes; ``wasClean`` is None if the peer does not have it."""

    code: int
    reason: str
    wasClean: bool | None


@dataclass(frozen=True)
class Closing:
    """One way to close.

    Attributes:
        name: a description.
        ours: the action of our end.
        theirs: the action of the peer.
        they_see: the expected close event of the peer.
        we_see: our expected close event.
        initiator: its ``initiator``.
        sent: our Close frame.
        received: the Close frame of the peer.
    """

    name: str
    ours: Close | Act | None
    theirs: Close | Act | None
    they_see: Seen
    we_see: Seen
    initiator: str
    sent: CloseFrame | None
    received: CloseFrame | None

    @property
    def crosses(self) -> bool:
        """True if both ends act before they receive from the other."""
        return self.ours is not None and self.theirs is not None

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


LONG = "ž" * 61 + "!"  # 123 bytes, the maximum of a reason
EMPTY = CloseFrame(None, "")


def _we(act: Close | Act, name: str, sent: CloseFrame, code: int) -> Closing:
    """We close, and the peer echoes our code and reason."""
    seen = Seen(code, sent.reason, True)
    return Closing(f"we {name}", act, None, seen, seen, "local", sent, sent)


def _they(act: Close, name: str, received: CloseFrame, code: int) -> Closing:
    """The peer closes, and we echo its code and reason."""
    seen = Seen(code, received.reason, True)
    return Closing(f"they {name}", None, act, seen, seen, "remote", received, received)


CLOSINGS = [
    #     act                    name                                  Close frame                  event.code
    _we(Close(), "close without a code", EMPTY, 1005),
    _we(Close(1000), "close with 1000", CloseFrame(1000, ""), 1000),
    _we(Close(1000, "bye"), "close with 1000 bye", CloseFrame(1000, "bye"), 1000),
    _we(Close(1001), "close with 1001", CloseFrame(1001, ""), 1001),
    _we(Close(1011), "close with 1011", CloseFrame(1011, ""), 1011),
    _we(Close(3000, "reason"), "close with 3000 and a reason", CloseFrame(3000, "reason"), 3000),
    _we(Close(4999, LONG), "close with 4999 and 123 bytes", CloseFrame(4999, LONG), 4999),
    _we(Act.RETURN, "return from the handler", CloseFrame(1000, ""), 1000),
    _we(Act.RAISE, "raise in the handler", CloseFrame(1011, ""), 1011),
    _we(Act.SHUT_DOWN, "shut the server down", CloseFrame(1001, ""), 1001),
    _they(Close(), "close without a code", EMPTY, 1005),
    _they(Close(1000), "close with 1000", CloseFrame(1000, ""), 1000),
    _they(Close(1001), "close with 1001", CloseFrame(1001, ""), 1001),
    _they(Close(1011), "close with 1011", CloseFrame(1011, ""), 1011),
    _they(Close(3000, "reason"), "close with 3000 and a reason", CloseFrame(3000, "reason"), 3000),
    _they(Close(4001, "a reason"), "close with 4001 and a reason", CloseFrame(4001, "a reason"), 4001),
    _they(Close(4999, LONG), "close with 4999 and 123 bytes", CloseFrame(4999, LONG), 4999),
    Closing(
        "we terminate",
        ours=Act.TERMINATE,
        theirs=None,
        they_see=Seen(1006, "", False),
        we_see=Seen(1006, "", False),
        initiator="local",
        sent=None,
        received=None,
    ),
    Closing(
        "they terminate",
        ours=None,
        theirs=Act.TERMINATE,
        they_see=Seen(1006, "", False),
        we_see=Seen(1006, "", False),
        initiator="remote",
        sent=None,
        received=None,
    ),
    Closing(
        "both close at once",
        ours=Close(4001, "ours"),
        theirs=Close(4002, "theirs"),
        they_see=Seen(4001, "ours", True),
        we_see=Seen(4002, "theirs", True),
        initiator="simultaneous",
        sent=CloseFrame(4001, "ours"),
        received=CloseFrame(4002, "theirs"),
    ),
    Closing(
        "both close with 1000 at once",
        ours=Close(1000),
        theirs=Close(1000),
        they_see=Seen(1000, "", True),
        we_see=Seen(1000, "", True),
        initiator="local",  # equal frames do not show which of them is the answer
        sent=CloseFrame(1000, ""),
        received=CloseFrame(1000, ""),
    ),
]

MESSAGES: dict[str, str | bytes] = {
    "text": "Hello Server!",
    "text beyond ASCII": "Žluťoučký kůň 𝄞 \0 \u2028",
    "empty text": "",
    "binary": bytes(range(256)),
    "empty binary": b"",
    "1 MiB of text": "0123456789abcdef" * (1 << 16),
    "1 MiB of binary": bytes(range(256)) * (1 << 12),
}


def _as_is(closing: Closing, role: str) -> Closing:
    return closing


@dataclass(frozen=True)
class Traits:
    """The abilities of a peer, and its deviations from the expected events.

    Attributes:
        roles: the roles that it supports.
        closes: a function that is True if its close() accepts the arguments.
        terminates: True if it can end a connection without a handshake.
        fragments: True if it can send a message in several frames.
        pings: True if it can send a ping, and report the pong.
        departure: a function that replaces the expected events.
    """

    roles: tuple[str, ...] = ("client", "server")
    closes: Callable[[Close], bool] = lambda close: True
    terminates: bool = True
    fragments: bool = True
    pings: bool = True
    departure: Callable[[Closing, str], Closing] = _as_is

    def can(self, act: Close | Act | None) -> bool:
        """True if the peer can perform the action."""
        if isinstance(act, Close):
            return self.closes(act)
        return act is None or self.terminates


def _as_a_page(close: Close) -> bool:
    """True for the codes that close() of the JavaScript API accepts."""
    return close.code is None or close.code == 1000 or 3000 <= close.code <= 4999


def _as_aiohttp(closing: Closing, role: str) -> Closing:
    """The deviations of aiohttp from the RFC, and the attributes that it does not have."""
    they_see = closing.they_see
    if they_see.code == 1005:
        # aiohttp reports an empty Close frame as code 0. Its client takes that as no Close frame, and waits for one.
        they_see = they_see._replace(code=0 if role == "server" else 1006)
    if closing.theirs is not None and closing.received is not None:
        # Its close() ignores the received reason. If a task waits in receive(), which is usual, its server ignores the
        # received Close frame altogether.
        they_see = they_see._replace(code=1000 if role == "server" else they_see.code, reason="")
    closing = replace(closing, they_see=they_see._replace(wasClean=None))
    if closing.sent is not None and closing.theirs is None:
        # It answers every Close frame with 1000.
        closing = replace(closing, we_see=Seen(1000, "", True), received=CloseFrame(1000, ""))
    return closing


PEERS = {
    # wasclean's WebSocket(url) with listeners, as on a page: the only peer that is always available.
    "wasclean": Traits(closes=_as_a_page, fragments=False),
    "websockets": Traits(),
    "aiohttp": Traits(
        closes=lambda close: close.code is not None,
        fragments=False,
        departure=_as_aiohttp,
    ),
    "ws": Traits(),
    "chromium": Traits(roles=("client",), closes=_as_a_page, terminates=False, fragments=False, pings=False),
}
