"""An outcome in words: the whole of it for each cause in explanations.txt, and what holds for all of them."""

from __future__ import annotations

import errno
import os
import re
from itertools import pairwise
from pathlib import Path
from ssl import SSLError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol_pair import many
from wasclean.closing.explain import MAX_FRAMES, explain
from wasclean.closing.intermediaries import EARLY, LATE, LATE_SHARE, LIMITS, Ending, Kind, Limit, matching
from wasclean.closing.outcome import Cause, FrameNote, Initiator, Outcome, Phase, Stats
from wasclean.model.heads import Response
from wasclean.model.registry import CloseCode, CloseFrame, Opcode, Role
from wasclean.model.violations import Violation
from wasclean.model.wording import MAX_DETAIL, WIDTH

GOLDEN = Path(__file__).with_name("explanations.txt")
UPDATE = "UPDATE_GOLDEN"

LOCAL, REMOTE, NETWORK = Initiator.LOCAL, Initiator.REMOTE, Initiator.NETWORK
CLIENT, SERVER = Role.CLIENT, Role.SERVER
DONE, AWAY, EMPTY = CloseFrame(1000, "done"), CloseFrame(1001, ""), CloseFrame(None, "")


def passed(age: float, received: float | None, sent: float | None, **more: Any) -> Stats:
    """Some traffic: for how long, and when the last byte came and went."""
    facts: dict[str, Any] = {"messages_received": 340, "messages_sent": 12, "rtt": 0.02, "buffered": 0, **more}
    return Stats(age, received, sent, 52_000, 1900, **facts)


def received(opcode: Opcode, size: int, age: float) -> FrameNote:
    return FrameNote(False, opcode, True, size, age)


def sent(opcode: Opcode, size: int, age: float, *, fin: bool = True) -> FrameNote:
    return FrameNote(True, opcode, fin, size, age)


TALK = passed(94.44, 4.2, 3.1)
CHAT = (received(Opcode.TEXT, 119, 4.2), sent(Opcode.TEXT, 1, 3.1))
QUIET = (received(Opcode.TEXT, 119, 75.0), sent(Opcode.TEXT, 48, 60.1))
TLS_VERSION = "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)"
TLS_SELF_SIGNED = "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate (_ssl.c:1006)"


def ended(cause: Cause, initiator: Initiator = NETWORK, **facts: Any) -> Outcome:
    """The end, not clean unless both Close frames are given, of a connection that was open."""
    facts.setdefault("stats", TALK)
    facts.setdefault("was_clean", facts.get("sent") is not None and facts.get("received") is not None)
    frame = facts.get("received")
    if frame is not None:
        facts.setdefault("code", CloseCode.NO_STATUS_RCVD if frame.code is None else frame.code)
        facts.setdefault("reason", frame.reason)
    return Outcome(cause=cause, initiator=initiator, **facts)


def failed(cause: Cause, **facts: Any) -> Outcome:
    """The end of an attempt to connect."""
    return Outcome(cause=cause, **facts)


def refused(status: int, role: Role = CLIENT, body: str | bytes = b"", **facts: Any) -> Outcome:
    response = Response(status, body)
    detail = f"the server answered {status} {response.reason!a} instead of 101"
    return failed(Cause.HANDSHAKE_REJECTED, initiator=REMOTE, detail=detail, response=response, role=role, **facts)


#: An outcome for each cause, and for each of its variants.
FIXTURES = {
    "local_close": ended(Cause.LOCAL_CLOSE, LOCAL, sent=DONE, received=DONE, frames=CHAT),
    "local_close: after compressed messages": ended(
        Cause.LOCAL_CLOSE,
        LOCAL,
        sent=DONE,
        received=DONE,
        frames=(
            FrameNote(False, Opcode.TEXT, True, 1190, 75.0, compressed=True),
            FrameNote(True, Opcode.BINARY, False, 131_072, 4.0, compressed=True),
            FrameNote(True, Opcode.CONTINUATION, True, 17, 4.0),
            received(Opcode.TEXT, 119, 3.0),
        ),
    ),
    "local_close: without a code, and the queue was not read to its end": ended(
        Cause.LOCAL_CLOSE, LOCAL, sent=EMPTY, received=EMPTY, discarded=4096
    ),
    "local_close: on a server": ended(
        Cause.LOCAL_CLOSE, LOCAL, sent=CloseFrame(1008, "log in first"), received=CloseFrame(1008, ""), role=SERVER
    ),
    "local_close: on both sides at once": ended(
        Cause.LOCAL_CLOSE, Initiator.SIMULTANEOUS, sent=DONE, received=CloseFrame(4001, "replaced")
    ),
    "local_close: before the connection was open": failed(Cause.LOCAL_CLOSE, initiator=LOCAL, phase=Phase.TCP),
    "peer_close": ended(Cause.PEER_CLOSE, REMOTE, sent=AWAY, received=AWAY),
    "peer_close: on a server": ended(Cause.PEER_CLOSE, REMOTE, sent=EMPTY, received=EMPTY, role=SERVER),
    "peer_close: with a code of the application's": ended(
        Cause.PEER_CLOSE, REMOTE, sent=CloseFrame(4001, ""), received=CloseFrame(4001, "replaced\x1b[2J by another")
    ),
    "peer_close: with a library's code": ended(
        Cause.PEER_CLOSE, REMOTE, sent=CloseFrame(3008, ""), received=CloseFrame(3008, "")
    ),
    "peer_close: the server restarts": ended(
        Cause.PEER_CLOSE, REMOTE, sent=CloseFrame(1012, ""), received=CloseFrame(1012, "back in a minute")
    ),
    "peer_close: after the two hours that AWS API Gateway gives": ended(
        Cause.PEER_CLOSE, REMOTE, sent=AWAY, received=AWAY, stats=passed(7200.4, 11.0, 10.0)
    ),
    "peer_close: our answer did not leave": ended(
        Cause.PEER_CLOSE,
        REMOTE,
        received=CloseFrame(1013, ""),
        unsent=("a", b"bc"),
        unflushed_bytes=40_000,
        stats=passed(9.0, 0.0, 2.0, buffered=1_234_567),
    ),
    "peer_reported_error: 1009": ended(
        Cause.PEER_REPORTED_ERROR,
        REMOTE,
        sent=CloseFrame(1009, ""),
        received=CloseFrame(1009, "too big"),
        frames=(sent(Opcode.BINARY, 2_100_000, 0.4), received(Opcode.CLOSE, 9, 0.1), sent(Opcode.CLOSE, 2, 0.1)),
    ),
    "peer_reported_error: 1003": ended(
        Cause.PEER_REPORTED_ERROR, REMOTE, sent=CloseFrame(1003, ""), received=CloseFrame(1003, "text only")
    ),
    "terminated": ended(Cause.TERMINATED, LOCAL, unsent=("x",), stats=passed(0.5, 0.4, None, messages_sent=0)),
    "terminated: before the connection was open": failed(Cause.TERMINATED, initiator=LOCAL, phase=Phase.DNS),
    "cancelled": ended(Cause.CANCELLED, LOCAL, sent=AWAY, received=AWAY),
    "cancelled: before the connection was open": failed(Cause.CANCELLED, initiator=LOCAL, phase=Phase.HTTP),
    "handler_returned": ended(
        Cause.HANDLER_RETURNED, LOCAL, sent=CloseFrame(1000, ""), received=CloseFrame(1000, ""), role=SERVER
    ),
    "handler_error": ended(
        Cause.HANDLER_ERROR,
        LOCAL,
        sent=CloseFrame(1011, ""),
        received=CloseFrame(1011, ""),
        exception=KeyError("secret"),
        role=SERVER,
    ),
    "server_shutdown": ended(Cause.SERVER_SHUTDOWN, LOCAL, sent=AWAY, received=AWAY, role=SERVER),
    "process_exit": ended(Cause.PROCESS_EXIT, LOCAL, sent=AWAY),
    "connect_failed: nothing listens": failed(
        Cause.CONNECT_FAILED,
        phase=Phase.TCP,
        detail=f"[Errno {errno.ECONNREFUSED}] Connect call failed ('127.0.0.1', 8080)",
    ),
    "connect_failed: no such name": failed(
        Cause.CONNECT_FAILED, phase=Phase.DNS, detail="[Errno -2] Name or service not known"
    ),
    "connect_failed: the error has no detail": failed(
        Cause.CONNECT_FAILED, phase=Phase.HTTP, exception=ConnectionResetError()
    ),
    "connect_failed: the server left when it was asked": failed(
        Cause.CONNECT_FAILED,
        phase=Phase.HTTP,
        detail="the server closed the connection before it had answered the handshake",
    ),
    "proxy_failed: the proxy of the environment is down": failed(
        Cause.PROXY_FAILED,
        phase=Phase.PROXY,
        detail=f"[Errno {errno.ECONNREFUSED}] Connect call failed ('127.0.0.1', 3128); "
        "the proxy is http://127.0.0.1:3128, from http_proxy in the environment",
    ),
    "proxy_failed: no tunnel": failed(
        Cause.PROXY_FAILED,
        phase=Phase.PROXY,
        response=Response(503, "<html>no such host</html>", {"Content-Type": "text/html"}),
        detail="the proxy answered 503 'Service Unavailable'; the proxy is http://proxy:3128, from proxy=",
    ),
    "proxy_failed": failed(
        Cause.PROXY_FAILED, phase=Phase.PROXY, response=Response(407), detail="the proxy answered 407"
    ),
    "tls_failed: the port does not speak TLS": failed(
        Cause.TLS_FAILED, code=1015, phase=Phase.TLS, exception=SSLError(1, TLS_VERSION)
    ),
    "tls_failed: a certificate that the server made itself": failed(
        Cause.TLS_FAILED, code=1015, phase=Phase.TLS, detail=TLS_SELF_SIGNED
    ),
    "open_timeout": failed(Cause.OPEN_TIMEOUT, initiator=LOCAL, phase=Phase.HTTP, exception=TimeoutError()),
    "open_timeout: after another address had failed": failed(
        Cause.OPEN_TIMEOUT,
        initiator=LOCAL,
        phase=Phase.TCP,
        exception=TimeoutError(
            "the opening handshake took longer than 10 s; before that: [Errno 111] Connect call failed ('::1', 80)"
        ),
    ),
    "local_close: while it waited for its turn": failed(Cause.LOCAL_CLOSE, initiator=LOCAL, phase=Phase.QUEUED),
    **{
        f"open_timeout: {phase}": failed(
            Cause.OPEN_TIMEOUT, initiator=LOCAL, phase=phase, exception=TimeoutError("it took longer than 10 s")
        )
        for phase in (Phase.DNS, Phase.TCP, Phase.PROXY, Phase.TLS)
    },
    "open_timeout: on a server": failed(Cause.OPEN_TIMEOUT, initiator=LOCAL, role=SERVER),
    "handshake_rejected: 200": refused(200),
    "handshake_rejected: 403": refused(403),
    "handshake_rejected: 401, and why": refused(401, body="error:\n token expired\x1b[2J!"),
    "handshake_rejected: 400 of nginx, whose port speaks TLS": refused(
        400, body="<html>400 The plain HTTP request was sent to HTTPS port</html>"
    ),
    "handshake_rejected: 400 of Go, whose port speaks TLS": refused(
        400, body="Client sent an HTTP request to an HTTPS server.\n"
    ),
    "handshake_rejected: 500, with a picture": refused(500, body=b"\x89PNG"),
    "handshake_rejected: 502": refused(502),
    "handshake_rejected: 418, about which there is no guess": refused(418),
    "handshake_rejected: on a server": failed(
        Cause.HANDSHAKE_REJECTED, detail="the Origin 'https://example.com' may not connect", role=SERVER
    ),
    "handshake_invalid": failed(
        Cause.HANDSHAKE_INVALID, detail="the server's answer lacks Upgrade: websocket", response=Response(101)
    ),
    "handshake_invalid: no subprotocol": failed(
        Cause.HANDSHAKE_INVALID,
        detail="the server picked none of the subprotocols offered: chat, superchat",
        response=Response(101),
    ),
    "handshake_invalid: a subprotocol that was not offered": failed(
        Cause.HANDSHAKE_INVALID,
        detail="the server picked a subprotocol that was not offered: graphql-ws; offered: chat",
        response=Response(101),
    ),
    "handshake_invalid: the port speaks TLS": failed(
        Cause.HANDSHAKE_INVALID,
        detail="the server's answer is malformed: it is TLS, not HTTP (is the URL wss: on one side and ws: on the "
        "other?)",
    ),
    "handshake_invalid: SSH": failed(
        Cause.HANDSHAKE_INVALID,
        detail="the server's answer is malformed: it starts with the byte 0x53, so it is not HTTP but SSH: "
        "'SSH-2.0-OpenSSH_9.2'",
    ),
    "handshake_invalid: another Sec-WebSocket-Accept": failed(
        Cause.HANDSHAKE_INVALID,
        detail="the server's answer has Sec-WebSocket-Accept: x, not s3pPLMBiTxaQ9kYGzzhZRbK+xOo= for our key",
        response=Response(101),
    ),
    "tcp_fin: after 4 s of silence, which no known limit has": ended(
        Cause.TCP_FIN,
        REMOTE,
        stats=passed(20.0, 4.02, 4.03),
        frames=(received(Opcode.TEXT, 5, 6.5), sent(Opcode.TEXT, 5, 4.03)),
    ),
    "tcp_fin: amid a talk": ended(
        Cause.TCP_FIN,
        REMOTE,
        stats=passed(20.0, 3.0, 3.1),
        frames=(received(Opcode.TEXT, 5, 12.0), sent(Opcode.TEXT, 5, 3.1), received(Opcode.TEXT, 5, 3.0)),
    ),
    "tcp_fin: nothing is known but that": ended(Cause.TCP_FIN, REMOTE),
    "tcp_fin: on a server": ended(Cause.TCP_FIN, REMOTE, role=SERVER, frames=CHAT[:1]),
    "tcp_fin: after 60.1 s of silence": ended(Cause.TCP_FIN, REMOTE, stats=passed(302.4, 75.0, 60.1), frames=QUIET),
    "tcp_fin: after 55.3 s of silence, with nothing sent": ended(
        Cause.TCP_FIN, REMOTE, stats=passed(95.0, 55.3, 55.3, messages_sent=0)
    ),
    "tcp_fin: at the age of five minutes": ended(Cause.TCP_FIN, REMOTE, stats=passed(300.2, 0.3, 1.2)),
    "tcp_fin: just after a large message": ended(
        Cause.TCP_FIN,
        REMOTE,
        detail="3 ms after we sent a text message of 2,100,000 bytes",
        stats=passed(4.0, 2.0, 0.003),
        frames=(
            received(Opcode.TEXT, 20, 2.0),
            sent(Opcode.TEXT, 1_048_576, 0.005, fin=False),
            sent(Opcode.CONTINUATION, 1_048_576, 0.004, fin=False),
            sent(Opcode.CONTINUATION, 2848, 0.003),
        ),
    ),
    "tcp_fin: instead of an answer to our Close frame": ended(
        Cause.TCP_FIN, LOCAL, sent=DONE, stats=passed(12.0, 0.1, 0.05)
    ),
    "tcp_fin: before the connection was open": failed(Cause.TCP_FIN, phase=Phase.HTTP),
    "tcp_fin_mid_frame": ended(
        Cause.TCP_FIN_MID_FRAME,
        REMOTE,
        detail="EOF 4,092 bytes into the payload of a frame of 4,096",
        discarded=4092,
        stats=passed(302.4, 0.02, 8.0),
    ),
    "tcp_reset": ended(
        Cause.TCP_RESET,
        REMOTE,
        exception=ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
        unsent=("one", "two", "three"),
        stats=passed(500.0, 1.5, 0.01, buffered=9000),
    ),
    "tcp_reset: the first frame after 6 minutes and 40 seconds": ended(
        Cause.TCP_RESET,
        REMOTE,
        stats=passed(900.0, 400.2, 0.1),
        frames=(received(Opcode.TEXT, 5, 400.2), sent(Opcode.TEXT, 5, 0.1)),
    ),
    "tls_truncated": ended(Cause.TLS_TRUNCATED, REMOTE),
    "ping_timeout": ended(
        Cause.PING_TIMEOUT,
        LOCAL,
        detail="nothing arrived for 40.2 s, nor 20.0 s after a ping",
        stats=passed(302.4, 40.2, 20.0),
        frames=(received(Opcode.PONG, 4, 40.2), sent(Opcode.PING, 4, 20.0)),
    ),
    "ping_timeout: after ten minutes without a ping": ended(
        Cause.PING_TIMEOUT,
        LOCAL,
        stats=passed(9000.0, 620.0, 20.0),
        frames=(received(Opcode.PONG, 4, 620.0), sent(Opcode.PING, 4, 20.0)),
        role=SERVER,
    ),
    "close_timeout": ended(
        Cause.CLOSE_TIMEOUT, LOCAL, sent=DONE, detail="the peer did not answer our Close frame", frames=CHAT
    ),
    "close_timeout: our Close frame did not leave": ended(
        Cause.CLOSE_TIMEOUT,
        LOCAL,
        detail="our Close frame, or what was sent before it, could not leave",
        unsent=(b"x" * 70_000,),
        unflushed_bytes=2_500_000,
        stats=passed(302.4, 0.2, 5.0, buffered=70_000),
    ),
    "write_timeout": ended(
        Cause.WRITE_TIMEOUT,
        LOCAL,
        detail="65,536 bytes waited for 20.0 s",
        unsent=("x",) * 2000,
        unflushed_bytes=65_536,
        stats=passed(3600.0, 0.2, 20.0, buffered=12_345),
        role=SERVER,
    ),
    "idle_timeout": ended(
        Cause.IDLE_TIMEOUT, LOCAL, sent=AWAY, received=AWAY, detail="the last message passed 60.1 s ago", role=SERVER
    ),
    "max_lifetime": ended(
        Cause.MAX_LIFETIME, LOCAL, sent=AWAY, received=AWAY, stats=passed(86_400.5, 3.0, 2.0), role=SERVER
    ),
    "loop_stalled": ended(Cause.LOOP_STALLED, LOCAL, detail="event loop blocked for 23.4 s", frames=CHAT),
    "suspended": ended(Cause.SUSPENDED, LOCAL, stats=passed(30_000.0, 7205.0, 20.0)),
    "protocol_error": ended(
        Cause.PROTOCOL_ERROR,
        LOCAL,
        sent=CloseFrame(1002, "the opcode is reserved"),
        detail=Violation.RESERVED_OPCODE.describe("opcode 0x3, whose header begins with 83"),
        violation=Violation.RESERVED_OPCODE,
    ),
    "protocol_error: a code that must not be sent": ended(
        Cause.PROTOCOL_ERROR,
        LOCAL,
        sent=CloseFrame(1002, "a Close frame has a code that must not be sent"),
        detail=Violation.CLOSE_CODE_RESERVED.describe("code 1006 with the reason 'kicked'"),
        violation=Violation.CLOSE_CODE_RESERVED,
    ),
    "invalid_utf8: a reason": ended(
        Cause.INVALID_UTF8,
        LOCAL,
        sent=CloseFrame(1007, ""),
        detail=Violation.CLOSE_REASON_NOT_UTF8.describe(
            "code 4000, and in the reason c3 at offset 122 (unexpected end of data)"
        ),
        violation=Violation.CLOSE_REASON_NOT_UTF8,
    ),
    "invalid_utf8": ended(
        Cause.INVALID_UTF8, LOCAL, sent=CloseFrame(1007, ""), violation=Violation.TEXT_NOT_UTF8, role=SERVER
    ),
    "message_too_big": ended(
        Cause.MESSAGE_TOO_BIG,
        LOCAL,
        sent=CloseFrame(1009, ""),
        violation=Violation.MESSAGE_TOO_BIG,
        discarded=1,
        role=SERVER,
    ),
    "policy": ended(
        Cause.POLICY, LOCAL, sent=CloseFrame(1008, ""), violation=Violation.TOO_MANY_FRAGMENTS, role=SERVER
    ),
    "slow_consumer": ended(
        Cause.SLOW_CONSUMER,
        LOCAL,
        detail="send() has queued 16,800,000 bytes, and max_buffered_amount is 16,777,216",
        unsent=("x",) * 200,
        stats=passed(302.4, 0.2, 0.1, buffered=16_800_000),
        role=SERVER,
    ),
    "internal_error": ended(Cause.INTERNAL_ERROR, LOCAL, sent=CloseFrame(1011, ""), exception=MemoryError()),
}


# The golden file.


@pytest.mark.skipif(errno.ECONNREFUSED != 111, reason="the golden file has the numbers of Linux's errors")
def test_the_explanations_are_those_of_the_golden_file() -> None:
    text = "\n\n".join(f"=== {title}\n\n{explain(outcome)}" for title, outcome in FIXTURES.items()) + "\n"
    if os.environ.get(UPDATE, "") not in ("", "0"):
        GOLDEN.write_text(text, "utf-8")
    assert text == GOLDEN.read_text("utf-8"), f"if the new words are better, run this again with {UPDATE}=1"


def test_every_cause_has_a_fixture_that_is_named_after_it() -> None:
    assert {outcome.cause for outcome in FIXTURES.values()} == set(Cause)
    for title, outcome in FIXTURES.items():
        assert title.partition(":")[0] == outcome.cause


# What holds for all explanations.


def paragraphs(outcome: Outcome) -> tuple[str, str, list[str]]:
    """The facts, the guess or an empty string, and the lines about frames."""
    lines = explain(outcome).split("\n")
    frames = next((place for place, line in enumerate(lines) if line.startswith("The last ")), len(lines))
    guess = next((place for place, line in enumerate(lines) if line.startswith("A guess: ")), frames)
    return " ".join(lines[:guess]), " ".join(lines[guess:frames]), lines[frames:]


def check_prose(text: str) -> None:
    """The text is whole sentences, without what templates leave behind when they have nothing to say."""
    assert re.fullmatch(r"[A-Z].*\.", text), text
    assert not re.search(r"[{}]|\bNone\b|N/A|(?<!\w)\(\)|  | [.,;:]|\.\.|,\.|\b1 (messages|bytes)\b", text), text


#: What may be known besides the cause.
KNOWN: list[dict[str, Any]] = [
    {"stats": Stats(None, None, None, 0, 0, 0, 0, None, 0), "phase": Phase.TCP},
    {"stats": TALK},
    {"stats": passed(1.0, None, None, messages_sent=1, messages_received=1, buffered=1), "unsent": ("x",)},
    {"stats": TALK, "sent": DONE},
    {"stats": TALK, "received": AWAY, "code": 1001},
    {"stats": TALK, "sent": DONE, "received": AWAY, "code": 1001},
    {"stats": TALK, "sent": DONE, "received": AWAY, "code": 1001, "was_clean": True},
    {"stats": TALK, "code": 0, "was_clean": True},
]


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("cause", Cause)
def test_every_cause_reads_well_on_both_ends_clean_or_not(cause: Cause, role: Role) -> None:
    for initiator in Initiator:
        for facts in KNOWN:
            told, guess, _ = paragraphs(Outcome(cause=cause, role=role, initiator=initiator, **facts))
            check_prose(told)
            check_prose(guess or "Nothing.")
            assert ("this server" if role is CLIENT else "this client") not in f"{told} {guess}".lower()


@pytest.mark.parametrize("title", FIXTURES)
def test_an_explanation_is_a_paragraph_of_prose(title: str) -> None:
    told, guess, frames = paragraphs(FIXTURES[title])
    check_prose(told)
    assert 2 <= len(re.findall(r"\.(?= [A-Z]|$)", told)) <= 8
    assert not guess or guess.startswith("A guess: ")
    assert len(frames) == (0 if not FIXTURES[title].frames else len(FIXTURES[title].frames) + 1)
    assert all(len(line) <= WIDTH for line in explain(FIXTURES[title]).split("\n"))


def test_what_is_a_guess_is_told_only_where_it_is_labelled() -> None:
    names = {limit.who for limit in LIMITS}
    for outcome in FIXTURES.values():
        told, guess, _ = paragraphs(outcome)
        assert not re.search(r"\b(maybe|perhaps|probably|a guess|ping_interval|to_thread)\b", told)
        assert not any(name in told for name in names)
        assert guess.count("A guess") <= 1


def test_the_causes_about_which_there_is_nothing_to_guess_have_no_guess() -> None:
    assert {title for title, outcome in FIXTURES.items() if not paragraphs(outcome)[1]} == {
        *("local_close", "local_close: without a code, and the queue was not read to its end"),
        "local_close: after compressed messages",
        *("local_close: on a server", "local_close: on both sides at once"),
        *("local_close: before the connection was open", "local_close: while it waited for its turn"),
        *("peer_close", "peer_close: on a server"),
        *("peer_close: with a code of the application's", "peer_close: with a library's code"),
        *("peer_close: the server restarts", "peer_close: our answer did not leave"),
        *("terminated", "terminated: before the connection was open"),
        *("cancelled", "cancelled: before the connection was open"),
        *("handler_returned", "handler_error", "server_shutdown", "process_exit"),
        "handshake_rejected: on a server",
        *("handshake_rejected: 418, about which there is no guess", "idle_timeout", "max_lifetime"),
    }


def test_an_event_that_somebody_made_himself_can_be_explained() -> None:
    assert paragraphs(Outcome(code=0, was_clean=True, cause=Cause.PEER_CLOSE))[0].startswith("The server closed")


def test_only_an_answer_is_the_same_as_the_close_frame_before_it() -> None:
    away = CloseFrame(1001, "")
    for role, initiator in ((CLIENT, LOCAL), (CLIENT, REMOTE), (SERVER, LOCAL), (SERVER, REMOTE)):
        told = paragraphs(ended(Cause.CANCELLED, initiator, sent=AWAY, received=away, role=role))[0]
        asks, answers = ("this", "the") if initiator is LOCAL else ("the", "this")
        pattern = rf"{asks} \w+'s Close frame had code 1001 \(Going Away\), {answers} \w+ answered with the same,"
        assert re.search(pattern, told, re.IGNORECASE)
    for facts in ({"initiator": Initiator.SIMULTANEOUS}, {"initiator": REMOTE, "was_clean": False}):
        told = paragraphs(ended(Cause.CANCELLED, sent=AWAY, received=away, **facts))[0]
        assert told.count("with code 1001 (Going Away)") == 2


# What may be lost.


def test_nothing_is_lost_only_where_that_is_true() -> None:
    clean = FIXTURES["local_close"]
    assert "Nothing is lost: " in paragraphs(clean)[0]
    for facts in ({"unsent": ("x",)}, {"unflushed_bytes": 1}, {"discarded": 1}, {"was_clean": False}):
        assert "Nothing is lost" not in paragraphs(clean._replace(**facts))[0]
    # Whether a peer that has closed read on until our answer, only the peer knows.
    assert "Nothing is lost: " not in paragraphs(FIXTURES["peer_close"])[0]


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"unsent": ("x",)}, "1 message was not sent; the attribute unsent holds it."),
        ({"unsent": ("x", b"y")}, "2 messages were not sent; the attribute unsent holds them."),
        ({"unsent": ("x",), "cause": Cause.TCP_RESET}, "1 message was not completely sent;"),
        ({"unsent": ("x",), "stats": passed(1, 1, 1, buffered=12_345)}, "1 message (12.3 KB) was not sent;"),
        ({"unflushed_bytes": 1}, "1 byte had left the program but may not have reached the server."),
        ({"discarded": 1}, "1 byte of messages arrived and was not delivered."),
        ({"discarded": 9999}, "9,999 bytes of messages arrived and were not delivered."),
        ({"discarded": 2_100_000}, "2.1 MB of messages arrived and were not delivered."),
    ],
)
def test_what_may_be_lost_is_counted(facts: dict[str, Any], words: str) -> None:
    told = paragraphs(ended(**{"cause": Cause.TERMINATED, "initiator": LOCAL, **facts}))[0]
    assert words in told
    assert "It is not known whether the server got the last of what this client sent" in told


def test_a_peer_whose_close_frame_arrived_has_sent_no_more() -> None:
    assert "whether all that the server sent" in paragraphs(ended(Cause.TCP_FIN))[0]
    assert "whether all that the server sent" not in paragraphs(ended(Cause.PEER_CLOSE, REMOTE, received=AWAY))[0]


# Numbers for people.


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        *((0.0, "less than 1 ms"), (0.003, "3 ms"), (0.9994, "999 ms"), (0.9999, "1 s"), (1.0, "1 s")),
        *((60.06, "60.1 s"), (599.9, "599.9 s"), (600, "10 min"), (7199, "120 min"), (7200, "2 h"), (9000, "2.5 h")),
        *((172_800, "2 days"), (432_000, "5 days")),
    ],
)
def test_a_time_is_in_the_unit_that_fits(seconds: float, words: str) -> None:
    told = paragraphs(ended(Cause.PEER_CLOSE, REMOTE, stats=passed(seconds, None, None)))[0]
    assert f"The connection was open for {words}, in which" in told


@pytest.mark.parametrize(
    ("size", "words"),
    [
        *((1, "1 byte"), (2, "2 bytes"), (9999, "9,999 bytes"), (10_000, "10 KB"), (65_536, "65.5 KB")),
        *((999_949, "999.9 KB"), (999_950, "1 MB"), (2_100_000, "2.1 MB"), (5_000_000_000, "5,000 MB")),
    ],
)
def test_a_size_is_in_the_unit_that_fits(size: int, words: str) -> None:
    assert f"{words} had left the program" in paragraphs(ended(Cause.TERMINATED, unflushed_bytes=size))[0]


# The last frames.


def test_only_the_last_frames_are_listed() -> None:
    notes = tuple(received(Opcode.TEXT, size, 20.0 - size) for size in range(12))
    lines = paragraphs(ended(Cause.TERMINATED, LOCAL, frames=notes))[2]
    assert lines[0] == f"The last {MAX_FRAMES} frames:"
    assert [line.split()[2] for line in lines[1:]] == ["4", "5", "6", "7", "8", "9", "10", "11"]


def test_a_frame_has_its_direction_its_type_its_size_and_its_age() -> None:
    notes = tuple(FrameNote(opcode is Opcode.PING, opcode, fin, 1, 2.0) for opcode in Opcode for fin in (False, True))
    lines = paragraphs(ended(Cause.TERMINATED, LOCAL, frames=notes[:8]))[2]
    assert lines[1] == "  received  next part           1 byte  2 s before the end"
    assert [line[12:31].strip() for line in lines[1:]] == [
        *("next part", "last part", "text, first part", "text", "binary, first part", "binary", "close, first part"),
        "close",
    ]


# Guesses.


def silent(seconds: float, cause: Cause = Cause.TCP_FIN, **facts: Any) -> Outcome:
    return ended(cause, REMOTE, stats=passed(seconds + 11.3, seconds + 5, seconds), **facts)


def guess_of(outcome: Outcome) -> str:
    return paragraphs(outcome)[1]


def test_silence_as_long_as_a_limit_suggests_it() -> None:
    words = (
        "A guess: a proxy on the way ended the connection after 60.1 s of silence: nginx's proxy_read_timeout and AWS "
    )
    words += "ALB's idle timeout, among others, are 60 s; set ping_interval below that."
    assert guess_of(silent(60.1)) == words
    assert guess_of(silent(60.1, role=SERVER)) == words
    assert guess_of(silent(60.1, Cause.TLS_TRUNCATED)) == words
    assert guess_of(silent(60.1, Cause.TCP_RESET)) == words
    assert "60 s" not in guess_of(silent(64.0)) + guess_of(silent(59.0))


def test_a_single_limit_is_in_the_singular() -> None:
    assert "Heroku's router timeout is 55 s; set" in guess_of(silent(55.2))
    assert "Envoy's stream_idle_timeout and Apache httpd's Timeout (Debian's apache2.conf) are 300 s; set" in guess_of(
        silent(300.4)
    )


def test_the_silence_is_that_of_both_directions() -> None:
    assert "nginx" in guess_of(ended(Cause.TCP_FIN, stats=passed(100, 60.1, 80)))
    assert "nginx" in guess_of(ended(Cause.TCP_FIN, stats=passed(60.1, None, None)))
    assert "nginx" not in guess_of(ended(Cause.TCP_FIN, stats=passed(100, 60.1, 1)))


def test_what_speaks_websocket_itself_may_close_with_1001_but_not_with_a_code_of_the_application() -> None:
    away = silent(600.3, Cause.PEER_CLOSE, received=AWAY, sent=AWAY)
    assert "AWS API Gateway's idle connection timeout" in guess_of(away)
    assert "AWS" not in guess_of(away._replace(code=4000)) + guess_of(away._replace(code=1000))


def test_what_only_forgets_is_suggested_by_the_pause_before_the_last_frames() -> None:
    frames = (
        sent(Opcode.TEXT, 1, 800),
        received(Opcode.TEXT, 1, 400),
        sent(Opcode.PING, 4, 20),
        sent(Opcode.TEXT, 1, 1),
    )
    outcome = ended(Cause.PING_TIMEOUT, LOCAL, stats=passed(900, 400, 1), frames=frames)
    assert "as Azure Load Balancer does after 240 s and AWS NLB after 350 s; set" in guess_of(outcome)
    assert "forgot" not in guess_of(outcome._replace(frames=(*frames, received(Opcode.PONG, 4, 0.5))))
    assert "forgot" not in guess_of(outcome._replace(frames=()))


@pytest.mark.parametrize(
    ("frames", "suggested"),
    [
        ([sent(Opcode.BINARY, 32_768, 1.9)], True),
        ([sent(Opcode.BINARY, 32_767, 0.1)], False),
        ([sent(Opcode.BINARY, 32_768, 2.1)], False),
        ([received(Opcode.BINARY, 32_768, 0.1)], False),
        ([sent(Opcode.TEXT, 20_000, 0.2, fin=False), sent(Opcode.CONTINUATION, 20_000, 0.1)], True),
        ([sent(Opcode.CONTINUATION, 40_000, 0.1), sent(Opcode.PING, 0, 0.1)], True),
        ([sent(Opcode.BINARY, 100_000, 0.2), sent(Opcode.TEXT, 1, 0.1)], False),
    ],
)
def test_a_large_message_just_before_the_end_suggests_a_limit_of_size(frames: list[FrameNote], suggested: bool) -> None:
    for cause in (Cause.TCP_FIN, Cause.TCP_RESET, Cause.TCP_FIN_MID_FRAME, Cause.TLS_TRUNCATED):
        guess = guess_of(ended(cause, frames=tuple(frames), stats=passed(5, 1, 1)))
        assert ("does not take messages as large as the last one" in guess) == suggested


@pytest.mark.parametrize(
    ("detail", "words"),
    [
        (f"[Errno {errno.ECONNREFUSED}] Connection refused", "nothing listens on that port"),
        (f"Multiple exceptions: [Errno {errno.EHOSTUNREACH}] ('::1'), [Errno {errno.EHOSTUNREACH}]", "no way to that"),
        (f"[Errno {errno.EMFILE}] Too many open files", "too many sockets or files open"),
        ("[Errno -2] Name or service not known", "the name is misspelt"),
        (TLS_VERSION, "the URL begins with ws: and not wss:"),
        (TLS_SELF_SIGNED, "the server or its owner has made the certificate"),
        ("certificate verify failed: Hostname mismatch, certificate is not valid for 'x'.", "another name's"),
        ("certificate verify failed: certificate has expired", "not been renewed"),
        ("something else", ""),
    ],
)
def test_the_text_of_an_error_suggests_what_is_behind_it(detail: str, words: str) -> None:
    for cause in (Cause.CONNECT_FAILED, Cause.TLS_FAILED):
        for facts in ({"detail": detail}, {"exception": OSError(detail)}):
            guess = guess_of(failed(cause, **facts))
            assert words in guess
            assert bool(words) == bool(guess)


@pytest.mark.parametrize(
    ("detail", "words"),
    [
        (f"[Errno {errno.ECONNREFUSED}] Connection refused", "the proxy does not run"),
        (f"[Errno {errno.EHOSTUNREACH}] ('::1')", "no way to that"),
        ("[Errno -2] Name or service not known", "the name of the proxy is misspelt"),
        ("the proxy closed the connection before it had answered", "is no proxy"),
        (TLS_SELF_SIGNED, "the server or its owner has made the certificate"),
        ("something else", ""),
    ],
)
def test_the_text_of_an_error_suggests_what_is_wrong_with_the_proxy(detail: str, words: str) -> None:
    where = "; the proxy is http://proxy:3128, from "
    for source, way in (("proxy=", ""), ("http_proxy in the environment", "proxy=None, or an entry in no_proxy")):
        guess = guess_of(failed(Cause.PROXY_FAILED, detail=detail + where + source, phase=Phase.PROXY))
        assert words in guess
        assert bool(words) == bool(guess)
        assert not words or way in guess
        assert bool(way) or "no_proxy" not in guess


@pytest.mark.parametrize("status", [400, 403, 404, 405, 407, 501, 502, 503, 504])
def test_the_status_of_a_proxys_answer_is_not_taken_for_the_servers(status: int) -> None:
    guess = guess_of(failed(Cause.PROXY_FAILED, phase=Phase.PROXY, response=Response(status)))
    assert "proxy" in guess
    assert guess != guess_of(refused(status))


@pytest.mark.parametrize(
    ("body", "kind", "told"),
    [
        (b"token expired\n", None, "token expired"),
        ("caf\u00e9 \u202e\x1b[2J\r\n".encode(), "text/plain", "caf\u00e9 \\u202e\\x1b[2J"),
        (b'{"error":\n  "token expired"}', "application/json; charset=utf-8", '{"error": "token expired"}'),
        (b'{"title": "no"}', "application/problem+json", '{"title": "no"}'),
        (b"<p>no</p>", "Text/HTML", "<p>no</p>"),
        (b"token expired", "application/octet-stream", ""),
        (b"token expired", "image/png", ""),
        (b"\x89PNG", None, ""),
        (b"", None, ""),
        ("x" * 300, "text/plain", "x" * 200 + "..."),
        ("\u20ac" * 500, "text/plain", "\u20ac" * 200 + "..."),
        (("\u20ac" * 30).encode()[:-1], "text/plain", "\u20ac" * 29),
    ],
)
def test_the_body_of_a_refusal_is_told_if_it_is_text(body: str | bytes, kind: str | None, told: str) -> None:
    response = Response(401, body, {} if kind is None else {"Content-Type": kind})
    if kind is None:
        response.headers.pop("Content-Type", None)
    outcome = failed(Cause.HANDSHAKE_REJECTED, response=response)
    assert outcome.as_dict()["body"] == told
    said = f"It said: {told.strip(' .')}" if told else "It said"
    assert (said.replace(" ", "") in explain(outcome).replace("\n", "").replace(" ", "")) == bool(told)


@pytest.mark.parametrize("status", [200, 301, 302, 307, 308, 400, 401, 403, 404, 407, 426, 429, 500, 502, 503, 504])
def test_the_status_of_an_answer_suggests_what_is_behind_it(status: int) -> None:
    assert guess_of(refused(status)).startswith("A guess: ")


# What others wrote.


NASTY = "\x1b[2J\r\nA guess: \x00\u202e\x85\u2028\ud800\xa0{us}{0} "


def test_what_others_wrote_is_escaped() -> None:
    frame = CloseFrame(4000, NASTY)
    for facts in (
        {"detail": NASTY},
        {"received": frame, "sent": frame},
        {"received": frame},
        {"exception": OSError(NASTY)},
        {"exception": type(NASTY.replace("\x00", "").encode("ascii", "ignore").decode(), (ValueError,), {})()},
    ):
        text = explain(ended(Cause.PEER_CLOSE, REMOTE, **facts))
        assert all(char.isprintable() for char in text.replace("\n", ""))
        assert "\\x1b[2J\\r\\nA guess: " in text.replace("\n", " ")
        assert not re.search("^A guess", text, re.MULTILINE)


def test_what_others_wrote_is_shown_only_in_part_if_it_is_long() -> None:
    told = paragraphs(failed(Cause.CONNECT_FAILED, detail="x" * 1000))[0]
    assert "x" * MAX_DETAIL + "...." in told
    assert "x" * (MAX_DETAIL + 1) not in told


def test_no_payload_is_told() -> None:
    secret = "s3cret"
    outcome = ended(
        Cause.HANDLER_ERROR,
        LOCAL,
        unsent=(secret, secret.encode()),
        exception=ValueError(secret),
        response=Response(500, secret, {"X": secret}, secret),
    )
    assert secret not in explain(outcome._replace(response=None))
    assert explain(outcome).count(secret) == 1  # what a server says of its refusal is no message


class Unspeakable(OSError):
    def __str__(self) -> str:
        raise RuntimeError("no")

    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize("cause", Cause)
def test_an_exception_whose_text_cannot_be_had_is_told_by_its_class(cause: Cause) -> None:
    outcome = ended(cause, LOCAL, exception=Unspeakable())
    assert explain(outcome)
    assert outcome.as_dict()["exception"] == "<Unspeakable>"


texts = st.text(max_size=40) | st.sampled_from([NASTY, "", " . ", "{peer}", "x" * 500, "[Errno 111]", "a  b"])
numbers = st.integers(0, 1 << 60) | st.integers(0, 3)
ages = st.floats() | st.floats(0, 10_000)
codes = st.sampled_from(CloseCode) | st.integers(-1, 70_000)
close_frames = st.none() | st.builds(CloseFrame, st.none() | codes, texts)
exceptions = st.none() | st.sampled_from([Unspeakable(), MemoryError(), SSLError(1, NASTY)]) | st.builds(OSError, texts)
responses = st.none() | st.builds(Response, st.integers(100, 999))
outcomes = st.builds(
    Outcome,
    code=codes,
    reason=texts,
    was_clean=st.booleans(),
    initiator=st.sampled_from(Initiator),
    cause=st.sampled_from(Cause),
    detail=texts,
    sent=close_frames,
    received=close_frames,
    unsent=st.lists(texts | st.binary(max_size=9), max_size=3).map(tuple),
    unflushed_bytes=numbers,
    discarded=numbers,
    exception=exceptions,
    violation=st.none() | st.sampled_from(Violation),
    phase=st.none() | st.sampled_from(Phase),
    response=responses,
    stats=st.builds(
        Stats, *[st.none() | ages] * 3, numbers, numbers, numbers, numbers, rtt=st.none() | ages, buffered=numbers
    ),
    frames=st.lists(
        st.builds(FrameNote, st.booleans(), st.sampled_from(Opcode), st.booleans(), numbers, ages, st.booleans()),
        max_size=12,
    ).map(tuple),
    role=st.sampled_from(Role),
)


@given(outcomes)
@many
def test_whatever_happened_can_be_explained_in_characters_that_break_nothing(outcome: Outcome) -> None:
    text = explain(outcome)
    assert all(char.isprintable() for char in text.replace("\n", ""))
    assert text == text.strip()
    told, guess, frames = paragraphs(outcome)
    assert told.endswith(".")
    assert not guess or guess.endswith(".")
    assert len(frames) == (min(len(outcome.frames), MAX_FRAMES) + 1 if outcome.frames else 0)


# The table of limits.


def test_the_limits_are_sorted_and_no_limit_is_there_twice() -> None:
    assert [limit.seconds for limit in LIMITS] == sorted(limit.seconds for limit in LIMITS)
    assert len({(limit.who, limit.setting) for limit in LIMITS}) == len(LIMITS)


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: f"{limit.who} {limit.setting}")
def test_a_limit_says_whose_it_is_where_that_is_written_and_when_it_was_true(limit: Limit) -> None:
    assert limit.seconds > 0
    assert limit.kind in Kind
    assert limit.ending in Ending
    for text in (limit.who, limit.setting, limit.source):
        assert text.isascii()
        assert text == text.strip(" .") != ""
    assert re.fullmatch(r"as known in 20\d\d", limit.date)


def test_a_time_is_near_to_one_limit_only() -> None:
    """So that an explanation can name those that it is near to, and say their seconds once."""
    for kind in Kind:
        acting = sorted({limit.seconds for limit in LIMITS if limit.kind is kind and limit.ending != Ending.FORGETS})
        assert all(before * (1 + LATE_SHARE) + LATE < after - EARLY for before, after in pairwise(acting))


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: f"{limit.who} {limit.setting}")
def test_a_limit_matches_what_is_seen_of_it(limit: Limit) -> None:
    def matches(seconds: float) -> bool:
        return limit in matching(limit.kind, seconds, {limit.ending})

    forgets = limit.ending is Ending.FORGETS
    assert matches(limit.seconds)
    assert matches(limit.seconds - EARLY)
    assert matches(limit.seconds * (1 + LATE_SHARE) + LATE)
    assert not matches(limit.seconds - EARLY - 0.1)
    assert matches(limit.seconds * (1 + LATE_SHARE) + LATE + 0.1) == forgets
    assert limit not in matching(limit.kind, limit.seconds, set(Ending) - {limit.ending})
    assert all(other.kind is limit.kind for other in matching(limit.kind, limit.seconds, set(Ending)))
