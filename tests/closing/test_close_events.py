"""CloseEvent and ErrorEvent: the standard's constructors, and an outcome's facts as attributes."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest

from wasclean.closing.events import CloseEvent, ErrorEvent
from wasclean.closing.explain import explain
from wasclean.closing.outcome import Cause, FrameNote, Initiator, Outcome, Phase, Stats
from wasclean.dom.event import Event
from wasclean.dom.event_target import EventTarget
from wasclean.model.heads import Response
from wasclean.model.registry import CloseCode, CloseFrame, Opcode, Role

OUTCOME = Outcome(
    code=1000,
    reason="so long",
    was_clean=True,
    initiator=Initiator.REMOTE,
    cause=Cause.PEER_CLOSE,
    detail="particulars",
    sent=CloseFrame(1000, "so long"),
    received=CloseFrame(1000, "so long"),
    unsent=("text", b"bytes"),
    unflushed_bytes=9,
    discarded=3,
    exception=ConnectionResetError(104, "reset"),
    phase=Phase.TLS,
    response=Response(404),
    stats=Stats(1.0, None, None, 1, 2, 3, 4, None, 5),
    frames=(FrameNote(True, Opcode.PING, True, 4, 1.5),),
    role=Role.CLIENT,
    id=5,
)

FACTS = {
    *("initiator", "cause", "detail", "sent", "received", "unsent", "unflushed_bytes", "discarded", "exception"),
    *("errno", "phase", "response", "stats", "frames"),
}

both_kinds = pytest.mark.parametrize("kind", [CloseEvent, ErrorEvent])


@both_kinds
@pytest.mark.parametrize("name", sorted(FACTS))
def test_an_event_tells_what_its_outcome_says(kind: type[CloseEvent | ErrorEvent], name: str) -> None:
    event = kind("close", outcome=OUTCOME)
    assert getattr(event, name) == getattr(OUTCOME, name)
    assert event.outcome is OUTCOME


def test_a_close_event_tells_how_it_ended() -> None:
    event = CloseEvent("close", outcome=OUTCOME)
    assert (event.wasClean, event.code, event.reason, event.ok) == (True, 1000, "so long", True)
    assert (event.initiator, event.errno) == ("remote", 104)
    assert str(event).startswith("closed cleanly by remote (peer_close), 1000 Normal Closure 'so long'")
    assert repr(event) == (
        "<CloseEvent code=1000 reason='so long' wasClean=True initiator=remote cause=peer_close detail='particulars'>"
    )


@both_kinds
def test_an_event_explains_itself_and_can_be_logged(kind: type[CloseEvent | ErrorEvent]) -> None:
    event = kind("close", outcome=OUTCOME)
    assert event.explain() == explain(OUTCOME)
    assert json.loads(json.dumps(event.as_dict())) == json.loads(json.dumps(OUTCOME.as_dict()))


def test_a_code_is_a_plain_number() -> None:
    event = CloseEvent("close", outcome=Outcome(code=CloseCode.GOING_AWAY))
    assert type(event.code) is int
    assert f"{event.code}" == "1001"


def test_a_reason_cannot_forge_a_line_of_a_log() -> None:
    outcome = Outcome(
        was_clean=True, code=4000, reason="a\0\x1b[2J\nb", detail="c\r\nd\x1b", initiator=Initiator.REMOTE
    )
    event = CloseEvent("close", outcome=outcome)
    assert (event.reason, event.detail) == ("a\0\x1b[2J\nb", "c\r\nd\x1b")
    for text in (str(event), repr(event)):
        assert text.isprintable()


# The constructors of the standard.


def test_a_close_event_that_is_made_by_hand_has_the_standards_defaults() -> None:
    event = CloseEvent("close")
    assert (event.wasClean, event.code, event.reason, event.isTrusted) == (False, 0, "", False)
    assert (event.sent, event.received, event.exception, event.unsent) == (None, None, None, ())


def test_a_close_event_can_be_made_by_hand() -> None:
    event = CloseEvent("close", wasClean=True, code=4000, reason="so long")
    assert (event.type, event.wasClean, event.code, event.reason) == ("close", True, 4000, "so long")
    assert event.outcome == Outcome(code=4000, reason="so long", was_clean=True, cause=Cause.PEER_CLOSE)
    assert CloseEvent("close", code=1006).cause is Cause.TCP_FIN


@pytest.mark.parametrize(
    ("clean", "code", "ok"),
    [
        *((True, code, True) for code in (1000, 1001, 1005)),
        *((True, code, False) for code in (1002, 1006, 1011, 3000, 4000)),
        *((False, code, False) for code in (1000, 1005, 1006)),
    ],
)
def test_an_end_is_ok_if_it_is_clean_and_nobody_complained(clean: bool, code: int, ok: bool) -> None:
    assert CloseEvent("close", wasClean=clean, code=code).ok is ok


def test_an_error_event_has_a_message() -> None:
    error = ValueError("x")
    event = ErrorEvent("error", message="what went wrong", error=error)
    assert (event.message, event.error, str(event)) == ("what went wrong", error, "what went wrong")
    assert event.exception is error
    assert repr(event) == "<ErrorEvent 'what went wrong'>"
    event = ErrorEvent("error", message="what went wrong", outcome=OUTCOME)
    assert event.error is OUTCOME.exception
    plain = ErrorEvent("error")
    assert (plain.message, plain.error, plain.cause) == ("", None, Outcome().cause)


@both_kinds
def test_every_event_takes_the_doms_initial_values(kind: type[Event]) -> None:
    plain = kind("x")
    assert (plain.bubbles, plain.cancelable, plain.composed) == (False, False, False)
    event = kind("x", bubbles=True, cancelable=True, composed=True)
    assert (event.type, event.bubbles, event.cancelable, event.composed) == ("x", True, True, True)


@both_kinds
@pytest.mark.parametrize("options", [{"wasclean": True}, {"initiator": "local"}, {"detail": "x"}])
def test_what_no_constructor_knows_is_refused(kind: Any, options: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        kind("close", **options)


@both_kinds
@pytest.mark.parametrize("name", ["type", "target", "isTrusted", "timeStamp", "note", "outcome", *sorted(FACTS)])
def test_the_attributes_of_an_event_cannot_be_set(kind: type[Event], name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(kind("x"), name, "x")


@pytest.mark.parametrize("name", ["wasClean", "code", "reason", "ok"])
def test_those_of_a_close_event_cannot_either(name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(CloseEvent("close"), name, 1)


@both_kinds
def test_an_event_is_dispatched_like_any_other(kind: type[Event]) -> None:
    target, event, seen = EventTarget(), kind("close"), []
    target.addEventListener("close", lambda event: seen.append((event, event.target)))
    assert target.dispatchEvent(event)
    assert seen == [(event, target)]


# Pickles.


def test_a_close_event_is_pickled_without_its_target() -> None:
    target, event = EventTarget(), CloseEvent("close", outcome=OUTCOME)
    target.dispatchEvent(event)
    for other in (pickle.loads(pickle.dumps(event)), copy.copy(event), copy.deepcopy(event)):
        assert type(other) is CloseEvent
        assert (other.type, other.target, other.isTrusted) == ("close", None, False)
        assert (str(other), repr(other), other.as_dict()) == (str(event), repr(event), event.as_dict())
        assert other.unsent == ("text", b"bytes")


def test_an_error_event_is_pickled_with_its_message() -> None:
    event = ErrorEvent("error", message="what went wrong", outcome=OUTCOME)
    other = pickle.loads(pickle.dumps(event))
    assert (type(other), other.type, other.message) == (ErrorEvent, "error", "what went wrong")
    assert other.as_dict() == event.as_dict()
    assert repr(other.error) == repr(event.error)
