"""The interpreter of the closing table by itself: what it asks of its caller, and what it records."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from wasclean.closing.handshake import LATE, ClosingHandshake, Step
from wasclean.closing.keepalive import READ_GRACE
from wasclean.closing.outcome import Cause, Initiator, Reason
from wasclean.closing.table import Ending, State
from wasclean.model.registry import CLOSE_TIMEOUT, LINGER, OPEN_TIMEOUT, CloseFrame
from wasclean.model.violations import Violation

NOW = 100.0
OURS = CloseFrame(4000, "ours")
THEIRS = CloseFrame(4001, "theirs")
WE_CLOSE = Reason(Cause.LOCAL_CLOSE, "because")
READS_NO_MORE = {
    *(Cause.CLOSE_TIMEOUT, Cause.WRITE_TIMEOUT, Cause.PING_TIMEOUT, Cause.LOOP_STALLED, Cause.SUSPENDED),
    *(Cause.SLOW_CONSUMER, Cause.INTERNAL_ERROR),
}


def connecting() -> ClosingHandshake:
    return ClosingHandshake(NOW)


def opened() -> ClosingHandshake:
    closing = ClosingHandshake(NOW)
    assert closing.established(NOW) is Step.ADOPT
    return closing


def closing_first() -> ClosingHandshake:
    """An end that has sent its Close frame."""
    closing = opened()
    assert closing.close(OURS, NOW, WE_CLOSE) is Step.QUEUE_CLOSE
    closing.close_queued(NOW)
    closing.flushed()
    return closing


def answering() -> ClosingHandshake:
    """An end that has received a Close frame, and queued its answer."""
    closing = opened()
    assert closing.receive(THEIRS, NOW, "said") is Step.QUEUE_CLOSE
    assert (closing.state, closing.outgoing) == (State.CLOSE_RECEIVED, THEIRS)
    closing.close_queued(NOW)
    return closing


# Steps.


def test_a_close_frame_is_queued_once() -> None:
    closing = closing_first()
    assert closing.close(THEIRS, NOW, WE_CLOSE) is Step.NOTHING
    assert (closing.state, closing.sent, closing.outgoing) == (State.CLOSE_SENT, OURS, None)


def test_an_answer_that_is_queued_completes_the_handshake() -> None:
    closing = answering()
    assert (closing.state, closing.ending, closing.was_clean) == (State.CLOSE_EXCHANGED, Ending.FINISH, False)
    closing.flushed()
    assert (closing.sent, closing.received, closing.was_clean) == (THEIRS, THEIRS, True)


def test_what_is_queued_changes_no_state_but_that_of_an_answer() -> None:
    closing = closing_first()
    closing.close_queued(NOW)
    assert closing.state is State.CLOSE_SENT


def test_an_event_without_effect_asks_for_nothing() -> None:
    closing = opened()
    assert closing.lost(NOW) is Step.ADOPT
    assert closing.close(OURS, NOW, WE_CLOSE) is Step.NOTHING
    assert closing.terminate(NOW, Reason(Cause.TERMINATED)) is Step.NOTHING
    assert closing.lost(NOW, Reason(Cause.TCP_RESET)) is Step.NOTHING
    assert (closing.state, closing.initiator, closing.cause) == (State.CLOSED, None, None)


def test_a_failure_queues_a_frame_with_the_violations_code() -> None:
    closing = opened()
    assert closing.fail(Violation.TEXT_NOT_UTF8, NOW, "byte 3") is Step.QUEUE_CLOSE
    assert closing.outgoing == CloseFrame(1007, Violation.TEXT_NOT_UTF8.text)
    assert (closing.violation, closing.failed, closing.cause) == (Violation.TEXT_NOT_UTF8, True, Cause.INVALID_UTF8)
    assert closing.error is not None
    assert closing.error.detail == "byte 3"
    assert closing.error.__traceback__ is None


def test_before_the_connection_is_open_nothing_is_queued() -> None:
    closing = ClosingHandshake(NOW)
    assert closing.close(OURS, NOW, WE_CLOSE) is Step.ADOPT
    assert (closing.state, closing.outgoing, closing.ending) == (State.FAILING, None, Ending.ABORT)


def test_a_handshake_that_is_complete_and_a_connection_that_is_closed_cannot_fail() -> None:
    closing = answering()
    assert closing.fail(Violation.RESERVED_BITS, NOW) is Step.NOTHING
    assert (closing.failed, closing.cause, closing.ending) == (False, Cause.PEER_CLOSE, Ending.FINISH)
    closing = opened()
    closing.lost(NOW, Reason(Cause.TCP_RESET))
    closing.refuse(OURS, NOW, Reason(Cause.POLICY))
    assert (closing.failed, closing.cause) == (False, Cause.TCP_RESET)


@pytest.mark.parametrize("begin", [connecting, opened, closing_first])
def test_any_other_connection_can_fail(begin: Callable[[], ClosingHandshake]) -> None:
    closing = begin()
    closing.refuse(OURS, NOW, Reason(Cause.POLICY))
    assert (closing.state, closing.failed, closing.cause) == (State.FAILING, True, Cause.POLICY)


# Close frames that have not left.


def test_a_close_frame_that_the_transport_holds_has_not_left() -> None:
    closing = closing_first()
    closing.writing_paused()
    assert (closing.outgoing, closing.sent) == (OURS, None)
    closing.writing_resumed()
    closing.flushed()
    assert (closing.outgoing, closing.sent) == (None, OURS)


def test_a_close_frame_of_a_lost_transport_is_neither_outgoing_nor_sent() -> None:
    closing = answering()
    closing.lost(NOW)
    assert (closing.outgoing, closing.sent, closing.was_clean) == (None, None, False)


def test_what_is_known_of_an_end_before_it_comes() -> None:
    closing = answering()
    code, reason, received, sent, initiator, cause = closing.facts()
    assert (code, reason, received, sent) == (4001, "theirs", THEIRS, THEIRS)
    assert (initiator, cause) == (Initiator.REMOTE, Cause.PEER_CLOSE)
    assert closing_first().facts() == (None, "", None, OURS, Initiator.LOCAL, Cause.LOCAL_CLOSE)
    closing = opened()
    closing.receive(CloseFrame(None, ""), NOW)
    assert closing.facts().code == 1005


def test_a_close_frame_that_could_not_be_queued_is_known_as_ours() -> None:
    closing = opened()
    closing.close(OURS, NOW, WE_CLOSE)
    assert closing.facts().sent == OURS


# Deadlines.


def test_the_opening_has_a_limit_that_can_be_changed_until_it_is_over() -> None:
    closing = ClosingHandshake(NOW)
    assert closing.deadline == NOW + OPEN_TIMEOUT
    closing.open_by(NOW + 1)
    assert closing.deadline == NOW + 1
    assert closing.time_up(NOW + 1) is Step.ADOPT
    assert (closing.state, closing.cause, closing.ending) == (State.FAILING, Cause.OPEN_TIMEOUT, Ending.ABORT)
    closing.open_by(NOW + 99)
    assert closing.deadline == NOW + 1 + LINGER


def test_an_open_connection_has_no_deadline_here() -> None:
    closing = opened()
    closing.open_by(NOW)
    assert closing.deadline == 0


def test_a_later_state_only_brings_the_deadline_forward() -> None:
    closing = closing_first()
    assert closing.deadline == NOW + CLOSE_TIMEOUT
    closing.receive(THEIRS, NOW + CLOSE_TIMEOUT - 1)
    assert closing.deadline == NOW + CLOSE_TIMEOUT
    closing = closing_first()
    closing.receive(THEIRS, NOW)
    assert closing.deadline == NOW + LINGER


def test_while_nothing_leaves_every_state_may_last_close_timeout() -> None:
    closing = opened()
    closing.writing_paused()
    closing.fail(Violation.RESERVED_BITS, NOW)
    assert closing.deadline == NOW + CLOSE_TIMEOUT
    closing = opened()
    closing.writing_paused()
    closing.receive(THEIRS, NOW)
    closing.close_queued(NOW)
    assert (closing.state, closing.deadline) == (State.CLOSE_EXCHANGED, NOW + CLOSE_TIMEOUT)
    closing.time_up(closing.deadline)
    assert closing.detail == "our Close frame, or what was sent before it, could not leave"


def test_a_deadline_that_strikes_late_gives_the_read_side_one_more_turn_in_each_state() -> None:
    closing = closing_first()
    late = closing.deadline + LATE + 0.001
    assert closing.time_up(late) is Step.NOTHING
    assert closing.deadline == late + READ_GRACE
    assert closing.time_up(late + 1) is Step.ADOPT
    assert (closing.cause, closing.detail) == (Cause.CLOSE_TIMEOUT, "the peer did not answer our Close frame")
    late = closing.deadline + LATE + 0.001
    assert closing.time_up(late) is Step.NOTHING
    assert closing.deadline == late + READ_GRACE


def test_an_alarm_that_is_late_by_no_more_than_the_limit_is_on_time() -> None:
    closing = ClosingHandshake(NOW)
    closing.open_by(LATE)
    assert closing.time_up(2 * LATE) is Step.ADOPT
    assert closing.cause is Cause.OPEN_TIMEOUT
    assert closing_first().time_up(NOW + CLOSE_TIMEOUT + 0.04) is Step.ADOPT
    assert closing_first().time_up(NOW + CLOSE_TIMEOUT + 0.06) is Step.NOTHING


def test_an_opening_whose_alarm_is_late_gets_one_more_turn_too() -> None:
    closing = ClosingHandshake(NOW)
    late = closing.deadline + LATE + 0.001
    assert closing.time_up(late) is Step.NOTHING
    assert (closing.state, closing.deadline) == (State.CONNECTING, late + READ_GRACE)


def test_an_abort_has_no_deadline() -> None:
    closing = opened()
    closing.fail(Violation.RESERVED_BITS, NOW)
    closing.time_up(closing.deadline)
    assert (closing.state, closing.ending, closing.deadline) == (State.FAILING, Ending.ABORT, 0)


def test_a_close_frame_that_is_still_queued_at_the_deadline_could_not_leave() -> None:
    closing = opened()
    closing.close(OURS, NOW, WE_CLOSE)
    closing.time_up(closing.deadline)
    assert closing.detail == "our Close frame, or what was sent before it, could not leave"


def test_once_the_transport_takes_bytes_again_a_failure_may_last_as_long_as_usual() -> None:
    closing = opened()
    closing.writing_paused()
    closing.writing_resumed()
    closing.fail(Violation.RESERVED_BITS, NOW)
    assert closing.deadline == NOW + LINGER


def test_close_timeout_limits_the_states_that_wait_for_a_close_frame() -> None:
    closing = ClosingHandshake(NOW, close_timeout=3)
    closing.established(NOW)
    closing.receive(THEIRS, NOW)
    assert (closing.state, closing.deadline) == (State.CLOSE_RECEIVED, NOW + 3)
    closing = ClosingHandshake(NOW, close_timeout=3)
    closing.established(NOW)
    closing.close(OURS, NOW, WE_CLOSE)
    assert (closing.state, closing.deadline) == (State.CLOSE_SENT, NOW + 3)
    closing = ClosingHandshake(NOW, close_timeout=30)
    closing.established(NOW)
    closing.eof(NOW, Reason(Cause.TCP_FIN))
    assert (closing.state, closing.deadline) == (State.FAILING, NOW + LINGER)


def test_a_timeout_of_close_itself_is_the_limit() -> None:
    closing = opened()
    closing.close(OURS, NOW, WE_CLOSE, 0.5)
    assert closing.deadline == NOW + 0.5
    closing = opened()
    closing.close(OURS, NOW, WE_CLOSE, 100)
    assert closing.deadline == NOW + 100


# Blame.


def test_a_reason_may_name_the_initiator() -> None:
    closing = ClosingHandshake(NOW)
    closing.refuse(OURS, NOW, Reason(Cause.HANDSHAKE_REJECTED, "403", Initiator.REMOTE))
    assert (closing.initiator, closing.cause, closing.detail) == (Initiator.REMOTE, Cause.HANDSHAKE_REJECTED, "403")


def test_the_first_initiator_stays() -> None:
    closing = closing_first()
    closing.lost(NOW, Reason(Cause.TCP_RESET, "", Initiator.NETWORK))
    assert (closing.initiator, closing.cause) == (Initiator.LOCAL, Cause.TCP_RESET)


@pytest.mark.parametrize("frame", [THEIRS, CloseFrame(4001, ""), CloseFrame(1000, "theirs")])
def test_frames_that_cross_have_two_initiators(frame: CloseFrame) -> None:
    closing = closing_first()
    closing.receive(frame, NOW)
    assert (closing.initiator, closing.cause) == (Initiator.SIMULTANEOUS, Cause.LOCAL_CLOSE)


@pytest.mark.parametrize("frame", [OURS, CloseFrame(4000, ""), CloseFrame(1000, ""), CloseFrame(None, "")])
def test_an_answer_does_not_cross(frame: CloseFrame) -> None:
    closing = closing_first()
    closing.receive(frame, NOW)
    assert closing.initiator is Initiator.LOCAL


@pytest.mark.parametrize("code", [None, 1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011, 4000])
def test_a_peer_that_closes_with_a_code_for_our_errors_reports_one(code: int | None) -> None:
    closing = opened()
    closing.receive(CloseFrame(code, ""), NOW, "at last")
    reports = code in (1002, 1003, 1007, 1009)
    assert closing.cause is (Cause.PEER_REPORTED_ERROR if reports else Cause.PEER_CLOSE)
    assert closing.detail == "at last"


def test_data_that_is_not_deflated_breaks_a_rule_of_the_protocol_whatever_its_code_says() -> None:
    closing = opened()
    closing.fail(Violation.NOT_DEFLATED, NOW)
    assert closing.cause is Cause.PROTOCOL_ERROR


def test_close_before_the_connection_is_open_is_the_reason() -> None:
    closing = ClosingHandshake(NOW)
    closing.close(OURS, NOW, WE_CLOSE)
    assert (closing.initiator, closing.why) == (Initiator.LOCAL, WE_CLOSE)


def test_a_failure_stays_the_reason_whatever_follows() -> None:
    closing = opened()
    closing.fail(Violation.RESERVED_BITS, NOW)
    why = closing.why
    closing.receive(THEIRS, NOW)
    closing.terminate(NOW, Reason(Cause.TERMINATED))
    closing.eof(NOW, Reason(Cause.TCP_FIN))
    closing.lost(NOW, Reason(Cause.TCP_RESET))
    assert (closing.state, closing.why) == (State.CLOSED, why)


def test_a_close_frame_is_not_what_breaks_a_handshake() -> None:
    closing = opened()
    closing.close(OURS, NOW, WE_CLOSE)
    closing.receive(THEIRS, NOW)
    assert (closing.state, closing.why, closing.initiator) == (
        State.CLOSE_EXCHANGED,
        WE_CLOSE,
        Initiator.SIMULTANEOUS,
    )
    closing = opened()
    closing.receive(THEIRS, NOW)
    closing.close(OURS, NOW, WE_CLOSE)
    assert (closing.state, closing.cause, closing.initiator) == (
        State.CLOSE_EXCHANGED,
        Cause.PEER_CLOSE,
        Initiator.REMOTE,
    )


def test_until_our_answer_has_left_the_handshake_can_break_but_not_by_what_has_no_effect() -> None:
    closing = answering()
    closing.eof(NOW, Reason(Cause.TCP_FIN))
    assert (closing.ending, closing.cause) == (Ending.HANG_UP, Cause.PEER_CLOSE)
    closing.time_up(closing.deadline)
    assert (closing.ending, closing.cause) == (Ending.ABORT, Cause.CLOSE_TIMEOUT)
    closing = answering()
    closing.lost(NOW, Reason(Cause.TCP_RESET))
    assert closing.cause is Cause.TCP_RESET


def test_a_clean_end_keeps_the_reason_that_began_it() -> None:
    closing = answering()
    closing.flushed()
    closing.time_up(closing.deadline)
    closing.lost(NOW, Reason(Cause.TCP_RESET))
    assert (closing.cause, closing.was_clean) == (Cause.PEER_CLOSE, True)


@pytest.mark.parametrize(("begin", "initiator"), [(connecting, Initiator.NETWORK), (opened, Initiator.REMOTE)])
@pytest.mark.parametrize("event", ["eof", "lost"])
def test_the_end_of_tcp_is_the_peers_but_before_there_is_a_connection_the_networks(
    begin: Callable[[], ClosingHandshake], initiator: Initiator, event: str
) -> None:
    closing = begin()
    getattr(closing, event)(NOW, Reason(Cause.TCP_RESET))
    assert closing.initiator is initiator


# How TCP ends.


@pytest.mark.parametrize("flushed", [False, True])
def test_an_open_connection_does_not_end_tcp(flushed: bool) -> None:
    assert opened().end_of_tcp(flushed, True) is None


def test_after_the_handshake_one_end_closes_tcp_first_and_the_other_waits() -> None:
    closing = answering()
    assert closing.end_of_tcp(False, True) is None
    assert closing.end_of_tcp(True, True) is Ending.HALF_CLOSE
    assert closing.end_of_tcp(True, False) is None


@pytest.mark.parametrize("closes_first", [False, True])
def test_a_failure_half_closes_once_its_frame_has_left(closes_first: bool) -> None:
    closing = opened()
    closing.fail(Violation.RESERVED_BITS, NOW)
    assert closing.end_of_tcp(False, closes_first) is None
    assert closing.end_of_tcp(True, closes_first) is Ending.HALF_CLOSE


def test_a_peer_that_has_hung_up_gets_the_answer_but_nothing_else() -> None:
    closing = answering()
    closing.eof(NOW, Reason(Cause.TCP_FIN))
    assert closing.end_of_tcp(False, True) is None
    assert closing.end_of_tcp(True, True) is Ending.HANG_UP
    closing = opened()
    closing.eof(NOW, Reason(Cause.TCP_FIN))
    assert closing.end_of_tcp(False, True) is Ending.HANG_UP


def test_an_event_that_ends_tcp_in_no_other_way_leaves_it_as_it_was() -> None:
    closing = opened()
    closing.fail(Violation.RESERVED_BITS, NOW)
    closing.receive(THEIRS, NOW)
    assert closing.ending is Ending.HALF_CLOSE


@pytest.mark.parametrize("flushed", [False, True])
def test_an_abort_waits_for_nothing_and_stays(flushed: bool) -> None:
    closing = answering()
    closing.terminate(NOW, Reason(Cause.TERMINATED))
    closing.eof(NOW, Reason(Cause.TCP_FIN))
    assert closing.end_of_tcp(flushed, True) is Ending.ABORT


@pytest.mark.parametrize("cause", Cause)
def test_tcp_is_reset_where_the_peer_reads_no_more(cause: Cause) -> None:
    closing = opened()
    closing.terminate(NOW, Reason(cause))
    assert closing.resets == (cause in READS_NO_MORE)


def test_tcp_is_reset_if_the_user_asks_for_it() -> None:
    closing = opened()
    closing.terminate(NOW, Reason(Cause.TERMINATED), True)
    assert closing.resets
    assert not opened().resets
