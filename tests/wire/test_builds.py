"""The compiled build and the Python sources do the same, for the same bytes and calls."""

from __future__ import annotations

import sys
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builds import PURE, Build, both_builds
from tests.protocol_pair import BINARY, PING, START, TEXT, Frame, cut_places, frame, payloads, read_frames, streams
from wasclean import connection
from wasclean.closing.outcome import Cause
from wasclean.dom import event_target
from wasclean.model.registry import Role
from wasclean.model.violations import Violation
from wasclean.wire import octets

pytestmark = pytest.mark.skipif(not octets.COMPILED, reason="this is the pure build: there is nothing to compare")
thorough = settings(max_examples=300)


@pytest.fixture(scope="module")
def builds() -> tuple[Build, Build]:
    return both_builds()


def run(build: Build, role: Role, program: list[tuple[Any, ...]], options: dict[str, Any]) -> list[Any]:
    """Do all that a program says to a connection of a build; all that can be seen of it, step by step."""
    log: list[Any] = []

    base: Any = build.connection.Application

    class Recorder(base):  # type: ignore[misc]
        def message_received(self, message: str | bytes) -> None:
            log.append(("message", message))

        def pong_received(self, payload: bytes) -> None:
            log.append(("pong", payload))

        def state_changed(self) -> None:
            log.append(("state", c.closing.state.name))

    if "timing" in options:
        options = {**options, "timing": build.keepalive.Timing(*options["timing"])}
    c = build.connection.Connection(
        build.registry.Role[role.name], Recorder(), build.receiver.ReadBuffer(), START, **options
    )
    now = START
    for step, *arguments in program:
        try:
            if step == "receive":
                stream, cuts = arguments
                places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
                for start, end in pairwise(places):
                    c.receive_data(stream[start:end], now)
            elif step == "wait":
                now += arguments[0]
                c.touch(now)
                c.handle_deadline(now, **arguments[1])
            elif step == "pause_writing":
                log.append(c.pause_writing(now))
            elif step == "refuse":
                c.refuse(*arguments[:2], now, build.outcome.Reason(build.outcome.Cause[arguments[2]], arguments[3]))
            elif step in ("terminate", "connection_lost"):
                cause = build.outcome.Cause[arguments[0]] if arguments else None
                getattr(c, step)(now, *((build.outcome.Reason(cause, arguments[1]),) if cause else ()))
            elif step == "receive_eof":
                c.receive_eof(now, *arguments)
            elif step == "unsent":
                log.append(c.sender.unsent(arguments[0]))
            elif step == "finds_close":
                log.append(c.receiver.finds_close(arguments[0]))
            elif step == "fail":
                c.fail(build.violations.Violation[arguments[0].name], now)
            elif step in ("send", "send_ping", "resume_writing"):
                getattr(c, step)(*arguments)
            elif step == "send_close":
                c.send_close(*arguments[:2], now, arguments[2])
            elif step != "nothing":
                getattr(c, step)(*arguments, now)
        except Exception as error:
            log.append((type(error).__name__, str(error)))
        if step != "nothing":
            log.append(written(c))
        log.append(seen(c, now))
    return log


def written(c: Any) -> list[Frame]:
    """What it writes now, unmasked, and without the random payloads of keepalive's pings."""
    data = b""
    while c.fill():
        piece = c.data_to_send()
        data += piece if isinstance(piece, bytes) else b"".join(piece)
    return [
        seen._replace(payload=b"?") if seen.first == 0x80 | PING and len(seen.payload) == 4 else seen
        for seen in read_frames(data)
    ]


def seen(c: Any, now: float) -> tuple[Any, ...]:
    """All that a connection shows, with names for what each build has of its own."""
    parts = (c.closing.state, c.closing.ending, c.closing.violation, c.role, c.closing.initiator, c.closing.cause)
    names = [None if value is None else value.name for value in parts]
    frames = [None if value is None else tuple(value) for value in (c.closing.sent, c.closing.received)]
    return (
        *(
            names,
            frames,
            c.closing.detail,
            c.closing.failed,
            c.is_open,
            c.closing.was_clean,
            c.is_flushed,
            c.buffered_amount(),
        ),
        *(c.next_deadline(), len(c.receiver.get_buffer()) > 0, c.receiver.discarded, tuple(c.stats(now))),
        [tuple(note) for note in c.frames(now)],
    )


times = st.sampled_from([0.0, 0.001, 0.5, 1.9, 2.0, 3.0, 5.0, 10.0])
close_codes = st.sampled_from([(1000, "bye"), (None, ""), (4999, "€" * 41), (1011, "")])


def steps(role: Role) -> st.SearchStrategy[tuple[Any, ...]]:
    messages = st.one_of(
        st.tuples(st.just("send"), st.just(TEXT), st.text(st.characters(), max_size=200)),
        st.tuples(st.just("send"), st.just(BINARY), payloads),
        st.builds(lambda size: ("send", BINARY, b"x" * size), st.sampled_from([16383, 16384, 70_000, 300_000])),
    )
    received = st.tuples(st.just("receive"), streams(role), cut_places)
    plain = ["established", "pause_writing", "resume_writing", "nothing", "receive_eof", "connection_lost", "terminate"]
    causes = st.sampled_from(sorted(Cause.__members__))
    waits = st.fixed_dictionaries(
        {}, optional={"paused": st.booleans(), "backlog": st.integers(0, 9), "slept": st.sampled_from([0.0, 60.0])}
    )
    rare = st.one_of(
        st.sampled_from(plain).map(lambda name: (name,)),
        st.just(("receive_eof", True)),
        st.tuples(st.sampled_from(["connection_lost", "terminate"]), causes, st.sampled_from(["", "reset"])),
        st.tuples(st.just("fail"), st.sampled_from(Violation)),
        st.tuples(st.just("refuse"), st.just(1008), st.just("too much"), causes, st.just("because")),
        st.builds(lambda said, timeout: ("send_close", *said, timeout), close_codes, st.none() | times),
        st.tuples(st.just("wait"), times, waits),
        st.tuples(st.just("unsent"), st.integers(0, 100_000)),
        st.tuples(st.just("finds_close"), streams(role)),
    )
    return st.one_of(
        received,
        messages,
        st.tuples(st.just("send_ping"), st.binary(max_size=125)),
        st.sampled_from(["pause_writing", "resume_writing"]).map(lambda name: (name,)),
        rare,
    )


@pytest.mark.parametrize("role", Role)
@given(data=st.data())
@thorough
def test_both_builds_read_any_stream_the_same(builds: tuple[Build, Build], role: Role, data: st.DataObject) -> None:
    options = {
        "max_message_size": data.draw(st.sampled_from([None, 0, 100, 1 << 20])),
        "max_fragments": data.draw(st.sampled_from([None, 1, 3])),
    }
    program = [("established",), ("receive", data.draw(streams(role)), data.draw(cut_places))]
    compiled, pure = (run(build, role, program, options) for build in builds)
    assert compiled == pure


@pytest.mark.parametrize("role", Role)
@given(data=st.data())
@thorough
def test_both_builds_do_the_same_whatever_is_done_to_them(
    builds: tuple[Build, Build], role: Role, data: st.DataObject
) -> None:
    timing = data.draw(st.tuples(*(st.sampled_from([None, 0.5, 3.0]) for _ in range(5))))
    options = {"max_message_size": data.draw(st.sampled_from([None, 200, 1 << 20])), "timing": timing}
    program = [("established",)] if data.draw(st.integers(0, 5)) else []
    program += data.draw(st.lists(steps(role), max_size=10))
    compiled, pure = (run(build, role, program, options) for build in builds)
    assert compiled == pure


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537, 300_000, 1 << 20])
@pytest.mark.parametrize("role", Role)
def test_both_builds_read_large_messages_the_same(builds: tuple[Build, Build], role: Role, size: int) -> None:
    text = ("aä€𝄞" * (size // 10 + 1)).encode()
    stream = frame(role, TEXT, text) + frame(role, BINARY, text) + frame(role, TEXT, text + b"\xff")
    program = [("established",), ("receive", stream, range(0, len(stream), 40_000))]
    compiled, pure = (run(build, role, program, {"max_message_size": None}) for build in builds)
    assert compiled == pure
    assert ("message", text) in compiled


def test_one_of_them_is_compiled_and_the_other_is_not(builds: tuple[Build, Build]) -> None:
    compiled, pure = builds
    assert compiled.connection is connection
    assert not str(compiled.connection.__file__).endswith(".py")
    assert str(pure.connection.__file__).endswith(".py")
    assert sys.modules[f"{PURE}.wire.octets"].__dict__["COMPILED"] is False
    assert pure.event_target.EventTarget is not event_target.EventTarget


def things(build: Build) -> list[Any]:
    buffer, log = build.receiver.ReadBuffer(), build.frames.FrameLog(START)
    role, nobody = build.registry.Role.CLIENT, build.connection.Application()
    return [
        *(buffer, log, build.event.Event("x"), build.event_target.EventTarget(), build.frames.FrameReader(role)),
        *(build.messages.MessageReader(None, None), build.sender.Sender(True, buffer, log)),
        build.connection.Connection(role, nobody, buffer, START, max_message_size=None),
    ]


def test_both_builds_refuse_stray_attributes(builds: tuple[Build, Build]) -> None:
    for build in builds:
        for thing in things(build):
            with pytest.raises(AttributeError):
                thing.stray = 1


def test_both_builds_have_the_same_names(builds: tuple[Build, Build]) -> None:
    def public(thing: object) -> set[str]:
        return {name for name in dir(thing) if not name.startswith("_")}

    for module, names in (
        ("connection", ["Connection", "Application"]),
        ("receiver", ["ControlFrame", "ReadBuffer", "Receiver"]),
        ("sender", ["Sender"]),
        ("handshake", ["ClosingHandshake"]),
        ("liveness", ["Liveness"]),
        ("event", ["Event", "MessageEvent"]),
        ("event_target", ["EventTarget", "Listeners"]),
    ):
        for name in names:
            compiled, pure = (getattr(getattr(build, module), name) for build in builds)
            assert public(compiled) <= public(pure)
            assert {name for name in public(pure) - public(compiled) if callable(getattr(pure, name))} == set()
