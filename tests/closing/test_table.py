"""The closing table: every path through it keeps the laws of RFC 6455 section 7."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wasclean
from tests.protocol_pair import CLOSE, PING, TEXT, End, close_payload, frame, many
from wasclean.closing.keepalive import READ_GRACE
from wasclean.closing.outcome import Cause, Reason
from wasclean.closing.table import READY_STATE, TABLE, TIMEOUTS, Ending, Send, State, Transition, Trigger
from wasclean.model.registry import CloseFrame, ReadyState, Role
from wasclean.model.violations import Violation

SOURCES = Path(wasclean.__file__).parent

#: How far along a state is; a path never goes down.
RANK = {
    State.CONNECTING: 0,
    State.OPEN: 1,
    State.CLOSE_SENT: 2,
    State.CLOSE_RECEIVED: 2,
    State.CLOSE_EXCHANGED: 3,
    State.FAILING: 3,
    State.CLOSED: 4,
}

CELLS = [(state, trigger) for state in State for trigger in Trigger]


class Walk:
    """A path through the table, with what it has done on the way; an answer sends, as it does in a connection."""

    def __init__(self, *triggers: Trigger) -> None:
        self.states = [State.CONNECTING]
        self.closes = 0  # Close frames queued
        self.spoken: set[str] = set()
        self.endings: list[Ending] = []
        for trigger in triggers:
            self.step(trigger)

    @property
    def state(self) -> State:
        return self.states[-1]

    def step(self, trigger: Trigger) -> None:
        before = self.state
        state, send, ending = TABLE[before][trigger]
        self.states.append(state)
        if trigger is Trigger.RECEIVE and before in (State.OPEN, State.CLOSE_SENT):
            self.spoken.add("peer")
        if send is not None:
            self.closes += 1
            self.spoken.add("we")
        if send is Send.ANSWER:
            self.step(Trigger.SEND)
        if ending is not None:
            self.endings.append(ending)


def walks() -> Iterator[Walk]:
    """All paths of up to six steps, from the beginning and from OPEN."""
    for path in product(Trigger, repeat=5):
        yield Walk(*path)
        yield Walk(Trigger.ESTABLISHED, *path)


def test_the_table_is_complete() -> None:
    assert set(TABLE) == set(State)
    assert all(set(row) == set(Trigger) for row in TABLE.values())
    assert all(isinstance(cell, Transition) for row in TABLE.values() for cell in row.values())


@pytest.mark.parametrize(("state", "trigger"), CELLS)
def test_no_step_goes_backwards(state: State, trigger: Trigger) -> None:
    after = TABLE[state][trigger].state
    assert after is state or RANK[after] > RANK[state]
    assert READY_STATE[after] >= READY_STATE[state]


def test_every_state_can_be_reached() -> None:
    assert {state for walk in walks() for state in walk.states} == set(State)


def test_every_path_can_still_end() -> None:
    assert all(TABLE[walk.state][Trigger.LOST].state is State.CLOSED for walk in walks())


# A law for each trigger: together they are the whole table.


@pytest.mark.parametrize("state", State)
def test_only_a_connecting_end_is_established(state: State) -> None:
    after = State.OPEN if state is State.CONNECTING else state
    assert TABLE[state][Trigger.ESTABLISHED] == Transition(after)


@pytest.mark.parametrize("state", State)
def test_close_starts_or_completes_the_handshake_and_gives_up_an_opening(state: State) -> None:
    effects = {
        State.CONNECTING: Transition(State.FAILING, ending=Ending.ABORT),
        State.OPEN: Transition(State.CLOSE_SENT, send=Send.CLOSE),
        State.CLOSE_RECEIVED: Transition(State.CLOSE_EXCHANGED, ending=Ending.FINISH),
    }
    assert TABLE[state][Trigger.SEND] == effects.get(state, Transition(state))


@pytest.mark.parametrize("state", State)
def test_the_peers_first_close_frame_is_answered_or_completes_the_handshake(state: State) -> None:
    effects = {
        State.OPEN: Transition(State.CLOSE_RECEIVED, send=Send.ANSWER),
        State.CLOSE_SENT: Transition(State.CLOSE_EXCHANGED, ending=Ending.FINISH),
    }
    assert TABLE[state][Trigger.RECEIVE] == effects.get(state, Transition(state))


@pytest.mark.parametrize("state", State)
def test_a_failure_hangs_up_where_no_close_frame_can_tell_it_and_a_complete_handshake_cannot_fail(state: State) -> None:
    effects = {
        State.CONNECTING: Transition(State.FAILING, ending=Ending.HANG_UP),
        State.OPEN: Transition(State.FAILING, Send.CLOSE, Ending.HALF_CLOSE),
        State.CLOSE_SENT: Transition(State.FAILING, ending=Ending.HALF_CLOSE),
        State.CLOSE_RECEIVED: Transition(State.FAILING, ending=Ending.HANG_UP),
    }
    assert TABLE[state][Trigger.FAIL] == effects.get(state, Transition(state))


@pytest.mark.parametrize("state", State)
def test_a_peer_that_hangs_up_is_hung_up_on_unless_the_answer_is_still_to_be_sent(state: State) -> None:
    if state is State.CLOSE_RECEIVED or state is State.CLOSED:
        assert TABLE[state][Trigger.EOF] == Transition(state)
    else:
        after = state if state is State.CLOSE_EXCHANGED else State.FAILING
        assert TABLE[state][Trigger.EOF] == Transition(after, ending=Ending.HANG_UP)


@pytest.mark.parametrize("state", [state for state in State if state is not State.CLOSED])
def test_at_the_deadline_tcp_is_aborted_and_only_a_complete_handshake_stays_one(state: State) -> None:
    after = state if state is State.CLOSE_EXCHANGED else State.FAILING
    assert TABLE[state][Trigger.DEADLINE] == Transition(after, ending=Ending.ABORT)


@pytest.mark.parametrize("state", State)
def test_losing_the_transport_always_closes(state: State) -> None:
    assert TABLE[state][Trigger.LOST] == Transition(State.CLOSED)


@pytest.mark.parametrize("trigger", Trigger)
def test_closed_is_final(trigger: Trigger) -> None:
    assert TABLE[State.CLOSED][trigger] == Transition(State.CLOSED)


def test_nothing_but_losing_the_transport_closes() -> None:
    ways = {
        trigger for state, trigger in CELLS if state is not State.CLOSED and TABLE[state][trigger].state is State.CLOSED
    }
    assert ways == {Trigger.LOST}


def test_no_path_sends_two_close_frames() -> None:
    assert max(walk.closes for walk in walks()) == 1


def test_both_sides_have_spoken_exactly_where_the_table_says_so() -> None:
    for walk in walks():
        assert (walk.spoken == {"we", "peer"}) == (State.CLOSE_EXCHANGED in walk.states)


def test_close_exchanged_is_left_only_for_closed() -> None:
    assert {transition.state for transition in TABLE[State.CLOSE_EXCHANGED].values()} == {
        State.CLOSE_EXCHANGED,
        State.CLOSED,
    }


def test_a_failed_connection_never_becomes_a_clean_one() -> None:
    assert {transition.state for transition in TABLE[State.FAILING].values()} == {State.FAILING, State.CLOSED}


def test_every_waiting_state_has_a_timeout() -> None:
    assert set(TIMEOUTS) == set(State) - {State.OPEN, State.CLOSED}
    assert all(0 < timeout <= 10 for timeout in TIMEOUTS.values())


@pytest.mark.parametrize("state", TIMEOUTS)
def test_time_aborts_whatever_waits(state: State) -> None:
    assert TABLE[state][Trigger.DEADLINE].ending is Ending.ABORT


def test_every_path_to_failing_or_close_exchanged_ends_the_transport() -> None:
    for walk in walks():
        if State.FAILING in walk.states or State.CLOSE_EXCHANGED in walk.states:
            assert walk.endings


def test_no_path_ends_the_transport_of_an_open_connection() -> None:
    for state, trigger in CELLS:
        after, _, ending = TABLE[state][trigger]
        if RANK[after] < RANK[State.CLOSE_EXCHANGED]:
            assert ending is None


def test_a_failing_connection_half_closes_so_that_its_close_frame_arrives() -> None:
    assert TABLE[State.OPEN][Trigger.FAIL] == Transition(State.FAILING, Send.CLOSE, Ending.HALF_CLOSE)
    assert TABLE[State.CLOSE_SENT][Trigger.FAIL] == Transition(State.FAILING, ending=Ending.HALF_CLOSE)


def test_the_ready_state_is_that_of_the_standard() -> None:
    assert set(READY_STATE) == set(State)
    assert READY_STATE[State.CONNECTING] is ReadyState.CONNECTING
    assert READY_STATE[State.OPEN] is ReadyState.OPEN
    assert READY_STATE[State.CLOSED] is ReadyState.CLOSED
    assert {READY_STATE[state] for state in set(State) - {State.CONNECTING, State.OPEN, State.CLOSED}} == {
        ReadyState.CLOSING
    }


@pytest.mark.parametrize("module", ["table", "handshake"])
def test_neither_the_table_nor_its_interpreter_knows_the_role(module: str) -> None:
    source = (SOURCES / "closing" / f"{module}.py").read_text()
    assert not re.search(r"\b(role|Role(\.\w+)?|CLIENT|SERVER)\b", source)


def test_the_state_of_a_connection_is_assigned_on_one_line() -> None:
    lines = [
        line.strip()
        for path in SOURCES.rglob("*.py")
        for line in path.read_text().splitlines()
        if re.search(r"\.state\b\s*(:[^=]*)?=[^=]", line)
    ]
    assert sorted(lines) == ["self.state = CONNECTING", "self.state = state"]


# The same, of a real connection.


@st.composite
def programs(draw: st.DrawFn) -> list[str]:
    steps = ["established", "close", "peer closes", "fail", "refuse", "bad frame", "eof", "lost", "terminate", "late"]
    steps += ["text", "ping", "send", "send ping", "congest", "relieve", "no flush"]
    return draw(st.lists(st.sampled_from(steps), max_size=14))


def run(end: End, program: list[str]) -> None:
    """Let all this happen to a connection; a minute passes only when it is late."""
    connection, role = end.connection, end.role
    for step in program:
        end.now += 0.001
        if step == "established":
            connection.established(end.now)
        elif step == "close":
            connection.send_close(4000, "we", end.now)
        elif step == "peer closes":
            connection.receive_data(frame(role, CLOSE, close_payload(4001, "they")), end.now)
        elif step == "fail":
            connection.fail(Violation.TEXT_NOT_UTF8, end.now)
        elif step == "refuse":
            connection.refuse(1008, "", end.now, Reason(Cause.POLICY))
        elif step == "bad frame":
            connection.receive_data(b"\x83", end.now)
        elif step == "eof":
            connection.receive_eof(end.now)
        elif step == "lost":
            connection.connection_lost(end.now, Reason(Cause.TCP_RESET))
        elif step == "terminate":
            connection.terminate(end.now)
        elif step == "late":
            for seconds in (60, READ_GRACE):
                end.now += seconds
                connection.handle_deadline(end.now)
        elif step in ("text", "ping"):
            connection.receive_data(frame(role, TEXT if step == "text" else PING, b"x"), end.now)
        elif step == "send" and connection.is_open:
            connection.send(TEXT, "x")
        elif step == "send ping" and connection.is_open:
            connection.send_ping(b"x")
        elif step == "congest":
            end.congest()
        elif step == "relieve":
            end.relieve()
        if step != "no flush":
            end.flush()


@pytest.mark.parametrize("role", Role)
@given(program=programs(), open=st.booleans())
@many
def test_whatever_happens_a_connection_keeps_the_laws_of_the_table(role: Role, program: list[str], open: bool) -> None:
    end = End(role, established=open)
    run(end, program)
    connection = end.connection
    states = [State.CONNECTING, *end.application.states]
    ranks = [RANK[state] for state in states]
    assert ranks == sorted(set(ranks)), f"not straight forward: {states}"
    assert connection.closing.state is states[-1]
    assert len(end.closes()) <= 1
    assert (connection.next_deadline() is not None) <= (connection.closing.state in TIMEOUTS)
    if connection.closing.state in TIMEOUTS and connection.closing.ending is not Ending.ABORT and "late" not in program:
        assert connection.next_deadline() is not None
    if connection.closing.was_clean:
        assert State.CLOSE_EXCHANGED in states
        assert connection.closing.sent is not None
        assert end.closes() == [close_payload(*connection.closing.sent)]
        assert connection.closing.received == CloseFrame(4001, "they")
    if State.FAILING in states:
        assert not connection.closing.was_clean
        assert connection.closing.ending is not None
    began = connection.closing.state is not State.CONNECTING and connection.closing.state is not State.OPEN
    assert (connection.closing.initiator is not None) == (connection.closing.cause is not None) == began
    assert not connection.closing.detail or began
    connection.connection_lost(end.now)
    assert connection.closing.state is State.CLOSED
    assert connection.next_deadline() is None
    assert not connection.fill()
    seen = len(end.events), end.application.states.copy(), bytes(end.wire)
    run(end, ["peer closes", "close", "fail", "late", "ping", "eof", "lost", "relieve"])
    assert seen == (len(end.events), end.application.states, bytes(end.wire))
