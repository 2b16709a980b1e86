"""What is played with every peer: the ways to close, with what each end must see, and the messages to carry.

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
    """What else an end may do."""

    TERMINATE = "terminate"
    RETURN = "the handler returns"
    RAISE = "the handler raises"
    SHUT_DOWN = "the server shuts down"


#: What only a server can do.
OF_SERVERS = frozenset({Act.RETURN, Act.RAISE, Act.SHUT_DOWN})


class Seen(NamedTuple):
    """A close event, as JavaScript shows it; ``wasClean`` is None where the peer has no such notion."""

    code: int
    reason: str
    wasClean: bool | None


@dataclass(frozen=True)
class Closing:
    """One way to close.

    Attributes:
        name: what happens.
        ours: what our end does.
        theirs: what the peer does.
        they_see: the peer's close event.
        we_see: our close event,
        initiator: and what else it says.
        sent: our Close frame.
        received: the peer's Close frame.
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
        """Whether both ends act before they have heard of the other."""
        return self.ours is not None and self.theirs is not None

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


LONG = "ž" * 61 + "!"  # the 123 bytes that a reason may have
EMPTY = CloseFrame(None, "")


def _we(act: Close | Act, name: str, sent: CloseFrame, code: int) -> Closing:
    """We close, and the peer answers with what we have said."""
    seen = Seen(code, sent.reason, True)
    return Closing(f"we {name}", act, None, seen, seen, "local", sent, sent)


def _they(act: Close, name: str, received: CloseFrame, code: int) -> Closing:
    """The peer closes, and we answer with what it has said."""
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
        initiator="local",  # frames that are the same do not tell which is the answer
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
    """What a peer can't do, and where it departs from the table.

    Attributes:
        roles: which ends it can be.
        closes: whether its close() takes the arguments.
        terminates: whether it can end a connection without a handshake.
        fragments: whether it can send one message in several frames.
        pings: whether it can send a ping, and tell that it was answered.
        departure: what happens in place of what the table says.
    """

    roles: tuple[str, ...] = ("client", "server")
    closes: Callable[[Close], bool] = lambda close: True
    terminates: bool = True
    fragments: bool = True
    pings: bool = True
    departure: Callable[[Closing, str], Closing] = _as_is

    def can(self, act: Close | Act | None) -> bool:
        """Whether the peer can act like that."""
        if isinstance(act, Close):
            return self.closes(act)
        return act is None or self.terminates


def _as_a_page(close: Close) -> bool:
    """The standard's close() takes the codes of applications only."""
    return close.code is None or close.code == 1000 or 3000 <= close.code <= 4999


def _as_aiohttp(closing: Closing, role: str) -> Closing:
    """Where aiohttp departs from the RFC, or does not tell."""
    they_see = closing.they_see
    if they_see.code == 1005:
        # An empty Close frame is code 0 to it. Its client takes that for no Close frame, and waits for another one.
        they_see = they_see._replace(code=0 if role == "server" else 1006)
    if closing.theirs is not None and closing.received is not None:
        # Its close() drops the reason that it gets. If a task waits in receive(), as one mostly does, then its server
        # does not even look at the Close frame that it gets.
        they_see = they_see._replace(code=1000 if role == "server" else they_see.code, reason="")
    closing = replace(closing, they_see=they_see._replace(wasClean=None))
    if closing.sent is not None and closing.theirs is None:
        # It answers each Close frame with 1000.
        closing = replace(closing, we_see=Seen(1000, "", True), received=CloseFrame(1000, ""))
    return closing


PEERS = {
    # Our own WebSocket(url), with listeners as in a page: the one peer that is never missing.
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
