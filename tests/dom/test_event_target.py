"""Events and their target, as in the DOM and the WHATWG WebSockets standard."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any

import pytest

from wasclean.dom.event import Event, MessageEvent, new_message_event
from wasclean.dom.event_target import EventTarget, Listener, Listeners
from wasclean.dom.exceptions import DOMException, InvalidStateError

Log = list[Any]


class Reporting(Listeners):
    """Listeners whose exceptions are reported, and whose coroutines are noted, as those of a socket."""

    def __init__(self, target: Target) -> None:
        super().__init__()
        self.target = target

    def report(self, error: BaseException, event: Event, listener: Listener) -> None:
        self.target.reports.append((str(error), event.type, listener.callback))

    def take_result(self, event: Event, listener: Listener, result: Any) -> None:
        if asyncio.iscoroutine(result):
            result.close()
            self.target.ran.append(listener.callback)
        else:
            super().take_result(event, listener, result)


class Target(EventTarget):
    """A target with an on... attribute, and with listeners that report."""

    def __init__(self) -> None:
        super().__init__()
        self.reports: list[tuple[str, str, object]] = []
        self.ran: list[object] = []

    def _new_listeners(self) -> Listeners:
        return Reporting(self)

    @property
    def onping(self) -> Callable[..., Any] | None:
        return self._get_handler("ping")

    @onping.setter
    def onping(self, callback: Callable[..., Any] | None) -> None:
        self._set_handler("ping", callback)


def logger(log: Log, name: str) -> Callable[[Event], None]:
    return lambda event: log.append(name)


# Listeners.


def test_listeners_are_called_with_the_event_in_the_order_of_their_addition() -> None:
    target, log, event = EventTarget(), Log(), Event("ping")
    for i in range(5):
        target.addEventListener("ping", lambda event, i=i: log.append((i, event)))
    assert target.dispatchEvent(event) is True
    assert log == [(i, event) for i in range(5)]


def test_listeners_get_the_events_of_their_type_only() -> None:
    target, log = EventTarget(), Log()
    target.addEventListener("ping", logger(log, "ping"))
    target.addEventListener("Ping", logger(log, "Ping"))
    for name in ("pong", "ping", "PING", "Ping"):
        target.dispatchEvent(Event(name))
    assert log == ["ping", "Ping"]


def test_a_pair_of_type_and_callback_counts_once() -> None:
    target, log = EventTarget(), Log()
    listener = logger(log, "x")
    for _ in range(3):
        target.addEventListener("ping", listener)
    target.addEventListener("ping", listener, once=True)  # changes nothing either
    target.dispatchEvent(Event("ping"))
    target.dispatchEvent(Event("ping"))
    assert log == ["x", "x"]


def test_bound_methods_of_one_object_are_the_same_listener() -> None:
    class Listening:
        def __init__(self) -> None:
            self.count = 0

        def on_ping(self, event: Event) -> None:
            self.count += 1

    target, first, second = EventTarget(), Listening(), Listening()
    for listening in (first, first, second):
        target.addEventListener("ping", listening.on_ping)
    target.dispatchEvent(Event("ping"))
    target.removeEventListener("ping", first.on_ping)
    target.dispatchEvent(Event("ping"))
    assert (first.count, second.count) == (1, 2)


def test_capture_distinguishes_and_comes_first() -> None:
    target, log = EventTarget(), Log()

    def listener(event: Event) -> None:
        log.append("both")

    target.addEventListener("ping", logger(log, "plain"))
    target.addEventListener("ping", listener)
    target.addEventListener("ping", listener, True)
    target.addEventListener("ping", logger(log, "captures"), {"capture": True})
    target.dispatchEvent(Event("ping"))
    assert log == ["both", "captures", "plain", "both"]
    log.clear()
    target.removeEventListener("ping", listener)
    target.dispatchEvent(Event("ping"))
    assert log == ["both", "captures", "plain"]
    log.clear()
    target.removeEventListener("ping", listener, {"capture": True})
    target.dispatchEvent(Event("ping"))
    assert log == ["captures", "plain"]


@pytest.mark.parametrize("options", [{"once": True}, {"once": 1, "passive": True}])
def test_once_is_an_option(options: dict[str, Any]) -> None:
    target, log = EventTarget(), Log()
    target.addEventListener("ping", logger(log, "x"), options)
    target.addEventListener("ping", logger(log, "y"), once=True)
    target.dispatchEvent(Event("ping"))
    target.dispatchEvent(Event("ping"))
    assert log == ["x", "y"]


def test_a_listener_for_once_is_gone_before_it_is_called() -> None:
    target, log = EventTarget(), Log()

    def listener(event: Event) -> None:
        log.append("x")
        target.dispatchEvent(Event("ping"))

    target.addEventListener("ping", listener, once=True)
    target.dispatchEvent(Event("ping"))
    assert log == ["x"]


def test_a_listener_can_be_removed_and_added_again_at_the_end() -> None:
    target, log = EventTarget(), Log()
    first, second = logger(log, "first"), logger(log, "second")
    target.addEventListener("ping", first)
    target.addEventListener("ping", second)
    target.removeEventListener("ping", first)
    target.addEventListener("ping", first)
    target.dispatchEvent(Event("ping"))
    assert log == ["second", "first"]


def test_removing_what_was_never_added_is_no_error() -> None:
    target = EventTarget()
    target.removeEventListener("ping", print)
    target.addEventListener("ping", len)
    target.removeEventListener("ping", print)
    target.removeEventListener("pong", len)
    target.removeEventListener("ping", None)


def test_a_listener_removed_by_an_earlier_one_is_not_called() -> None:
    target, log = EventTarget(), Log()
    second = logger(log, "second")
    target.addEventListener("ping", lambda event: target.removeEventListener("ping", second))
    target.addEventListener("ping", second)
    target.addEventListener("ping", logger(log, "third"))
    target.dispatchEvent(Event("ping"))
    assert log == ["third"]


def test_a_listener_may_remove_itself_and_all_others() -> None:
    target, log, listeners = EventTarget(), Log(), list[Callable[..., Any]]()

    def clear(event: Event) -> None:
        log.append("clear")
        for listener in listeners:
            target.removeEventListener("ping", listener)

    listeners += [clear, logger(log, "x"), logger(log, "y")]
    for listener in listeners:
        target.addEventListener("ping", listener, once=listener is clear)
    target.dispatchEvent(Event("ping"))
    target.dispatchEvent(Event("ping"))
    assert log == ["clear"]


def test_a_listener_added_during_a_dispatch_waits_for_the_next() -> None:
    target, log = EventTarget(), Log()

    def add(event: Event) -> None:
        log.append("add")
        target.addEventListener("ping", late)

    late = logger(log, "late")
    target.addEventListener("ping", add)
    target.dispatchEvent(Event("ping"))
    assert log == ["add"]
    target.dispatchEvent(Event("ping"))
    assert log == ["add", "add", "late"]


def test_an_object_with_handle_event_is_a_listener_looked_up_at_each_call() -> None:
    class Handler:
        def __init__(self) -> None:
            self.log = Log()
            self.handleEvent: Callable[[Event], Any] = lambda event: self.log.append(1)

    target, handler = EventTarget(), Handler()
    target.addEventListener("ping", handler)  # type: ignore[arg-type]
    target.addEventListener("ping", handler)  # type: ignore[arg-type]
    target.dispatchEvent(Event("ping"))
    handler.handleEvent = lambda event: handler.log.append(2)
    target.dispatchEvent(Event("ping"))
    target.removeEventListener("ping", handler)  # type: ignore[arg-type]
    target.dispatchEvent(Event("ping"))
    assert handler.log == [1, 2]


@pytest.mark.parametrize("callback", [5, "print", object(), [], {}])
def test_what_cannot_be_called_is_refused(callback: Any) -> None:
    with pytest.raises(TypeError, match="a listener must be callable, not"):
        EventTarget().addEventListener("ping", callback)
    with pytest.raises(TypeError, match="onping must be callable, not"):
        Target().onping = callback


def test_no_callback_is_no_listener() -> None:
    target = EventTarget()
    target.addEventListener("ping", None)
    assert target.dispatchEvent(Event("ping"))


@pytest.mark.parametrize("options", [5, "once", None])
def test_options_of_another_type_are_refused(options: Any) -> None:
    with pytest.raises(TypeError, match="options must be a bool or a mapping"):
        EventTarget().addEventListener("ping", print, options)


# The on... attributes.


def test_an_attribute_keeps_the_place_of_its_first_setting() -> None:
    target, log = Target(), Log()
    assert target.onping is None
    target.addEventListener("ping", logger(log, "first"))
    target.onping = logger(log, "attribute")
    target.addEventListener("ping", logger(log, "last"))
    another = logger(log, "another")
    target.onping = another
    assert target.onping is another
    target.dispatchEvent(Event("ping"))
    assert log == ["first", "another", "last"]


def test_an_attribute_set_to_none_gives_its_place_up() -> None:
    target, log = Target(), Log()
    target.onping = logger(log, "attribute")
    target.addEventListener("ping", logger(log, "listener"))
    target.onping = None
    target.onping = None
    assert target.onping is None
    target.dispatchEvent(Event("ping"))
    target.onping = logger(log, "attribute")
    target.dispatchEvent(Event("ping"))
    assert log == ["listener", "listener", "attribute"]


def test_an_attribute_and_a_listener_do_not_mix() -> None:
    target, log = Target(), Log()
    both = logger(log, "x")
    target.onping = both
    target.addEventListener("ping", both)
    target.dispatchEvent(Event("ping"))
    assert log == ["x", "x"]
    target.removeEventListener("ping", both)
    assert target.onping is both


def test_an_attribute_set_during_a_dispatch_counts_at_once() -> None:
    target, log = Target(), Log()

    def change(event: Event) -> None:
        target.onping = logger(log, "new")

    target.addEventListener("ping", change)
    target.onping = logger(log, "old")
    target.dispatchEvent(Event("ping"))
    assert log == ["new"]


def test_an_attribute_that_returns_false_cancels_and_a_listener_does_not() -> None:
    target = Target()
    target.addEventListener("ping", lambda event: False)
    assert target.dispatchEvent(Event("ping", cancelable=True)) is True
    target.onping = lambda event: 0
    assert target.dispatchEvent(Event("ping", cancelable=True)) is True
    target.onping = lambda event: False
    assert target.dispatchEvent(Event("ping", cancelable=True)) is False
    assert target.dispatchEvent(Event("ping")) is True


# Dispatching.


def test_an_event_knows_its_target_while_it_is_dispatched_and_after() -> None:
    target, seen = EventTarget(), Log()

    def listener(event: Event) -> None:
        seen.append((event.target, event.srcElement, event.currentTarget, event.eventPhase, event.composedPath()))

    target.addEventListener("ping", listener)
    event = Event("ping")
    assert (event.target, event.currentTarget, event.eventPhase, event.composedPath()) == (None, None, Event.NONE, [])
    target.dispatchEvent(event)
    assert seen == [(target, target, target, Event.AT_TARGET, [target])]
    assert (event.target, event.currentTarget, event.eventPhase, event.composedPath()) == (target, None, Event.NONE, [])


def test_an_event_without_listeners_gets_its_target_too() -> None:
    target, event = EventTarget(), Event("ping")
    assert target.dispatchEvent(event)
    assert event.target is target


def test_an_event_can_be_dispatched_again_but_not_meanwhile() -> None:
    target, other, log, event = EventTarget(), EventTarget(), Log(), Event("ping")

    def listener(event: Event) -> None:
        for each in (target, other):
            with pytest.raises(InvalidStateError, match="being dispatched") as caught:
                each.dispatchEvent(event)
            log.append(caught.value.name)
            assert isinstance(caught.value, DOMException)

    target.addEventListener("ping", listener)
    target.dispatchEvent(event)
    target.dispatchEvent(event)
    other.dispatchEvent(event)
    assert log == ["InvalidStateError"] * 4
    assert event.target is other


@pytest.mark.parametrize("event", [None, "ping", 5, object()])
def test_only_events_can_be_dispatched(event: Any) -> None:
    with pytest.raises(TypeError):
        EventTarget().dispatchEvent(event)


def test_the_result_says_whether_the_event_was_cancelled() -> None:
    target = EventTarget()
    target.addEventListener("ping", lambda event: event.preventDefault())
    event = Event("ping", cancelable=True)
    assert not event.defaultPrevented
    assert target.dispatchEvent(event) is False
    assert event.defaultPrevented
    event = Event("ping")
    assert target.dispatchEvent(event) is True
    assert not event.defaultPrevented


def test_stopping_immediately_spares_the_other_listeners_this_time() -> None:
    target, log, event = EventTarget(), Log(), Event("ping")
    target.addEventListener("ping", lambda event: event.stopImmediatePropagation(), once=True)
    target.addEventListener("ping", logger(log, "x"))
    target.dispatchEvent(event)
    assert (log, event.cancelBubble) == ([], False)
    target.dispatchEvent(event)
    assert log == ["x"]


def test_stopping_propagation_spares_no_listener_of_the_same_phase() -> None:
    target, log, event = EventTarget(), Log(), Event("ping")

    def stop(event: Event) -> None:
        event.stopPropagation()
        assert event.cancelBubble

    target.addEventListener("ping", stop)
    target.addEventListener("ping", logger(log, "x"))
    target.dispatchEvent(event)
    assert (log, event.cancelBubble) == (["x"], False)


def test_a_capturing_listener_that_stops_propagation_spares_the_others() -> None:
    target, log = EventTarget(), Log()
    target.addEventListener("ping", logger(log, "plain"))
    target.addEventListener("ping", lambda event: event.stopPropagation(), True)
    target.addEventListener("ping", logger(log, "captures"), True)
    target.dispatchEvent(Event("ping"))
    assert log == ["captures"]


@pytest.mark.parametrize("stop", [Event.stopPropagation, Event.stopImmediatePropagation])
def test_an_event_that_was_stopped_before_reaches_nobody_once(stop: Callable[[Event], None]) -> None:
    target, log, event = EventTarget(), Log(), Event("ping")
    target.addEventListener("ping", logger(log, "x"))
    stop(event)
    assert event.cancelBubble
    assert target.dispatchEvent(event)
    assert (log, event.target, event.cancelBubble) == ([], target, False)
    target.dispatchEvent(event)
    assert log == ["x"]


def test_an_exception_is_reported_and_the_other_listeners_are_called() -> None:
    target, log = Target(), Log()

    def wrong(event: Event) -> None:
        raise ValueError("wrong")

    target.addEventListener("ping", wrong)
    target.addEventListener("ping", logger(log, "x"))
    assert target.dispatchEvent(Event("ping")) is True
    assert target.reports == [("wrong", "ping", wrong)]
    assert log == ["x"]


@pytest.mark.parametrize("target", [EventTarget(), Target()])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_exit_passes_and_the_event_is_as_after_any_dispatch(target: EventTarget, error: type[BaseException]) -> None:
    def leave(event: Event) -> None:
        event.stopPropagation()
        raise error

    event = Event("ping")
    target.addEventListener("ping", leave, once=True)
    with pytest.raises(error):
        target.dispatchEvent(event)
    assert (event.currentTarget, event.eventPhase, event.cancelBubble) == (None, Event.NONE, False)
    assert target.dispatchEvent(event)


def test_a_target_that_reports_nowhere_raises() -> None:
    target, log, event = EventTarget(), Log(), Event("ping")

    def wrong(event: Event) -> None:
        raise ValueError("wrong")

    target.addEventListener("ping", wrong, once=True)
    target.addEventListener("ping", logger(log, "x"))
    with pytest.raises(ValueError, match="wrong"):
        target.dispatchEvent(event)
    assert event.eventPhase == Event.NONE
    target.dispatchEvent(event)
    assert log == ["x"]


def test_a_coroutine_function_needs_somebody_to_run_it() -> None:
    async def listener(event: Event) -> None:
        """Nothing."""

    target = Target()
    target.addEventListener("ping", listener)
    target.dispatchEvent(Event("ping"))
    assert target.ran == [listener]
    alone = EventTarget()
    alone.addEventListener("ping", listener)
    with pytest.raises(TypeError, match="event loop"):
        alone.dispatchEvent(Event("ping"))


def test_an_event_of_the_library_is_trusted_and_one_of_the_user_is_not() -> None:
    target, listeners, event = EventTarget(), Listeners(), Event("ping")
    assert not event.isTrusted
    listeners.fire(event, target)
    assert event.isTrusted
    assert event.target is target
    target.dispatchEvent(event)
    assert not event.isTrusted


# The events.


def test_an_event_has_the_attributes_of_the_dom() -> None:
    before = monotonic() * 1000
    event = Event("ping", bubbles=True, cancelable=True, composed=True)
    assert before <= event.timeStamp <= monotonic() * 1000
    assert (event.type, event.bubbles, event.cancelable, event.composed) == ("ping", True, True, True)
    assert (Event.NONE, Event.CAPTURING_PHASE, Event.AT_TARGET, Event.BUBBLING_PHASE) == (0, 1, 2, 3)
    assert repr(event) == "<Event ping>"
    plain = Event("ping")
    assert (plain.bubbles, plain.cancelable, plain.composed) == (False, False, False)


@pytest.mark.parametrize("event", [Event("x"), MessageEvent("x")])
@pytest.mark.parametrize("name", ["type", "target", "isTrusted", "timeStamp", "note"])
def test_the_attributes_of_an_event_cannot_be_set(event: Event, name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(event, name, "x")


def test_a_message_event_has_its_data() -> None:
    event = MessageEvent("message", data=b"x", origin="ws://localhost:8080")
    assert (event.data, event.origin, event.isTrusted) == (b"x", "ws://localhost:8080", False)
    assert (event.lastEventId, event.source, event.ports) == ("", None, ())
    assert MessageEvent("message").data is None


def test_a_message_event_of_the_library_is_complete() -> None:
    target, log = EventTarget(), Log()
    event = new_message_event(target, "hello", "ws://localhost", 12.5)
    assert (event.type, event.data, event.origin, event.timeStamp) == ("message", "hello", "ws://localhost", 12_500.0)
    assert (event.target, event.currentTarget, event.isTrusted) == (target, None, True)
    assert (event.bubbles, event.cancelable, event.composed, event.defaultPrevented) == (False, False, False, False)
    assert (event.eventPhase, event.cancelBubble) == (Event.NONE, False)
    listeners = Listeners()
    listeners.add("message", lambda event: log.append(event.data), capture=False, once=False)
    listeners.dispatch(event)
    assert log == ["hello"]
    assert event.isTrusted
    assert type(event) is MessageEvent


@pytest.mark.parametrize("kind", [Event, MessageEvent])
def test_every_event_takes_the_doms_initial_values(kind: type[Event]) -> None:
    plain = kind("x")
    assert (plain.bubbles, plain.cancelable, plain.composed) == (False, False, False)
    event = kind("x", bubbles=True, cancelable=True, composed=True)
    assert (event.bubbles, event.cancelable, event.composed) == (True, True, True)
