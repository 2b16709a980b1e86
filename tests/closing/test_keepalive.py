"""Alive or not: what the keepalive does at which time, on a clock that is a plain number."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol_pair import BINARY, CLOSE, PING, PONG, START, TEXT, End, close_payload, many
from wasclean.closing.keepalive import MIN_SUSPEND, READ_GRACE, Action, Keepalive, Observation, Timing, Verdict
from wasclean.closing.outcome import Cause, Initiator, Reason
from wasclean.closing.table import Ending, State
from wasclean.model.registry import CLOSE_TIMEOUT, CloseFrame, Role

both_roles = pytest.mark.parametrize("role", Role)

NONE = Timing(None, None, None, None, None)


class Watch:
    """A keepalive with all that it sees, and an alarm that is on time unless alarm() is called.

    Attributes:
        next: when the alarm is due; None for never.
        answers: seconds after which each ping brings some byte; None if none does.
        pings, looks, alarms: when it wanted to ping, when it wanted another look, and when it was called.
    """

    def __init__(self, *, slept: float = 0.0, answers: float | None = None, **limits: float) -> None:
        self.timing = NONE._replace(**limits)
        self.keepalive = Keepalive(self.timing, START, slept)
        self.now = START
        self.received_at = 0.0
        self.message_at = START
        self.paused = False
        self.congested_since: float | None = None
        self.congestion = 0
        self.backlog = 0
        self.slept = slept
        self.answers = answers
        self.answer_at: float | None = None
        self.pings: list[float] = []
        self.looks: list[float] = []
        self.alarms: list[float] = []
        self.verdict: Verdict | None = None
        self.next = self.keepalive.next_deadline(self.sight)

    @property
    def sight(self) -> Observation:
        times = self.received_at, self.message_at
        return Observation(*times, self.paused, self.congested_since, self.congestion, self.backlog, self.slept)

    def alarm(self, now: float) -> None:
        """Call check() at a time, and do what it says, as a connection does."""
        self.now = now
        self.alarms.append(now)
        if self.answer_at is not None and self.answer_at <= now:
            self.received_at, self.answer_at = self.answer_at, None
        step = self.keepalive.check(now, self.sight)
        if isinstance(step, Verdict):
            self.verdict = step
            self.next = None
            return
        if isinstance(step, float):
            self.looks.append(now)
            self.next = step
        else:
            if step is Action.PING:
                self.pings.append(now)
                self.keepalive.pinged(now, self.backlog)
                if self.answers is not None:
                    self.answer_at = now + self.answers
            self.next = self.keepalive.next_deadline(self.sight)
        assert self.next is None or self.next > now, "a loop would be busy with this"

    def run(self, until: float) -> Watch:
        """Let time pass with alarms that are on time."""
        while self.verdict is None and self.next is not None and self.next <= until:
            self.alarm(self.next)
        self.now = until
        return self

    def congest(self, backlog: int) -> None:
        """The transport stops to take bytes; the connection moves its alarm forward, if need be."""
        self.congested_since = self.now
        self.congestion = self.backlog = backlog
        limit = self.timing.write_timeout
        if limit is not None:
            self.next = self.now + limit if self.next is None else min(self.next, self.now + limit)

    def relieve(self) -> None:
        """The transport has passed all on."""
        self.congested_since = None
        self.backlog = 0


def ended(watch: Watch) -> tuple[Cause | None, Any]:
    """The verdict's cause, and the time of the last alarm, since the start."""
    return None if watch.verdict is None else watch.verdict.why.cause, pytest.approx(watch.alarms[-1] - START)


def at(*seconds: float) -> Any:
    """Times since the start."""
    return pytest.approx([START + each for each in seconds])


# Pings.


def test_a_ping_is_due_after_each_interval() -> None:
    watch = Watch(ping_interval=20, ping_timeout=20, answers=0.1).run(START + 100)
    assert watch.pings == at(20, 40, 60, 80, 100)
    assert (watch.verdict, watch.looks) == (None, [])


@pytest.mark.parametrize(("interval", "timeout"), [(20.0, 20.0), (5.0, 20.0), (60.0, 5.0), (20.0, 0.5), (0.01, 20.0)])
def test_a_peer_that_says_nothing_is_given_up_a_timeout_after_the_first_ping(interval: float, timeout: float) -> None:
    watch = Watch(ping_interval=interval, ping_timeout=timeout).run(START + 1000)
    assert watch.pings == at(interval)  # one at a time
    assert watch.looks == at(interval + timeout)
    assert ended(watch) == (Cause.PING_TIMEOUT, interval + timeout + READ_GRACE)
    assert watch.verdict is not None
    assert not watch.verdict.gently


def test_the_verdict_tells_how_long_nothing_has_arrived() -> None:
    watch = Watch(ping_interval=20, ping_timeout=10)
    watch.received_at = START + 5
    watch.run(START + 100)
    assert watch.verdict is not None
    assert watch.verdict.why.detail == "nothing arrived for 25.0 s, nor 10.0 s after a ping"


def test_where_nothing_has_ever_arrived_the_silence_is_as_old_as_the_connection() -> None:
    watch = Watch(ping_interval=20, ping_timeout=10).run(START + 100)
    assert watch.verdict is not None
    assert watch.verdict.why.detail == "nothing arrived for 30.0 s, nor 10.0 s after a ping"


@pytest.mark.parametrize("after", [0.0, 0.001, 10.0, 19.999, 20.0])
def test_any_byte_after_the_ping_is_life(after: float) -> None:
    watch = Watch(ping_interval=20, ping_timeout=20).run(START + 20)
    watch.received_at = START + 20 + after
    watch.run(START + 59)
    assert (watch.verdict, watch.pings) == (None, at(20, 40))


def test_a_byte_before_the_ping_is_no_answer_to_it() -> None:
    watch = Watch(ping_interval=20, ping_timeout=20).run(START + 19)
    watch.received_at = START + 19.999
    assert ended(watch.run(START + 60)) == (Cause.PING_TIMEOUT, 40 + READ_GRACE)


def test_life_ends_with_the_next_ping_that_nothing_follows() -> None:
    watch = Watch(ping_interval=20, ping_timeout=20, answers=1.0).run(START + 200)
    watch.answers = None
    assert ended(watch.run(START + 300)) == (Cause.PING_TIMEOUT, 240 + READ_GRACE)


def test_while_a_ping_waits_no_other_is_sent() -> None:
    watch = Watch(ping_interval=5, ping_timeout=18).run(START + 22)
    assert watch.pings == at(5)
    watch.received_at = START + 22
    assert watch.run(START + 29).pings == at(5, 25)


def test_before_anything_is_due_there_is_nothing_to_do() -> None:
    watch = Watch(ping_interval=20, ping_timeout=20)
    assert watch.keepalive.check(START + 19, watch.sight) is Action.NOTHING
    assert watch.keepalive.check(START + 20, watch.sight) is Action.PING


def test_without_an_interval_there_are_no_pings_and_nothing_to_wait_for() -> None:
    watch = Watch(ping_timeout=20)
    assert watch.next is None
    watch.alarm(START + 1000)
    assert (watch.verdict, watch.pings, watch.next) == (None, [], None)


def test_without_a_timeout_pings_go_on_whatever_comes() -> None:
    watch = Watch(ping_interval=20).run(START + 100)
    assert (watch.verdict, watch.looks, watch.pings) == (None, [], at(20, 40, 60, 80, 100))


def test_without_any_limit_there_is_never_an_alarm() -> None:
    watch = Watch()
    assert watch.next is None
    watch.alarm(START + 1e6)
    assert (watch.verdict, watch.pings, watch.next) == (None, [], None)


# Progress and pauses.


def test_progress_of_what_was_written_is_life() -> None:
    watch = Watch(ping_interval=20, ping_timeout=20)
    watch.backlog = 1000
    watch.run(START + 39)
    watch.backlog = 900
    watch.run(START + 59)
    assert watch.verdict is None
    watch.backlog = 800
    assert ended(watch.run(START + 1000)) == (Cause.PING_TIMEOUT, 80 + READ_GRACE)
    assert watch.pings == at(20)


def test_what_is_added_to_the_backlog_is_no_life() -> None:
    watch = Watch(ping_interval=20, ping_timeout=20)
    watch.backlog = 1000
    watch.run(START + 39)
    watch.backlog = 2000
    assert ended(watch.run(START + 1000)) == (Cause.PING_TIMEOUT, 40 + READ_GRACE)


def test_while_we_do_not_read_no_answer_is_missed() -> None:
    watch = Watch(ping_interval=20, ping_timeout=20).run(START + 30)
    watch.paused = True
    watch.run(START + 1000)
    assert (watch.verdict, watch.looks) == (None, [])
    watch.paused = False
    last = watch.alarms[-1]
    watch.run(START + 2000)
    assert watch.verdict is not None
    assert watch.alarms[-1] == pytest.approx(last + 20 + READ_GRACE)


def test_what_was_read_after_a_pause_is_life() -> None:
    watch = Watch(ping_interval=20, ping_timeout=20).run(START + 30)
    watch.paused = True
    watch.run(START + 70)
    watch.paused = False
    watch.received_at = START + 71
    watch.answers = 0.0
    assert watch.run(START + 200).verdict is None


def test_while_the_transport_takes_nothing_no_ping_is_sent() -> None:
    watch = Watch(ping_interval=20, ping_timeout=20)
    watch.congest(1000)
    watch.run(START + 100)
    assert (watch.pings, watch.verdict) == ([], None)
    watch.relieve()
    assert watch.run(START + 120).pings == at(120)


def test_a_ping_that_left_before_the_congestion_is_not_forgiven_without_progress() -> None:
    watch = Watch(ping_interval=20, ping_timeout=20).run(START + 21)
    watch.congest(1000)
    assert ended(watch.run(START + 1000)) == (Cause.PING_TIMEOUT, 40 + READ_GRACE)


# One more look.


@pytest.mark.parametrize("late", [0.0, 0.04, 10.0, 20.0, 20.001, 3600.0])
def test_however_late_the_alarm_is_the_read_side_gets_a_turn_before_the_verdict(late: float) -> None:
    watch = Watch(ping_interval=20, ping_timeout=20).run(START + 21)
    watch.alarm(START + 40 + late)
    assert watch.verdict is None
    assert watch.next == pytest.approx(START + 40 + late + READ_GRACE)
    watch.received_at = START + 40 + late + READ_GRACE / 2
    watch.answers = 0.1
    watch.run(START + 4000)
    assert watch.verdict is None
    assert len(watch.looks) == 1


@pytest.mark.parametrize(
    ("late", "cause"),
    [
        (0.0, Cause.PING_TIMEOUT),
        (19.9, Cause.PING_TIMEOUT),
        (20.0, Cause.PING_TIMEOUT),
        (20.1, Cause.LOOP_STALLED),
        (3600.0, Cause.LOOP_STALLED),
    ],
)
def test_a_loop_that_was_late_by_more_than_the_timeout_is_what_is_blamed(late: float, cause: Cause) -> None:
    watch = Watch(ping_interval=20, ping_timeout=20).run(START + 21)
    watch.alarm(START + 40 + late)
    watch.run(START + 5000)
    assert ended(watch) == (cause, 40 + late + READ_GRACE)
    assert watch.verdict is not None
    assert watch.verdict.why.detail.startswith(f"event loop blocked for {late:.1f} s") == (cause is Cause.LOOP_STALLED)


def test_a_second_silence_gets_its_own_look() -> None:
    watch = Watch(ping_interval=20, ping_timeout=20).run(START + 40)
    assert watch.looks == at(40)
    watch.received_at = START + 40.001
    watch.run(START + 1000)
    assert watch.looks == at(40, 60 + READ_GRACE)
    assert ended(watch) == (Cause.PING_TIMEOUT, 60 + 2 * READ_GRACE)


# Asleep.


def test_after_a_suspend_there_is_a_ping_at_once_and_then_the_verdict() -> None:
    watch = Watch(ping_interval=20, ping_timeout=20, answers=0.1, slept=7.0).run(START + 45)
    watch.slept += 3600
    watch.answers = None
    watch.alarm(START + 46)
    assert watch.pings == at(20, 40, 46)
    assert ended(watch.run(START + 1000)) == (Cause.SUSPENDED, 66 + READ_GRACE)
    assert watch.verdict is not None
    assert watch.verdict.why.detail == "this machine slept; nothing arrived for 25.9 s, nor 20.0 s after a ping"
    assert not watch.verdict.gently


def test_a_suspend_at_the_time_of_a_ping_or_of_a_verdict_gives_one_ping() -> None:
    for limits in ({"ping_interval": 20.0, "ping_timeout": 20.0}, {"ping_interval": 5.0, "ping_timeout": 15.0}):
        for due in (limits["ping_interval"], limits["ping_interval"] + limits["ping_timeout"]):
            watch = Watch(**limits).run(START + due - 0.001)
            before = len(watch.pings)
            watch.slept = 60
            watch.run(START + due + 0.001)
            assert len(watch.pings) == before + 1
            assert ended(watch.run(START + 1000)) == (
                Cause.SUSPENDED,
                due + limits["ping_timeout"] + READ_GRACE,
            )


def test_life_after_a_suspend_makes_it_forgotten() -> None:
    watch = Watch(ping_interval=20, ping_timeout=20, answers=0.1).run(START + 45)
    watch.slept = 3600
    watch.run(START + 100)
    watch.answers = None
    watch.run(START + 1000)
    assert watch.verdict is not None
    assert watch.verdict.why.cause is Cause.PING_TIMEOUT


@pytest.mark.parametrize("nap", [0.5, MIN_SUSPEND])
def test_clocks_that_drift_are_no_suspend(nap: float) -> None:
    watch = Watch(ping_interval=20, ping_timeout=20, answers=0.1)
    for i in range(1, 10):
        watch.slept += nap
        watch.run(START + 20 * i)
    assert watch.pings == at(*range(20, 200, 20))


def test_a_suspend_asks_for_life_without_an_interval_too() -> None:
    watch = Watch(ping_timeout=20, idle_timeout=10)
    watch.message_at = START + 100
    watch.slept = 60
    watch.alarm(START + 101)
    assert watch.pings == at(101)
    watch.message_at = START + 120
    assert ended(watch.run(START + 1000)) == (Cause.SUSPENDED, 121 + READ_GRACE)


def test_a_suspend_of_up_to_a_second_is_none() -> None:
    watch = Watch(ping_interval=20, ping_timeout=20)
    for nap in (0.5, MIN_SUSPEND):
        watch.slept += nap
        watch.alarm(START + 5)
        assert watch.pings == []
    watch.slept += 1.1
    watch.alarm(START + 6)
    assert watch.pings == at(6)


def test_after_a_suspend_no_ping_is_sent_while_the_transport_takes_nothing() -> None:
    watch = Watch(ping_interval=20, ping_timeout=20).run(START + 5)
    watch.congest(1000)
    watch.slept = 60
    watch.alarm(START + 6)
    assert watch.pings == []


def test_progress_before_the_ping_that_follows_a_suspend_is_no_answer_to_it() -> None:
    watch = Watch(ping_interval=20, ping_timeout=20, answers=0.1)
    watch.backlog = 1000
    watch.run(START + 45)
    watch.slept = 60
    watch.answers = None
    watch.backlog = 500
    watch.alarm(START + 46)
    assert ended(watch.run(START + 1000)) == (Cause.SUSPENDED, 66 + READ_GRACE)


def test_a_suspend_amid_the_other_look_gives_another_one_after_its_ping() -> None:
    watch = Watch(ping_interval=20, ping_timeout=20).run(START + 40)
    assert watch.looks == at(40)
    watch.slept = 60
    watch.run(START + 1000)
    assert watch.pings == at(20, 40 + READ_GRACE)
    assert watch.looks == at(40, 60 + READ_GRACE)
    assert ended(watch) == (Cause.SUSPENDED, 60 + 2 * READ_GRACE)


# Writing.


@pytest.mark.parametrize("limit", [0.5, 19.0, 40.0, 300.0])
def test_a_peer_that_takes_nothing_is_given_up_after_the_write_timeout(limit: float) -> None:
    watch = Watch(write_timeout=limit, ping_interval=20, ping_timeout=20, answers=0.1).run(START + 25)
    watch.congest(12_345)
    watch.run(START + 1000)
    assert watch.looks == at(25 + limit)
    assert ended(watch) == (Cause.WRITE_TIMEOUT, 25 + limit + READ_GRACE)
    assert watch.verdict is not None
    assert not watch.verdict.gently
    assert watch.verdict.why.detail == f"12,345 bytes waited for {limit:.1f} s"


def test_what_arrives_is_no_progress_of_what_is_written() -> None:
    watch = Watch(write_timeout=10)
    watch.congest(1000)
    watch.received_at = START + 9.999
    assert ended(watch.run(START + 1000)) == (Cause.WRITE_TIMEOUT, 10 + READ_GRACE)


def test_a_peer_that_takes_a_little_now_and_then_is_borne() -> None:
    watch = Watch(write_timeout=40, ping_interval=20, ping_timeout=20).run(START + 1)
    watch.congest(1000)
    for i in range(1, 30):
        watch.run(START + 30 * i)
        watch.backlog -= 1
    assert watch.verdict is None
    last = watch.now
    watch.run(START + 5000)
    assert watch.verdict is not None
    assert watch.verdict.why.cause is Cause.WRITE_TIMEOUT
    assert last + 40 <= watch.alarms[-1] <= last + 60 + READ_GRACE


def test_progress_during_the_other_look_counts() -> None:
    watch = Watch(write_timeout=10)
    watch.congest(1000)
    watch.run(START + 10)
    assert watch.looks == at(10)
    watch.backlog = 999
    assert ended(watch.run(START + 1000)) == (Cause.WRITE_TIMEOUT, 20 + 2 * READ_GRACE)


def test_a_transport_that_takes_bytes_again_is_not_blamed() -> None:
    watch = Watch(write_timeout=10)
    watch.congest(1000)
    watch.run(START + 9)
    watch.relieve()
    watch.run(START + 50)
    watch.congest(1000)
    assert ended(watch.run(START + 1000)) == (Cause.WRITE_TIMEOUT, 60 + READ_GRACE)


def test_a_look_at_writing_that_was_on_time_does_not_make_a_ping_late() -> None:
    watch = Watch(write_timeout=15, ping_interval=20, ping_timeout=20).run(START + 25)
    watch.congest(0)  # the transport cannot tell its backlog
    watch.run(START + 40)
    assert watch.looks == at(40)
    watch.relieve()
    assert ended(watch.run(START + 1000)) == (Cause.PING_TIMEOUT, 40 + READ_GRACE)


def test_without_a_write_timeout_it_may_take_for_ever() -> None:
    watch = Watch(ping_interval=20, ping_timeout=20)
    watch.congest(1000)
    assert watch.run(START + 10_000).verdict is None


# Ages.


def test_without_messages_the_connection_is_closed_gently() -> None:
    watch = Watch(idle_timeout=60, ping_interval=20, ping_timeout=20, answers=0.1).run(START + 30)
    watch.message_at = START + 25
    watch.run(START + 1000)
    assert ended(watch) == (Cause.IDLE_TIMEOUT, 85)
    assert watch.verdict is not None
    assert watch.verdict == Verdict(Reason(Cause.IDLE_TIMEOUT, "the last message passed 60.0 s ago"), gently=True)


def test_an_old_connection_is_closed_gently() -> None:
    watch = Watch(max_lifetime=100, ping_interval=30, ping_timeout=20, answers=0.1).run(START + 1000)
    assert ended(watch) == (Cause.MAX_LIFETIME, 100)
    assert watch.verdict == Verdict(Reason(Cause.MAX_LIFETIME, "open for 100.0 s"), gently=True)


# Any course of events.

limits = st.sampled_from([None, 0.02, 1.0, 5.0, 20.0])
EVENTS = ["nothing", "byte", "message", "pause", "congest", "progress", "sleep", "late"]
HARSH = {Cause.PING_TIMEOUT, Cause.LOOP_STALLED, Cause.SUSPENDED, Cause.WRITE_TIMEOUT}


@given(data=st.data(), timing=st.builds(Timing, limits, limits, limits, limits, limits))
@many
def test_whatever_happens_the_next_alarm_lies_ahead_and_a_harsh_verdict_follows_another_look(
    data: st.DataObject, timing: Timing
) -> None:
    watch = Watch(**{name: limit for name, limit in timing._asdict().items() if limit is not None})
    for _ in range(data.draw(st.integers(1, 15))):
        event = data.draw(st.sampled_from(EVENTS))
        if event == "byte":
            watch.received_at = watch.now
        elif event == "message":
            watch.received_at = watch.message_at = watch.now
        elif event == "pause":
            watch.paused = not watch.paused
        elif event == "congest" and watch.congested_since is None:
            watch.congest(1000)
        elif event == "congest":
            watch.relieve()
        elif event == "progress":
            watch.backlog //= 2
        elif event == "sleep":
            watch.slept += 100
        elif event == "late" and watch.next is not None:
            watch.alarm(max(watch.now, watch.next) + data.draw(st.sampled_from([0.1, 6.0, 50.0])))
        watch.run(watch.now + data.draw(st.sampled_from([0.0, 0.01, 0.5, 7.0])))
        if watch.verdict is not None:
            break
    if watch.verdict is not None and watch.verdict.why.cause in HARSH:
        assert watch.looks
        assert watch.looks[-1] == watch.alarms[-2]
        assert not watch.verdict.gently


# The same, of a connection.


def lively(role: Role, **limits: float) -> End:
    return End(role, timing=NONE._replace(**limits))


def wake(end: End, **sight: Any) -> None:
    """The alarm, on time."""
    deadline = end.connection.next_deadline()
    assert deadline is not None
    assert deadline >= end.now
    end.now = deadline
    end.connection.handle_deadline(end.now, **sight)
    end.flush()


@both_roles
def test_a_connection_pings_and_measures_the_round_trip(role: Role) -> None:
    end = lively(role, ping_interval=20.0, ping_timeout=20.0)
    assert end.connection.next_deadline() == START + 20
    wake(end)
    [(opcode, payload)] = end.written()
    assert (opcode, len(payload)) == (PING, 4)
    assert end.connection.rtt is None
    end.now += 0.25
    end.arrive(PONG, b"another")
    assert end.connection.rtt is None
    end.arrive(PONG, payload)
    assert end.connection.rtt == 0.25
    end.now += 1
    end.arrive(PONG, payload)  # only the first counts
    assert end.connection.rtt == 0.25
    wake(end)
    assert [opcode for opcode, _ in end.written()] == [PING, PING]
    assert end.written()[0] != end.written()[1]


@both_roles
def test_a_connection_without_life_is_aborted_by_us(role: Role) -> None:
    end = lively(role, ping_interval=20.0, ping_timeout=10.0)
    for _ in range(3):
        wake(end)
    c = end.connection
    assert (c.closing.state, c.closing.ending, c.closing.initiator, c.closing.cause) == (
        State.FAILING,
        Ending.ABORT,
        Initiator.LOCAL,
        Cause.PING_TIMEOUT,
    )
    assert c.closing.detail == "nothing arrived for 30.0 s, nor 10.0 s after a ping"
    assert not c.closing.failed
    assert end.closes() == []


@both_roles
def test_the_bytes_of_a_frame_that_is_not_whole_are_life_too(role: Role) -> None:
    end = lively(role, ping_interval=20.0, ping_timeout=20.0)
    wake(end)
    end.now += 10
    end.feed(b"\x82")
    wake(end)
    assert (end.state, len(end.written())) == (State.OPEN, 2)


@both_roles
def test_bytes_that_come_with_the_other_look_save_the_connection(role: Role) -> None:
    end = lively(role, ping_interval=20.0, ping_timeout=20.0)
    wake(end)
    end.now = START + 90  # the loop was blocked, and the pong waits in the kernel
    end.connection.handle_deadline(end.now)
    assert end.connection.next_deadline() == pytest.approx(end.now + READ_GRACE)
    end.now += READ_GRACE / 2
    end.arrive(PONG, end.written()[0][1])
    wake(end)
    assert end.state is State.OPEN


@both_roles
def test_a_connection_whose_loop_was_blocked_says_so(role: Role) -> None:
    end = lively(role, ping_interval=20.0, ping_timeout=20.0)
    wake(end)
    end.now = START + 63.4
    end.connection.handle_deadline(end.now)
    wake(end)
    c = end.connection
    assert (c.closing.state, c.closing.cause) == (State.FAILING, Cause.LOOP_STALLED)
    assert c.closing.detail.startswith("event loop blocked for 23.4 s or more")


@both_roles
def test_a_suspend_before_the_first_alarm_is_seen(role: Role) -> None:
    end = End(role, established=False, timing=NONE._replace(ping_interval=20.0, ping_timeout=20.0))
    end.connection.established(START, 50.0)
    wake(end, slept=50.0 + 3600)
    wake(end, slept=50.0 + 3600)
    wake(end, slept=50.0 + 3600)
    assert end.connection.closing.cause is Cause.SUSPENDED
    end = End(role, established=False, timing=NONE._replace(ping_interval=20.0, ping_timeout=20.0))
    end.connection.established(START, 50.0)
    for _ in range(3):
        wake(end, slept=50.0)
    assert end.connection.closing.cause is Cause.PING_TIMEOUT


@both_roles
@pytest.mark.parametrize(
    ("limits", "cause"), [({"idle_timeout": 30.0}, Cause.IDLE_TIMEOUT), ({"max_lifetime": 30.0}, Cause.MAX_LIFETIME)]
)
def test_a_gentle_end_is_a_closing_handshake_that_keeps_its_cause(
    role: Role, limits: dict[str, float], cause: Cause
) -> None:
    end = lively(role, **limits)
    wake(end)
    c = end.connection
    assert (end.now, c.closing.state, c.closing.ending) == (START + 30, State.CLOSE_SENT, None)
    assert end.closes() == [close_payload(1001)]
    assert c.next_deadline() == end.now + CLOSE_TIMEOUT
    end.arrive(CLOSE, close_payload(1001))
    c.connection_lost(end.now)
    assert (c.closing.was_clean, c.closing.initiator, c.closing.cause) == (True, Initiator.LOCAL, cause)
    assert c.closing.received == CloseFrame(1001, "")


@both_roles
def test_messages_of_either_side_put_the_idle_timeout_off_and_pings_do_not(role: Role) -> None:
    end = lively(role, idle_timeout=30.0)
    end.now += 20
    end.arrive(TEXT, b"theirs")
    wake(end)
    assert (end.state, end.connection.next_deadline()) == (State.OPEN, START + 50)
    end.now += 10
    end.connection.touch(end.now)
    end.connection.send(TEXT, "ours")
    end.flush()
    wake(end)
    assert (end.state, end.connection.next_deadline()) == (State.OPEN, START + 70)
    end.now += 10
    end.arrive(PING)
    end.connection.send_ping(b"")
    end.flush()
    wake(end)
    assert (end.now, end.state) == (START + 70, State.CLOSE_SENT)


@both_roles
def test_congestion_brings_the_alarm_forward_only_if_it_has_to(role: Role) -> None:
    end = lively(role, write_timeout=10.0)
    assert end.connection.next_deadline() is None
    assert end.connection.pause_writing(START + 1)
    assert end.connection.next_deadline() == START + 11
    end = lively(role, write_timeout=10.0, ping_interval=20.0)
    assert end.connection.pause_writing(START + 1)
    assert end.connection.next_deadline() == START + 11
    for limits in ({"write_timeout": 40.0, "ping_interval": 20.0}, {"ping_interval": 20.0}):
        end = lively(role, **limits)
        assert not end.connection.pause_writing(START + 1)
        assert end.connection.next_deadline() == START + 20


@both_roles
def test_congestion_does_not_move_the_deadline_of_a_closing(role: Role) -> None:
    end = lively(role, write_timeout=0.5).close(1000)
    assert not end.connection.pause_writing(end.now)
    assert end.connection.next_deadline() == START + CLOSE_TIMEOUT


@both_roles
def test_a_peer_that_takes_nothing_ends_the_connection(role: Role) -> None:
    end = lively(role, write_timeout=10.0)
    end.connection.send(BINARY, bytes(1000))
    end.flush()
    end.congest()
    wake(end, backlog=1006)
    wake(end, backlog=1006)
    c = end.connection
    assert (c.closing.state, c.closing.ending, c.closing.initiator, c.closing.cause) == (
        State.FAILING,
        Ending.ABORT,
        Initiator.LOCAL,
        Cause.WRITE_TIMEOUT,
    )
    assert c.closing.detail == "1,006 bytes waited for 10.0 s"


@both_roles
def test_progress_since_the_beginning_of_a_congestion_counts(role: Role) -> None:
    end = lively(role, write_timeout=10.0)
    end.connection.send(BINARY, bytes(1_000_000))
    end.flush()
    end.congest(backlog=1_000_000)  # of which the peer takes half in the ten seconds
    wake(end, backlog=500_000)
    wake(end, backlog=500_000)
    assert end.state is State.OPEN


@both_roles
def test_a_closing_connection_pings_no_more(role: Role) -> None:
    end = lively(role, ping_interval=1.0, ping_timeout=1.0).close(1000)
    end.now += 4
    end.connection.handle_deadline(end.now)
    assert (end.state, end.connection.next_deadline()) == (State.CLOSE_SENT, START + CLOSE_TIMEOUT)
    assert [opcode for opcode, _ in end.written()] == [CLOSE]


@both_roles
def test_while_reading_is_paused_a_connection_lives(role: Role) -> None:
    end = lively(role, ping_interval=20.0, ping_timeout=5.0)
    for _ in range(50):
        wake(end, paused=True)
    assert end.state is State.OPEN
    assert len(end.written()) == 1


@pytest.mark.parametrize("limits", list(permutations([10.0, 20.0, 30.0])))
def test_the_first_alarm_is_that_of_the_earliest_limit(limits: tuple[float, float, float]) -> None:
    names = ("ping_interval", "idle_timeout", "max_lifetime")
    end = lively(Role.SERVER, **dict(zip(names, limits, strict=True)))
    assert end.connection.next_deadline() == START + 10


def test_a_frame_is_noted_with_its_age() -> None:
    end = End(Role.SERVER)
    end.now = START + 1
    end.arrive(TEXT, b"one")
    end.now = START + 3
    end.arrive(TEXT, b"two")
    assert [note.age for note in end.connection.frames(START + 8)] == [7, 5]
