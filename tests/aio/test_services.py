"""Alarms that share a timer."""

from __future__ import annotations

from contextvars import Context
from typing import Any

from wasclean.aio.services import TICK, Alarms


class Loop:
    """A loop with a clock that the test sets forward."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, Any]] = []

    def call_later(self, delay: float, callback: Any, *args: Any, context: Context) -> Any:
        loop = self

        class Timer:
            def cancel(self) -> None:
                if entry in loop.timers:  # else it has gone off
                    loop.timers.remove(entry)

        entry = (self.now + delay, lambda: callback(*args))
        self.timers.append(entry)
        return Timer()

    def go_to(self, now: float) -> None:
        self.now = now
        for entry in sorted((timer for timer in self.timers if timer[0] <= now), key=lambda timer: timer[0]):
            self.timers.remove(entry)
            entry[1]()


class Sleeper:
    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.woken: list[float] = []

    def wake(self) -> None:
        self.woken.append(self.loop.now)


def test_alarms_of_the_same_tick_share_a_timer_and_none_goes_off_early() -> None:
    loop = Loop()
    alarms = Alarms(loop)  # type: ignore[arg-type]
    sleepers = [Sleeper(loop) for _ in range(100)]
    for i, sleeper in enumerate(sleepers):
        alarms.set(sleeper, 20 + i * TICK / 100, loop.now)
    assert len(loop.timers) == 2
    loop.go_to(20.0)
    assert [sleeper.woken for sleeper in sleepers] == [[20.0]] + [[]] * 99
    loop.go_to(20 + TICK)
    assert all(len(sleeper.woken) == 1 for sleeper in sleepers)
    assert loop.timers == []


def test_an_alarm_may_be_as_far_away_as_an_option_may_be() -> None:
    loop = Loop()
    alarms = Alarms(loop)  # type: ignore[arg-type]
    sleeper = Sleeper(loop)
    alarms.cancel(sleeper, alarms.set(sleeper, loop.now + float((1 << 63) - 1025), loop.now))
    assert loop.timers == []


def test_a_cancelled_alarm_leaves_nothing_behind_and_the_others_go_off() -> None:
    loop = Loop()
    alarms = Alarms(loop)  # type: ignore[arg-type]
    first, second = Sleeper(loop), Sleeper(loop)
    ticks = [alarms.set(sleeper, 10.0, loop.now) for sleeper in (first, second)]
    alarms.cancel(first, ticks[0])
    assert len(loop.timers) == 1
    loop.go_to(10.0)
    assert (first.woken, second.woken) == ([], [10.0])
    alarms.cancel(second, ticks[1])  # it has gone off
    tick = alarms.set(first, 30.0, loop.now)
    alarms.cancel(first, tick)
    assert loop.timers == []


def test_an_alarm_replaces_another() -> None:
    loop = Loop()
    alarms = Alarms(loop)  # type: ignore[arg-type]
    sleeper = Sleeper(loop)
    first = alarms.set(sleeper, 10.0, loop.now)
    assert alarms.set(sleeper, 10.0 - TICK / 2, loop.now, first) == first
    second = alarms.set(sleeper, 20.0, loop.now, first)
    assert len(loop.timers) == 1
    loop.go_to(10.0)
    assert sleeper.woken == []
    loop.go_to(20.0)
    assert sleeper.woken == [20.0]
    assert second != first


def test_who_is_woken_may_set_an_alarm_again_or_cancel_that_of_another() -> None:
    loop = Loop()
    alarms = Alarms(loop)  # type: ignore[arg-type]
    other = Sleeper(loop)

    class Restless(Sleeper):
        def wake(self) -> None:
            super().wake()
            alarms.cancel(other, tick)
            if len(self.woken) < 3:
                alarms.set(self, self.loop.now + 5, self.loop.now)

    restless = Restless(loop)
    alarms.set(restless, 5.0, loop.now)
    tick = alarms.set(other, 10.0, loop.now)
    for now in (5.0, 10.0, 15.0, 20.0):
        loop.go_to(now)
    assert restless.woken == [5.0, 10.0, 15.0]
    assert other.woken == []


def test_one_who_fails_does_not_keep_the_others_asleep() -> None:
    loop = Loop()
    alarms = Alarms(loop)  # type: ignore[arg-type]

    class Failing(Sleeper):
        def wake(self) -> None:
            super().wake()
            raise MemoryError

    sleepers = [Failing(loop), *(Sleeper(loop) for _ in range(4)), Failing(loop)]
    for sleeper in sleepers:
        alarms.set(sleeper, 10.0, loop.now)
    for _ in range(3):
        try:
            loop.go_to(10.0)
        except MemoryError:
            pass
    assert [sleeper.woken for sleeper in sleepers] == [[10.0]] * 6
    assert loop.timers == []


def test_an_alarm_that_is_cancelled_while_its_tick_rings_does_not_go_off() -> None:
    loop = Loop()
    alarms = Alarms(loop)  # type: ignore[arg-type]
    sleepers: list[Sleeper] = []

    class Canceller(Sleeper):
        def wake(self) -> None:
            super().wake()
            for other in sleepers:
                alarms.cancel(other, tick)

    sleepers += [Canceller(loop) for _ in range(5)]
    for sleeper in sleepers:
        tick = alarms.set(sleeper, 10.0, loop.now)
    loop.go_to(10.0)
    assert sum(len(sleeper.woken) for sleeper in sleepers) == 1
    assert loop.timers == []
