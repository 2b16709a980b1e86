"""The table of the closing handshake (RFC 6455 section 7), with its states and triggers.

TABLE maps each state and trigger to the next state, the Close frame to send, and the way in which TCP is to end. It is
data: handshake.py explains and interprets it.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from ..model.registry import CLOSE_TIMEOUT, LINGER, OPEN_TIMEOUT, ReadyState
from .outcome import Cause


class State(Enum):
    """The stages of a connection's life."""

    __hash__ = object.__hash__  # Enum.__hash__ is Python code, and every lookup in TABLE would call it twice

    CONNECTING = "connecting"
    OPEN = "open"
    CLOSE_SENT = "close sent"
    CLOSE_RECEIVED = "close received"
    CLOSE_EXCHANGED = "close exchanged"
    FAILING = "failing"
    CLOSED = "closed"


class Trigger(Enum):
    """The events that can change the state."""

    __hash__ = object.__hash__

    ESTABLISHED = "the opening handshake succeeded"
    SEND = "this end sends a Close frame"
    RECEIVE = "a Close frame arrived"
    FAIL = "this end fails the connection"
    EOF = "the peer ended its direction of TCP"
    LOST = "the transport is gone, or no longer matters to the connection"
    DEADLINE = "the deadline passed, or terminate() was called"


class Send(Enum):
    """The Close frame that a transition sends."""

    CLOSE = "this end's own Close frame"
    ANSWER = "a Close frame that repeats the peer's code and reason"


class Ending(Enum):
    """The ways in which TCP ends."""

    FINISH = "half-close TCP if this end is to close first, else wait for the peer to do so"
    HALF_CLOSE = "end this end's direction of TCP, and drop input until the peer ends its own"
    HANG_UP = "close TCP behind the bytes that were written"
    ABORT = "close TCP now, and drop the bytes that were written"


class Transition(NamedTuple):
    """One cell of the table."""

    state: State  # the next one
    send: Send | None = None  # the Close frame to queue now
    ending: Ending | None = None  # how TCP is to end from now on; None if that does not change


# Module-level names: attribute access on an Enum class is slow before Python 3.12.
CONNECTING, OPEN, CLOSE_SENT, CLOSE_RECEIVED, CLOSE_EXCHANGED, FAILING, CLOSED = State
ESTABLISHED, SEND, RECEIVE, FAIL, EOF, LOST, DEADLINE = Trigger
SEND_CLOSE, ANSWER = Send
FINISH, HALF_CLOSE, HANG_UP, ABORT = Ending

_to = Transition

TABLE: dict[State, dict[Trigger, Transition]] = {
    CONNECTING: {
        ESTABLISHED: _to(OPEN),
        SEND: _to(FAILING, ending=ABORT),  # WHATWG: close() before the connection is established fails it
        RECEIVE: _to(CONNECTING),  # no frame can arrive yet
        FAIL: _to(FAILING, ending=HANG_UP),
        EOF: _to(FAILING, ending=HANG_UP),
        LOST: _to(CLOSED),
        DEADLINE: _to(FAILING, ending=ABORT),
    },
    OPEN: {
        ESTABLISHED: _to(OPEN),
        SEND: _to(CLOSE_SENT, send=SEND_CLOSE),
        # Section 5.5.1: "If an endpoint receives a Close frame and did not previously send a Close frame, the endpoint
        # MUST send a Close frame in response. (When sending a Close frame in response, the endpoint typically echos the
        # status code it received.)"
        RECEIVE: _to(CLOSE_RECEIVED, send=ANSWER),
        # Section 7.1.7: "the endpoint SHOULD send a Close frame with an appropriate status code".
        FAIL: _to(FAILING, SEND_CLOSE, HALF_CLOSE),
        EOF: _to(FAILING, ending=HANG_UP),
        LOST: _to(CLOSED),
        DEADLINE: _to(FAILING, ending=ABORT),
    },
    CLOSE_SENT: {
        ESTABLISHED: _to(CLOSE_SENT),
        SEND: _to(CLOSE_SENT),  # a second close() has no effect
        RECEIVE: _to(CLOSE_EXCHANGED, ending=FINISH),
        FAIL: _to(FAILING, ending=HALF_CLOSE),  # the one Close frame has been sent already
        EOF: _to(FAILING, ending=HANG_UP),
        LOST: _to(CLOSED),
        DEADLINE: _to(FAILING, ending=ABORT),
    },
    CLOSE_RECEIVED: {
        ESTABLISHED: _to(CLOSE_RECEIVED),
        SEND: _to(CLOSE_EXCHANGED, ending=FINISH),
        RECEIVE: _to(CLOSE_RECEIVED),  # section 1.4: "a peer discards any further data received"
        FAIL: _to(FAILING, ending=HANG_UP),
        EOF: _to(CLOSE_RECEIVED),  # a peer that has ended its direction can still read the answer
        LOST: _to(CLOSED),
        DEADLINE: _to(FAILING, ending=ABORT),
    },
    CLOSE_EXCHANGED: {
        ESTABLISHED: _to(CLOSE_EXCHANGED),
        SEND: _to(CLOSE_EXCHANGED),
        RECEIVE: _to(CLOSE_EXCHANGED),
        FAIL: _to(CLOSE_EXCHANGED),  # the handshake is complete: nothing is left to fail
        EOF: _to(CLOSE_EXCHANGED, ending=HANG_UP),
        LOST: _to(CLOSED),
        DEADLINE: _to(CLOSE_EXCHANGED, ending=ABORT),
    },
    FAILING: {
        ESTABLISHED: _to(FAILING),
        SEND: _to(FAILING),
        RECEIVE: _to(FAILING),
        FAIL: _to(FAILING),
        EOF: _to(FAILING, ending=HANG_UP),
        LOST: _to(CLOSED),
        DEADLINE: _to(FAILING, ending=ABORT),
    },
    CLOSED: {trigger: _to(CLOSED) for trigger in Trigger},
}

#: The default limit of each state that waits for the peer or the network, in seconds.
TIMEOUTS: dict[State, float] = {
    CONNECTING: OPEN_TIMEOUT,
    CLOSE_SENT: CLOSE_TIMEOUT,
    CLOSE_RECEIVED: CLOSE_TIMEOUT,
    CLOSE_EXCHANGED: LINGER,
    FAILING: LINGER,
}

#: Causes for which ABORT resets TCP: the peer no longer reads, so an orderly close would deliver nothing.
RESETS = frozenset(
    {
        Cause.CLOSE_TIMEOUT,
        Cause.WRITE_TIMEOUT,
        Cause.PING_TIMEOUT,
        Cause.LOOP_STALLED,
        Cause.SUSPENDED,
        Cause.SLOW_CONSUMER,
        Cause.INTERNAL_ERROR,
    }
)

#: The ``readyState`` that JavaScript sees in each state.
READY_STATE: dict[State, ReadyState] = {
    CONNECTING: ReadyState.CONNECTING,
    OPEN: ReadyState.OPEN,
    CLOSE_SENT: ReadyState.CLOSING,
    CLOSE_RECEIVED: ReadyState.CLOSING,
    CLOSE_EXCHANGED: ReadyState.CLOSING,
    FAILING: ReadyState.CLOSING,
    CLOSED: ReadyState.CLOSED,
}
