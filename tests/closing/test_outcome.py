"""The outcome of a connection: as a dict, as a line, and pickled."""

from __future__ import annotations

import copy
import errno
import json
import pickle
import socket
import ssl
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol_pair import few
from wasclean.closing.errors import ConnectionClosed, HandshakeError
from wasclean.closing.events import CloseEvent
from wasclean.closing.outcome import (
    CAUSES_OF_VIOLATIONS,
    REPORTS_OF_ERRORS,
    Cause,
    Facts,
    FrameNote,
    Initiator,
    Outcome,
    Phase,
    Stats,
    body_text,
)
from wasclean.model.errors import RemoteProtocolError, WebSocketError
from wasclean.model.heads import Response
from wasclean.model.registry import CloseCode, CloseFrame, Opcode, Role
from wasclean.model.violations import Violation
from wasclean.model.wording import count, one_line

FULL = Outcome(
    code=4000,
    reason="so long",
    was_clean=True,
    initiator=Initiator.REMOTE,
    cause=Cause.PEER_CLOSE,
    detail="3 ms after we sent a text message of 5 bytes",
    sent=CloseFrame(4000, "so long"),
    received=CloseFrame(4000, "so long"),
    unsent=("text", b"\xff\x00", ""),
    unflushed_bytes=17,
    discarded=5,
    exception=ConnectionResetError(errno.ECONNRESET, "reset"),
    violation=Violation.TEXT_NOT_UTF8,
    phase=Phase.HTTP,
    response=Response(503, b"busy"),
    stats=Stats(12.5, 0.25, None, 100, 200, 3, 4, 0.01, 6),
    frames=(FrameNote(True, Opcode.TEXT, False, 5, 0.5, True), FrameNote(False, Opcode.CLOSE, True, 2, 0.0)),
    role=Role.SERVER,
    id=7,
)


class TakesTwo(Exception):
    """An exception that can be pickled and not restored, as many can't."""

    def __init__(self, one: object, two: object) -> None:
        super().__init__(f"{one} and {two}")


class Held(Exception):
    """An exception that refers to something that can't be pickled."""

    def __init__(self) -> None:
        super().__init__("held")
        self.callback: Callable[[], None] = lambda: None


class Hostile(Exception):
    """An exception that resists."""

    def __reduce__(self) -> tuple[Any, ...]:
        raise RuntimeError("no")


# Causes.


def test_the_causes_are_these() -> None:
    """The set is part of the interface: a new one is added here, in explain.py and in the documentation."""
    assert [cause.value for cause in Cause] == [
        *("local_close", "peer_close", "peer_reported_error", "terminated", "cancelled", "handler_returned"),
        *("handler_error", "server_shutdown", "process_exit"),
        *("connect_failed", "proxy_failed", "tls_failed", "open_timeout", "handshake_rejected", "handshake_invalid"),
        *("tcp_fin", "tcp_fin_mid_frame", "tcp_reset", "tls_truncated"),
        *("ping_timeout", "close_timeout", "write_timeout", "idle_timeout", "max_lifetime", "loop_stalled"),
        "suspended",
        *("protocol_error", "invalid_utf8", "message_too_big", "policy", "slow_consumer", "internal_error"),
    ]


@pytest.mark.parametrize("cause", Cause)
def test_a_cause_is_its_value_and_has_words(cause: Cause) -> None:
    assert cause == cause.value == str(cause) == f"{cause}" == cause.name.lower()
    assert isinstance(cause, str)
    assert Cause(cause.value) is cause  # type: ignore[call-arg]
    assert pickle.loads(pickle.dumps(cause)) is cause
    assert copy.deepcopy(cause) is cause
    assert json.dumps(cause) == f'"{cause.value}"'
    assert cause.text
    assert not cause.text.endswith(".")


def test_no_two_causes_have_the_same_words() -> None:
    assert len({cause.text for cause in Cause}) == len(Cause)


def test_the_initiators_are_those_of_the_documentation() -> None:
    assert [str(initiator) for initiator in Initiator] == ["local", "remote", "simultaneous", "network"]


def test_the_phases_are_those_of_an_opening() -> None:
    assert [str(phase) for phase in Phase] == ["queued", "dns", "tcp", "proxy", "tls", "http"]


@pytest.mark.parametrize("violation", Violation)
def test_every_violation_has_a_cause(violation: Violation) -> None:
    expected = {1002: "protocol_error", 1007: "invalid_utf8", 1008: "policy", 1009: "message_too_big"}
    assert CAUSES_OF_VIOLATIONS[violation.code] == expected[violation.code]


def test_a_peer_complains_with_four_codes() -> None:
    assert {1002, 1003, 1007, 1009} == REPORTS_OF_ERRORS


# The record.


def test_an_outcome_has_defaults_and_cannot_be_changed() -> None:
    outcome = Outcome()
    assert (outcome.code, outcome.reason, outcome.was_clean, outcome.ok) == (1006, "", False, False)
    assert (outcome.initiator, outcome.unsent, outcome.frames, outcome.errno) == (Initiator.NETWORK, (), (), None)
    with pytest.raises(AttributeError):
        outcome.code = 1000  # type: ignore[misc]
    with pytest.raises(AttributeError):
        object.__setattr__(outcome, "stray", 1)


@pytest.mark.parametrize(
    ("clean", "code", "ok"),
    [
        *((True, code, True) for code in (1000, 1001, 1005)),
        *((True, code, False) for code in (1002, 1006, 1011, 3000, 4000)),
        *((False, code, False) for code in (1000, 1005, 1006)),
    ],
)
def test_an_end_is_ok_if_it_is_clean_and_nobody_complained(clean: bool, code: int, ok: bool) -> None:
    assert Outcome(was_clean=clean, code=code).ok is ok


@pytest.mark.parametrize(
    ("exception", "number"),
    [
        (None, None),
        (ValueError("x"), None),
        (OSError("x"), None),
        (OSError(errno.EPIPE, "x"), errno.EPIPE),
        (ConnectionRefusedError(errno.ECONNREFUSED, "x"), errno.ECONNREFUSED),
    ],
)
def test_the_error_number_is_the_exceptions(exception: Exception | None, number: int | None) -> None:
    assert Outcome(exception=exception).errno == number


def test_an_error_number_that_is_none_does_not_count() -> None:
    error = ValueError("x")
    error.errno = "five"  # type: ignore[attr-defined]
    assert Outcome(exception=error).errno is None


def test_an_outcome_of_nothing_counts_nothing() -> None:
    outcome = Outcome()
    assert (outcome.unflushed_bytes, outcome.discarded, outcome.id) == (0, 0, 0)
    assert outcome.stats == Stats(None, None, None, 0, 0, 0, 0, None, 0)


@pytest.mark.parametrize("error", [ssl.SSLError(1, "x"), socket.gaierror(-2, "x")])
def test_the_numbers_of_tls_and_of_name_servers_are_not_the_systems(error: OSError) -> None:
    assert Outcome(exception=error).errno is None


# The body of a refusal.


@pytest.mark.parametrize(
    ("kind", "body", "text"),
    [
        ("text/plain", b"no\n  entry ", "no entry"),
        ("text/html; charset=utf-8", b"<p>", "<p>"),
        ("application/json", b"{}", "{}"),
        ("application/problem+json", b"{}", "{}"),
        ("image/png", b"no", ""),
        ("text/plain", b"\xff", ""),
        ("text/plain", b"a\x1b", "a\\x1b"),
        ("text/plain", b"x" * 200, "x" * 200),
        ("text/plain", b"x" * 201, "x" * 200 + "..."),
        ("text/plain", "\U0001f600".encode() * 200, "\U0001f600" * 200),
    ],
)
def test_the_beginning_of_a_text_is_told_in_a_line(kind: str, body: bytes, text: str) -> None:
    assert body_text(Response(403, body, {"Content-Type": kind})) == text


# As a dict.


def test_a_dict_has_everything_in_the_types_of_json() -> None:
    assert json.loads(json.dumps(FULL.as_dict())) == {
        "id": 7,
        "role": "server",
        "code": 4000,
        "reason": "so long",
        "wasClean": True,
        "ok": False,
        "initiator": "remote",
        "cause": "peer_close",
        "detail": "3 ms after we sent a text message of 5 bytes",
        "sent": {"code": 4000, "reason": "so long"},
        "received": {"code": 4000, "reason": "so long"},
        "unsent": 3,
        "unflushed_bytes": 17,
        "discarded": 5,
        "exception": f"ConnectionResetError({errno.ECONNRESET}, 'reset')",
        "errno": errno.ECONNRESET,
        "violation": "TEXT_NOT_UTF8",
        "phase": "http",
        "status": 503,
        "body": "busy",
        "stats": {
            "age": 12.5,
            "last_received": 0.25,
            "last_sent": None,
            "bytes_received": 100,
            "bytes_sent": 200,
            "messages_received": 3,
            "messages_sent": 4,
            "rtt": 0.01,
            "buffered": 6,
        },
        "frames": [
            {"sent": True, "opcode": "TEXT", "fin": False, "size": 5, "age": 0.5, "compressed": True},
            {"sent": False, "opcode": "CLOSE", "fin": True, "size": 2, "age": 0.0, "compressed": False},
        ],
    }


def test_a_dict_of_nothing_is_json_too() -> None:
    facts = json.loads(json.dumps(Outcome().as_dict()))
    assert set(facts) == set(FULL.as_dict())
    empty = ("sent", "received", "exception", "errno", "violation", "phase", "status")
    assert {facts[name] for name in empty} == {None}
    assert (facts["unsent"], facts["frames"]) == (0, [])


@pytest.mark.parametrize("code", [CloseCode.GOING_AWAY, 1001])
def test_a_dict_has_plain_numbers(code: int) -> None:
    facts = Outcome(code=code, sent=CloseFrame(code, "")).as_dict()
    assert type(facts["code"]) is int
    assert json.dumps(facts["sent"]) == '{"code": 1001, "reason": ""}'


def test_a_dict_does_not_show_messages() -> None:
    outcome = Outcome(unsent=("a secret", b"another"))
    assert "secret" not in repr(outcome.as_dict())
    assert "another" not in repr(outcome.as_dict())


# As a line.


def test_a_line_tells_the_essentials() -> None:
    assert str(FULL) == (
        "closed cleanly by remote (peer_close), 4000 Private Use 'so long': "
        "3 ms after we sent a text message of 5 bytes; 3 messages not sent"
    )
    assert str(Outcome(cause=Cause.TCP_RESET, initiator=Initiator.REMOTE, unsent=("x",))) == (
        "closed uncleanly by remote (tcp_reset), 1006 Abnormal Closure; 1 message not sent"
    )


@pytest.mark.parametrize("text", ["a\nb", "a\0\x1b[2J\r\nb", "\u2028", "\x85", "\u202e", "\ud800", "\u200b"])
def test_what_the_peer_says_cannot_forge_a_line_of_a_log(text: str) -> None:
    line = str(Outcome(reason=text, detail=text, cause=Cause.PROTOCOL_ERROR))
    assert line.isprintable()
    assert len(line.splitlines()) == 1
    line.encode()


@given(text=st.text(st.characters(), max_size=50))
@few
def test_any_text_becomes_one_line_that_can_be_printed(text: str) -> None:
    line = one_line(text)
    assert line.isprintable()
    line.encode()
    if text.isprintable():
        assert line == text


def test_what_one_line_escapes_can_be_read() -> None:
    assert one_line("a\nb\t\x1b€ ä\u2028\U000e0001") == "a\\nb\\t\\x1b€ ä\\u2028\\U000e0001"


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 messages"), (1, "1 message"), (2, "2 messages"), (12345, "12,345 messages")]
)
def test_things_are_counted_in_words(number: int, text: str) -> None:
    assert count(number, "message") == text


# As a pickle.


def same(one: Outcome, other: Outcome) -> bool:
    """True if all attributes are equal, except for the exception and the response, which have no equality."""
    return all(
        getattr(one, name) == getattr(other, name) for name in Outcome._fields if name not in ("exception", "response")
    )


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_an_outcome_can_be_pickled(protocol: int) -> None:
    restored = pickle.loads(pickle.dumps(FULL, protocol))
    assert type(restored) is Outcome
    assert same(restored, FULL)
    assert repr(restored.exception) == repr(FULL.exception)
    assert restored.errno == errno.ECONNRESET
    assert restored.response is not None
    assert restored.response.status == 503
    assert str(restored) == str(FULL)
    assert restored.as_dict() == FULL.as_dict()


@pytest.mark.parametrize("error", [TakesTwo("one", "two"), Held(), Hostile("x")])
def test_an_exception_that_cannot_be_pickled_is_told_in_words(error: Exception) -> None:
    outcome = FULL._replace(exception=error)
    restored = pickle.loads(pickle.dumps(outcome))
    assert same(restored, outcome)
    assert type(restored.exception) is WebSocketError
    assert str(restored.exception) == repr(error)
    assert outcome.exception is error


@pytest.mark.parametrize(
    "error",
    [
        None,
        OSError(errno.EPIPE, "broken"),
        TimeoutError("late"),
        RemoteProtocolError(Violation.RESERVED_BITS),
        RemoteProtocolError(Violation.RESERVED_OPCODE, "opcode 0x3"),
        HandshakeError("no", status=503),
    ],
)
def test_exceptions_that_can_be_pickled_are_kept(error: Exception | None) -> None:
    restored = pickle.loads(pickle.dumps(Outcome(exception=error)))
    assert type(restored.exception) is type(error)
    assert repr(restored.exception) == repr(error)


def test_an_exception_that_refers_to_the_event_can_be_pickled() -> None:
    error = HandshakeError("no", status=503)
    event = CloseEvent("close", outcome=Outcome(exception=error, code=1006))
    error.event = event
    for thing in (event, error, ConnectionClosed(event)):
        restored = pickle.loads(pickle.dumps(thing))
        assert type(restored) is type(thing)
        assert str(restored) == str(thing)


def test_an_outcome_can_be_copied() -> None:
    assert same(copy.copy(FULL), FULL)
    assert same(copy.deepcopy(FULL), FULL)


# What is known before the end.

HERE, THERE = CloseFrame(1001, ""), CloseFrame(4003, "kicked\n")


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        (
            Facts(4003, "kicked\n", THERE, None, Initiator.REMOTE, Cause.PEER_CLOSE),
            r"the peer is closing with 4003 'kicked\n'",
        ),
        (Facts(1005, "", CloseFrame(None, ""), None, Initiator.REMOTE, None), "the peer is closing without a code"),
        (
            Facts(4003, "kicked\n", THERE, HERE, Initiator.LOCAL, Cause.SERVER_SHUTDOWN),
            "this end is closing with 1001: the server shut down",
        ),
        (
            Facts(4003, "kicked\n", THERE, HERE, Initiator.SIMULTANEOUS, Cause.LOCAL_CLOSE),
            r"both ends are closing: this end is closing with 1001, the peer is closing with 4003 'kicked\n'",
        ),
        (
            Facts(None, "", None, None, Initiator.REMOTE, Cause.TCP_FIN),
            "the connection is closing: TCP ended without a Close frame",
        ),
        (
            Facts(None, "", None, None, Initiator.LOCAL, Cause.TERMINATED),
            "the connection is closing: terminate() was called",
        ),
        (Facts(None, "", None, None, None, None), "the connection is closing"),
    ],
)
def test_what_is_known_before_the_end_is_told_in_a_line(facts: Facts, told: str) -> None:
    error = ConnectionClosed(None, facts)
    for each in (error, copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert str(each) == told
        assert (each.event, each.code, each.reason) == (None, facts.code, facts.reason)
        assert (each.received, each.sent, each.initiator, each.cause) == facts[2:]


def test_an_error_without_anything_to_tell_says_that_the_connection_is_closing() -> None:
    error = ConnectionClosed()
    assert str(error) == "the connection is closing"
    assert (error.event, error.code, error.reason, error.received, error.cause) == (None, None, "", None, None)
