"""Liveness by itself: what it decides, and what it has to remember."""

from __future__ import annotations

from typing import Any

import pytest

from wasclean.closing.keepalive import READ_GRACE, Timing, Verdict
from wasclean.closing.liveness import Liveness
from wasclean.closing.outcome import Cause
from wasclean.closing.rates import NO_RATES, Rates
from wasclean.model.errors import RemoteProtocolError
from wasclean.model.violations import Violation

NOW = 100.0
NONE = Timing(None, None, None, None, None)


def opened(rates: Rates = NO_RATES, **limits: float) -> Liveness:
    liveness = Liveness(NONE._replace(**limits), rates)
    liveness.opened(NOW, 0.0)
    return liveness


def check(liveness: Liveness, now: float, **seen: Any) -> bytes | Verdict | None:
    seen = {"received_at": 0.0, "message_at": NOW, "paused": False, "backlog": 0, "slept": 0.0, **seen}
    return liveness.check(now, *seen.values())


def test_the_first_deadline_is_the_earliest_limit() -> None:
    assert opened().deadline == 0
    assert opened(ping_interval=20, idle_timeout=60).deadline == NOW + 20
    assert opened(ping_interval=20, idle_timeout=5, max_lifetime=9).deadline == NOW + 5
    assert opened(ping_timeout=20, write_timeout=1).deadline == 0


def test_a_pong_gives_the_round_trip_once_and_only_for_the_ping_that_waits() -> None:
    liveness = opened(ping_interval=20, ping_timeout=20)
    assert liveness.pong_received(b"", NOW) is None
    ping = check(liveness, NOW + 20)
    assert isinstance(ping, bytes)
    assert len(ping) == 4
    assert liveness.pong_received(b"other", NOW + 21) is None
    assert liveness.pong_received(ping, NOW + 21) == 1
    assert liveness.pong_received(ping, NOW + 22) is None


def test_a_ping_without_an_answer_ends_the_connection_after_a_grace() -> None:
    liveness = opened(ping_interval=20, ping_timeout=10)
    assert isinstance(check(liveness, NOW + 20), bytes)
    assert liveness.deadline == NOW + 30
    assert check(liveness, NOW + 30) is None
    assert liveness.deadline == NOW + 30 + READ_GRACE
    verdict = check(liveness, liveness.deadline)
    assert isinstance(verdict, Verdict)
    assert (verdict.why.cause, verdict.gently) == (Cause.PING_TIMEOUT, False)


def test_congestion_brings_the_deadline_forward_only_if_it_has_to() -> None:
    liveness = opened(ping_interval=20, write_timeout=10)
    assert liveness.writing_paused(NOW + 1, 5)
    assert liveness.deadline == NOW + 11
    assert not liveness.writing_paused(NOW + 2, 5)
    assert not opened(ping_interval=5, write_timeout=10).writing_paused(NOW, 5)
    assert not opened(ping_interval=5).writing_paused(NOW, 5)


def test_congestion_before_the_connection_is_open_sets_no_deadline() -> None:
    liveness = Liveness(NONE._replace(write_timeout=10), NO_RATES)
    assert not liveness.writing_paused(NOW, 5)
    liveness.opened(NOW, 0.0)
    assert liveness.deadline == 0


def test_a_transport_that_takes_bytes_again_is_forgiven() -> None:
    liveness = opened(write_timeout=10)
    liveness.writing_paused(NOW, 5)
    liveness.writing_resumed()
    assert check(liveness, NOW + 10, backlog=5) is None
    assert liveness.deadline == 0


@pytest.mark.parametrize(
    ("rates", "is_metered"),
    [(NO_RATES, False), (Rates(1, None, None), False), (Rates(None, 1, None), True), (Rates(None, None, 1), True)],
)
def test_only_limits_of_messages_and_bytes_are_checked_at_each_read(rates: Rates, is_metered: bool) -> None:
    assert Liveness(NONE, rates).is_metered == is_metered


def test_the_peers_pings_are_counted_if_they_are_limited() -> None:
    unlimited = opened()
    for _ in range(9):
        unlimited.count_ping(NOW)
    liveness = opened(Rates(2, None, None))
    liveness.count_ping(NOW)
    liveness.count_ping(NOW)
    with pytest.raises(RemoteProtocolError) as caught:
        liveness.count_ping(NOW)
    assert caught.value.violation is Violation.TOO_MANY_PINGS


def test_input_that_piled_up_while_nothing_was_read_is_excused() -> None:
    for pause, allowed in ((0.0, False), (10.0, True)):
        liveness = opened(Rates(None, 10, None))
        liveness.check_rates(10, 0, NOW)
        liveness.reading_resumed(NOW, NOW + pause)
        if allowed:
            liveness.check_rates(100, 0, NOW + pause)
        else:
            with pytest.raises(RemoteProtocolError):
                liveness.check_rates(100, 0, NOW + pause)
