"""The closing handshake, as a table.

Two laws head this file. Everything that decides how a connection's state changes stands in TABLE, and nowhere else.
And the table does not know which end of the connection we are.

           SEND ---> CLOSE_SENT ------ RECEIVE --.
  OPEN ---<                                       >--> CLOSE_EXCHANGED -- LOST --> CLOSED (clean)
           RECEIVE > CLOSE_RECEIVED -- SEND -----'
  any other way --> FAILING -- LOST --> CLOSED (not clean)

RFC 6455 section 7; the WHATWG standard's "Feedback from the protocol".
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from ..model.registry import CLOSE_TIMEOUT, LINGER, OPEN_TIMEOUT, ReadyState


class State(Enum):
    """Where a connection is between its first byte and its last."""

    __hash__ = object.__hash__  # Enum's own is written in Python

    CONNECTING = "connecting"
    OPEN = "open"
    CLOSE_SENT = "close sent"
    CLOSE_RECEIVED = "close received"
    CLOSE_EXCHANGED = "close exchanged"
    FAILING = "failing"
    CLOSED = "closed"


class Trigger(Enum):
    """What can happen to a connection."""

    __hash__ = object.__hash__

    ESTABLISHED = "the opening handshake succeeded"
    SEND = "we send a Close frame"
    RECEIVE = "a Close frame arrives"
    FAIL = "we fail the connection"
    EOF = "the peer will send no more bytes"
    LOST = "the transport is gone, or is none of our business any more"
    DEADLINE = "time is up, or the user calls terminate()"


class Duty(Enum):
    """What a change of state obliges us to do: the first two at once, the others when all that is queued has left."""

    SEND_CLOSE = "queue our Close frame"
    ANSWER = "queue a Close frame with the code of the one that came"
    FINISH = "both have spoken: the server ends TCP, and the client waits for that"
    HALF_CLOSE = "end TCP, and drop what still arrives until the peer does"
    HANG_UP = "end TCP"
    ABORT = "end TCP now: what is queued is lost"


# For each connection they are looked up fifty times, which takes long where Enum does it (until Python 3.12).
CONNECTING, OPEN, CLOSE_SENT, CLOSE_RECEIVED, CLOSE_EXCHANGED, FAILING, CLOSED = State
ESTABLISHED, SEND, RECEIVE, FAIL, EOF, LOST, DEADLINE = Trigger
SEND_CLOSE, ANSWER, FINISH, HALF_CLOSE, HANG_UP, ABORT = Duty


class Transition(NamedTuple):
    """One cell of the table."""

    state: State
    duties: tuple[Duty, ...] = ()


_S, _T, _D = State, Trigger, Duty

TABLE: dict[State, dict[Trigger, Transition]] = {
    _S.CONNECTING: {
        _T.ESTABLISHED: Transition(_S.OPEN),
        _T.SEND: Transition(_S.FAILING, (_D.ABORT,)),  # close() before the connection is established fails it
        _T.RECEIVE: Transition(_S.CONNECTING),  # there are no frames yet
        _T.FAIL: Transition(_S.FAILING, (_D.HANG_UP,)),
        _T.EOF: Transition(_S.FAILING, (_D.HANG_UP,)),
        _T.LOST: Transition(_S.CLOSED),
        _T.DEADLINE: Transition(_S.FAILING, (_D.ABORT,)),
    },
    _S.OPEN: {
        _T.ESTABLISHED: Transition(_S.OPEN),
        _T.SEND: Transition(_S.CLOSE_SENT, (_D.SEND_CLOSE,)),
        _T.RECEIVE: Transition(_S.CLOSE_RECEIVED, (_D.ANSWER,)),
        _T.FAIL: Transition(_S.FAILING, (_D.SEND_CLOSE, _D.HALF_CLOSE)),
        _T.EOF: Transition(_S.FAILING, (_D.HANG_UP,)),
        _T.LOST: Transition(_S.CLOSED),
        _T.DEADLINE: Transition(_S.FAILING, (_D.ABORT,)),
    },
    _S.CLOSE_SENT: {
        _T.ESTABLISHED: Transition(_S.CLOSE_SENT),
        _T.SEND: Transition(_S.CLOSE_SENT),  # a second close() changes nothing
        _T.RECEIVE: Transition(_S.CLOSE_EXCHANGED, (_D.FINISH,)),
        _T.FAIL: Transition(_S.FAILING, (_D.HALF_CLOSE,)),  # our Close frame has been spent
        _T.EOF: Transition(_S.FAILING, (_D.HANG_UP,)),
        _T.LOST: Transition(_S.CLOSED),
        _T.DEADLINE: Transition(_S.FAILING, (_D.ABORT,)),
    },
    _S.CLOSE_RECEIVED: {
        _T.ESTABLISHED: Transition(_S.CLOSE_RECEIVED),
        _T.SEND: Transition(_S.CLOSE_EXCHANGED, (_D.FINISH,)),
        _T.RECEIVE: Transition(_S.CLOSE_RECEIVED),  # RFC 6455 section 5.5.1: what follows a Close frame does not count
        _T.FAIL: Transition(_S.FAILING, (_D.HANG_UP,)),
        _T.EOF: Transition(_S.CLOSE_RECEIVED),  # the peer may stop sending and still read our answer
        _T.LOST: Transition(_S.CLOSED),
        _T.DEADLINE: Transition(_S.FAILING, (_D.ABORT,)),
    },
    _S.CLOSE_EXCHANGED: {
        _T.ESTABLISHED: Transition(_S.CLOSE_EXCHANGED),
        _T.SEND: Transition(_S.CLOSE_EXCHANGED),
        _T.RECEIVE: Transition(_S.CLOSE_EXCHANGED),
        _T.FAIL: Transition(_S.CLOSE_EXCHANGED),  # both have spoken: nothing can go wrong any more
        _T.EOF: Transition(_S.CLOSE_EXCHANGED, (_D.HANG_UP,)),
        _T.LOST: Transition(_S.CLOSED),
        _T.DEADLINE: Transition(_S.CLOSE_EXCHANGED, (_D.ABORT,)),
    },
    _S.FAILING: {
        _T.ESTABLISHED: Transition(_S.FAILING),
        _T.SEND: Transition(_S.FAILING),
        _T.RECEIVE: Transition(_S.FAILING),
        _T.FAIL: Transition(_S.FAILING),
        _T.EOF: Transition(_S.FAILING, (_D.HANG_UP,)),
        _T.LOST: Transition(_S.CLOSED),
        _T.DEADLINE: Transition(_S.FAILING, (_D.ABORT,)),
    },
    _S.CLOSED: {trigger: Transition(_S.CLOSED) for trigger in _T},
}

#: The seconds that each waiting state may last at most; a closing never outlasts the deadline that it began with.
TIMEOUTS: dict[State, float] = {
    State.CONNECTING: OPEN_TIMEOUT,
    State.CLOSE_SENT: CLOSE_TIMEOUT,
    State.CLOSE_RECEIVED: CLOSE_TIMEOUT,
    State.CLOSE_EXCHANGED: LINGER,
    State.FAILING: LINGER,
}

#: What JavaScript sees of the state.
READY_STATE: dict[State, ReadyState] = {
    State.CONNECTING: ReadyState.CONNECTING,
    State.OPEN: ReadyState.OPEN,
    State.CLOSE_SENT: ReadyState.CLOSING,
    State.CLOSE_RECEIVED: ReadyState.CLOSING,
    State.CLOSE_EXCHANGED: ReadyState.CLOSING,
    State.FAILING: ReadyState.CLOSING,
    State.CLOSED: ReadyState.CLOSED,
}
