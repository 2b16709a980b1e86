"""How fast a peer may send: the arithmetic, and what a connection makes of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol_pair import CONTINUATION, PING, PONG, TEXT, End, close_payload, frame
from wasclean.closing.outcome import Cause
from wasclean.closing.rates import Bucket, Rates
from wasclean.closing.table import State
from wasclean.model.registry import Role
from wasclean.model.violations import Violation

both_roles = pytest.mark.parametrize("role", Role)

START = 1000.0  # of times

# The arithmetic.


def test_a_bucket_without_a_rate_has_no_limit() -> None:
    bucket = Bucket(None, START)
    bucket.excuse(START, START + 1)
    assert bucket.take(1 << 62, START)


def test_a_bucket_holds_what_may_arrive_in_a_second_and_no_more() -> None:
    assert Bucket(10, START).take(10, START)
    assert not Bucket(10, START).take(11, START)
    assert not Bucket(10, START).take(11, START + 3600)


def test_time_fills_a_bucket_at_the_rate() -> None:
    bucket = Bucket(10, START)
    assert bucket.take(10, START)
    assert bucket.take(5, START + 0.5)
    assert not bucket.take(1, START + 0.5)


def test_a_bucket_that_was_overdrawn_has_to_be_filled_again() -> None:
    bucket = Bucket(10, START)
    assert not bucket.take(20, START)
    assert not bucket.take(1, START + 1)
    assert bucket.take(1, START + 1.25)


@given(
    rate=st.integers(1, 1000),
    arrivals=st.lists(st.tuples(st.floats(0, 2), st.integers(0, 500)), max_size=50),
)
def test_nobody_gets_more_than_the_rate_and_a_burst_and_who_stays_below_gets_all(
    rate: int, arrivals: list[tuple[float, int]]
) -> None:
    bucket = Bucket(rate, START)
    now = START
    taken: list[tuple[float, int]] = []
    for pause, amount in arrivals:
        now += pause
        if not bucket.take(amount, now):
            break
        taken.append((now, amount))
    allowed = [sum(a for t, a in taken[i:]) <= rate + rate * (now - taken[i][0]) + 1e-6 for i in range(len(taken))]
    assert all(allowed)
    if all(amount <= rate * min(pause, 1) for pause, amount in arrivals):
        assert len(taken) == len(arrivals)


def test_what_was_sent_while_nobody_read_counts_as_if_it_had_arrived_then() -> None:
    bucket = Bucket(10, START)
    assert bucket.take(10, START)
    bucket.excuse(START, START + 60)
    assert bucket.take(600, START + 60)
    assert not bucket.take(1, START + 60)


def test_what_a_bucket_was_given_beyond_its_size_is_lost_at_the_rate() -> None:
    bucket = Bucket(10, START)
    bucket.excuse(START, START + 60)
    assert bucket.take(310, START + 90)
    assert not bucket.take(1, START + 90)
    bucket = Bucket(10, START)
    bucket.excuse(START, START + 60)
    assert not bucket.take(11, START + 120)


# In a connection.

LIMITED = Rates(pings=10, messages=10, bytes=1000)


def assert_failed(end: End, violation: Violation) -> None:
    c = end.connection
    assert (c.closing.state, c.closing.violation, c.closing.cause) == (State.FAILING, violation, Cause.POLICY)
    assert c.closing.detail.startswith(f"{violation}: ")
    assert end.closes() == [close_payload(1008, violation.text)]


FLOODS = [
    (PING, b"", 10, Violation.TOO_MANY_PINGS),
    (TEXT, b"x", 10, Violation.TOO_MANY_MESSAGES),
    (PONG, b"x" * 44, {Role.CLIENT: 21, Role.SERVER: 20}, Violation.TOO_MANY_BYTES),
]


@both_roles
@pytest.mark.parametrize(("opcode", "payload", "allowed", "violation"), FLOODS, ids=["pings", "messages", "bytes"])
@pytest.mark.parametrize("at_once", [True, False])
def test_who_sends_more_than_a_seconds_worth_at_once_gets_1008(
    role: Role, opcode: int, payload: bytes, allowed: Any, violation: Violation, at_once: bool
) -> None:
    count = allowed if isinstance(allowed, int) else allowed[role]
    end = End(role, rates=LIMITED)
    one = frame(role, opcode, payload)
    if at_once:
        end.feed(one * count)
    else:
        for _ in range(count):
            end.feed(one)
    assert end.state is State.OPEN
    end.feed(one)
    assert_failed(end, violation)
    assert end.connection.closing.error is not None
    assert (
        end.connection.closing.error.detail
        == {
            Violation.TOO_MANY_PINGS: "the limit is 10",
            Violation.TOO_MANY_MESSAGES: "1 message came in the last read, and the limit is 10",
            Violation.TOO_MANY_BYTES: f"{len(one)} bytes came in the last read, and the limit is 1,000",
        }[violation]
    )


@pytest.mark.parametrize(("excess", "state"), [(0, State.OPEN), (1, State.FAILING)])
def test_the_first_read_may_bring_exactly_a_seconds_worth_of_bytes(excess: int, state: State) -> None:
    end = End(Role.SERVER, rates=Rates(None, None, len(frame(Role.SERVER, TEXT, bytes(100)))))
    end.arrive(TEXT, bytes(100 + excess))
    assert end.state is state


@both_roles
@pytest.mark.parametrize("opcode", [PING, TEXT])
def test_who_sends_at_the_rate_may_go_on(role: Role, opcode: int) -> None:
    end = End(role, rates=LIMITED)
    for _ in range(200):
        end.arrive(opcode)
        end.now += 0.1001
    assert end.state is State.OPEN
    assert end.connection.receiver.messages_received == (200 if opcode == TEXT else 0)


@both_roles
def test_without_limits_nothing_is_counted(role: Role) -> None:
    end = End(role, rates=Rates(None, None, None))
    end.feed(frame(role, PING) * 5000 + frame(role, TEXT) * 5000)
    assert end.state is State.OPEN
    assert end.connection.receiver.messages_received == 5000


@both_roles
def test_messages_that_came_before_are_delivered_and_what_follows_too_many_pings_is_dropped(role: Role) -> None:
    end = End(role, rates=LIMITED)
    end.feed(frame(role, TEXT, b"before") + frame(role, PING) * 11 + frame(role, TEXT, b"behind"))
    assert_failed(end, Violation.TOO_MANY_PINGS)
    assert [event[1:] for event in end.events if event[0] == "message"] == [("before",)]
    assert end.connection.receiver.discarded == len(frame(role, TEXT, b"behind"))


@both_roles
def test_fragments_are_one_message_and_all_their_bytes_count(role: Role) -> None:
    end = End(role, rates=Rates(None, 1, 1000))
    end.arrive(TEXT, b"x" * 100, fin=False)
    for _ in range(5):
        end.arrive(CONTINUATION, b"x" * 100, fin=False)
    assert end.state is State.OPEN
    end.arrive(CONTINUATION, b"x" * 400, fin=False)
    assert_failed(end, Violation.TOO_MANY_BYTES)


@both_roles
def test_a_large_message_that_is_read_directly_counts_too(role: Role) -> None:
    end = End(role, rates=Rates(None, None, 300_000))
    end.feed(frame(role, TEXT, b"x" * 299_000))
    assert end.state is State.OPEN
    end.now += 0.5
    end.feed(frame(role, TEXT, b"x" * 299_000))
    assert_failed(end, Violation.TOO_MANY_BYTES)


@both_roles
@pytest.mark.parametrize("opcode", [PING, TEXT])
def test_what_waited_while_reading_was_paused_is_no_flood(role: Role, opcode: int) -> None:
    end = End(role, rates=LIMITED)
    end.feed(frame(role, opcode) * 9)
    end.now += 3.01
    end.connection.reading_resumed(end.now)
    end.feed(frame(role, opcode) * 30)
    assert not end.connection.closing.failed
    end.feed(frame(role, opcode) * 20)
    assert end.connection.closing.failed


@both_roles
def test_a_flood_behind_our_close_frame_is_one(role: Role) -> None:
    end = End(role, rates=LIMITED).close(1000)
    end.feed(frame(role, TEXT) * 11)
    assert end.state is State.FAILING
    assert end.connection.closing.violation is Violation.TOO_MANY_MESSAGES


@both_roles
def test_a_connection_that_has_failed_judges_no_more(role: Role) -> None:
    end = End(role, rates=LIMITED)
    end.feed(frame(role, PING) * 11)
    end.feed(frame(role, TEXT) * 1000)
    assert_failed(end, Violation.TOO_MANY_PINGS)
