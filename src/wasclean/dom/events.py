"""The events of the DOM and of the WHATWG WebSockets standard, and the EventTarget that dispatches them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from inspect import CO_ASYNC_GENERATOR, CO_GENERATOR, CO_ITERABLE_COROUTINE
from time import monotonic
from typing import Any, TypedDict, Unpack

from .. import native
from .exceptions import InvalidStateError

_GENERATES = CO_GENERATOR | CO_ASYNC_GENERATOR

#: Called with the event. As in the DOM it may also be an object with a method ``handleEvent``.
Callback = Callable[..., Any]


class EventInit(TypedDict, total=False):
    """What every event's constructor takes: as in the DOM, for events that you make yourself."""

    bubbles: bool
    cancelable: bool
    composed: bool


class Event:
    """Something that happened to a socket. As in the DOM; none of ours bubbles or can be cancelled.

    Args:
        type: such as ``"open"``.
        bubbles, cancelable, composed: as in the DOM, for events that you make yourself.
    """

    __slots__ = (
        "_bubbles",
        "_cancelable",
        "_composed",
        "_current_target",
        "_default_prevented",
        "_dispatching",
        "_is_trusted",
        "_propagation_stopped",
        "_stopped",
        "_target",
        "_time_stamp",
        "_type",
    )

    NONE = 0
    CAPTURING_PHASE = 1
    AT_TARGET = 2
    BUBBLING_PHASE = 3

    def __init__(self, type: str, *, bubbles: bool = False, cancelable: bool = False, composed: bool = False) -> None:
        self._type = type
        self._target: EventTarget | None = None
        self._current_target: EventTarget | None = None
        self._time_stamp = monotonic()
        self._bubbles = bubbles
        self._cancelable = cancelable
        self._composed = composed
        self._default_prevented = False
        self._dispatching = False
        self._is_trusted = False
        self._propagation_stopped = False
        self._stopped = False

    @property
    def type(self) -> str:
        """The event's name."""
        return self._type

    @property
    def target(self) -> Any:
        """The object that the event was dispatched to: the socket. None before that."""
        return self._target

    @property
    def srcElement(self) -> Any:
        """The target, by its older name."""
        return self._target

    @property
    def currentTarget(self) -> Any:
        """The target while its listeners are being called, else None."""
        return self._current_target

    @property
    def eventPhase(self) -> int:
        """AT_TARGET while listeners are being called, else NONE."""
        return 2 if self._dispatching else 0

    @property
    def timeStamp(self) -> float:
        """When the event was made: milliseconds of the monotonic clock."""
        return self._time_stamp * 1000.0

    @property
    def bubbles(self) -> bool:
        """False for every event of a socket."""
        return self._bubbles

    @property
    def cancelable(self) -> bool:
        """False for every event of a socket."""
        return self._cancelable

    @property
    def composed(self) -> bool:
        """False for every event of a socket."""
        return self._composed

    @property
    def defaultPrevented(self) -> bool:
        """Whether preventDefault() was called on a cancelable event."""
        return self._default_prevented

    @property
    def isTrusted(self) -> bool:
        """Whether the library made the event, and not its user."""
        return self._is_trusted

    def preventDefault(self) -> None:
        """Cancel the event if it can be cancelled."""
        if self._cancelable:
            self._default_prevented = True

    def stopPropagation(self) -> None:
        """Keep the event from other targets (there are none), and after a capturing listener from the others."""
        self._propagation_stopped = True

    def stopImmediatePropagation(self) -> None:
        """Keep the event from the listeners that have not been called yet."""
        self._propagation_stopped = True
        self._stopped = True

    @property
    def cancelBubble(self) -> bool:
        """Whether propagation was stopped."""
        return self._propagation_stopped

    def composedPath(self) -> list[Any]:
        """The target while its listeners are being called, else nothing."""
        return [self._target] if self._dispatching else []

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._type}>"


class MessageEvent(Event):
    """A message has arrived: ``data`` is a str for text; for binary what the socket's ``binaryType`` says."""

    __slots__ = ("_data", "_origin")

    def __init__(self, type: str, *, data: Any = None, origin: str = "", **init: Unpack[EventInit]) -> None:
        super().__init__(type, **init)
        self._data = data
        self._origin = origin

    @property
    def data(self) -> Any:
        """The message."""
        return self._data

    @property
    def origin(self) -> str:
        """The origin of the socket's URL, such as ``ws://localhost:8080``; empty on a server."""
        return self._origin

    @property
    def lastEventId(self) -> str:
        """Empty: WebSockets have none."""
        return ""

    @property
    def source(self) -> None:
        """None: WebSockets have none."""
        return

    @property
    def ports(self) -> tuple[()]:
        """Empty: WebSockets have none."""
        return ()


native.sign(Event, "(type, *, bubbles=False, cancelable=False, composed=False)")
native.sign(MessageEvent, "(type, *, data=None, origin='', **init)")

_spare: MessageEvent | None = None


def new_message_event(target: EventTarget, data: Any, origin: str, now: float) -> MessageEvent:
    """A trusted ``message`` event, made without the constructor: this is on the path of every message."""
    global _spare
    event = _spare
    if event is None:
        event = MessageEvent.__new__(MessageEvent)
    else:
        _spare = None
    event._type = "message"
    event._target = target
    event._current_target = None
    event._time_stamp = now
    event._bubbles = event._cancelable = event._composed = event._default_prevented = False
    event._dispatching = event._propagation_stopped = event._stopped = False
    event._is_trusted = True
    event._data = data
    event._origin = origin
    return event


def reuse_message_event(event: MessageEvent) -> None:
    """The event has been dispatched: unless a listener has kept it, it is the next one."""
    global _spare
    if native.is_unshared(event):
        event._target = event._data = None
        _spare = event


class Listener:
    """One entry of an EventTarget's list: the callback that was given, what to call for it, and how to treat it."""

    __slots__ = ("attribute", "callback", "capture", "function", "once", "removed")

    def __init__(
        self, callback: Callback, function: Callable[[Event], Any], capture: bool, once: bool, attribute: bool
    ) -> None:
        self.callback = callback
        self.function = function
        self.capture = capture
        self.once = once
        self.attribute = attribute  # whether it stands for an on... attribute
        self.removed = False


class Application:
    """What a Connection calls: its owner overrides these. None of them may raise an Exception.

    It is the base of EventTarget because one object is to be both, and a compiled class has one base.
    """

    __slots__ = ()

    def _message_received(self, message: str | bytes) -> None:
        """A message has arrived, while the connection is OPEN or CLOSE_SENT."""

    def _pong_received(self, payload: bytes) -> None:
        """A pong has arrived, asked for or not."""

    def _deliver_queued(self) -> None:
        """Handle the messages that have been received, now: what came behind them is about to end the connection."""

    def _state_changed(self) -> None:
        """Called when ``connection.closing.state`` has changed."""


class EventTarget(Application):
    """The DOM's EventTarget: an ordered list of listeners for each type of event.

    The lists are tuples that are replaced and never changed, so that a dispatch goes through the list as it was.
    """

    __slots__ = ("_context", "_listeners")

    def __init__(self) -> None:
        self._context: Any = None  # a Context, in which listeners are called for events of our own making
        self._listeners: dict[str, tuple[Listener, ...]] | None = None

    def addEventListener(
        self,
        type: str,
        callback: Callback | None,
        options: bool | Mapping[str, Any] = False,
        *,
        once: bool = False,
    ) -> None:
        """Call ``callback`` with each event of the type; a pair of type and callback counts only once.

        Args:
            callback: a function, a coroutine function (it runs as a task), or an object with ``handleEvent``.
            options: as in the DOM, ``capture`` or a mapping with ``capture`` and ``once``.
            once: whether to remove the listener before its first call.

        Raises:
            TypeError: the callback can't be called, or the options are neither a bool nor a mapping.
        """
        if callback is None:  # the DOM's rule
            return
        _check_callback("a listener", callback)
        capture = _option(options, "capture")
        once = once or (not isinstance(options, bool) and _option(options, "once"))
        if self._find(type, callback, capture) is None:
            self._add(type, Listener(callback, self._function_of(type, callback), capture, once, False))

    def removeEventListener(
        self, type: str, callback: Callback | None, options: bool | Mapping[str, Any] = False
    ) -> None:
        """Take back what addEventListener() did; a callback that was not added is no error."""
        listener = self._find(type, callback, _option(options, "capture"))
        if listener is not None:
            self._remove(type, listener)

    def dispatchEvent(self, event: Event) -> bool:
        """Call the listeners of the event's type, now.

        Returns:
            Whether no listener cancelled the event.

        Raises:
            TypeError: not an Event.
            InvalidStateError: the event is being dispatched already.
        """
        if not isinstance(event, Event):
            raise TypeError(f"dispatchEvent() takes an Event, not {type(event).__name__}")
        if event._dispatching:
            raise InvalidStateError("the event is being dispatched already")
        event._is_trusted = False
        if event._propagation_stopped:  # "If event's stop propagation flag is set, then return"
            event._target = self
            event._propagation_stopped = event._stopped = False
        else:
            self._dispatch(event)
        return not event._default_prevented

    def _fire(self, event: Event) -> None:
        """Dispatch an event of our own making."""
        event._is_trusted = True
        self._dispatch(event)

    def _dispatch(self, event: Event) -> None:
        event._target = self
        listeners = None if self._listeners is None else self._listeners.get(event._type)
        if listeners is not None:
            self._call_listeners(event, listeners)

    def _call_listeners(self, event: Event, listeners: tuple[Listener, ...]) -> None:
        event._current_target = self
        event._dispatching = True
        context = self._context if event._is_trusted else None  # a dispatchEvent() is the caller's own
        stopped = False  # whether a capturing listener stopped what the DOM takes for another turn of the dispatch
        try:
            for listener in listeners:
                if listener.removed or (stopped and not listener.capture):
                    continue
                if listener.once:
                    self._remove(event._type, listener)
                try:
                    if context is None:
                        result = listener.function(event)
                    else:
                        result = native.call(listener.function, event, context)
                    if result is not None:
                        self._take_result(event, listener, result)
                except (KeyboardInterrupt, SystemExit) as error:
                    self._leave(error)
                    break
                except BaseException as error:  # CancelledError and GeneratorExit, too, are failures of the listener
                    self._report(error, event, listener.callback)
                if event._stopped:
                    break
                if listener.capture:
                    stopped = event._propagation_stopped
        finally:
            event._dispatching = False
            event._current_target = None
            event._propagation_stopped = False
            event._stopped = False

    def _take_result(self, event: Event, listener: Listener, result: Any) -> None:
        """Do what the result of a listener asks for."""
        if isinstance(result, Coroutine):
            self._run(result, event, listener.callback)
        elif result is False and listener.attribute:  # the HTML standard's "event handler processing algorithm"
            event.preventDefault()

    def _run(self, coroutine: Any, event: Event, callback: Callback) -> None:
        """Run what a coroutine function returned; the owner of a loop overrides this."""
        coroutine.close()
        raise TypeError("a listener that is a coroutine function needs an event loop")

    def _report(self, error: BaseException, event: Event, callback: Callback) -> None:
        """Report an exception of a listener; the owner of a loop overrides this."""
        raise error

    def _leave(self, error: BaseException) -> None:
        """Pass on what is no error, but asks for the program's end; the owner of a loop overrides this."""
        raise error

    def _listens(self, type: str) -> bool:
        return self._listeners is not None and type in self._listeners

    def _add(self, type: str, listener: Listener) -> None:
        if self._listeners is None:
            self._listeners = {}
        others = self._listeners.get(type, ())
        place = sum(other.capture for other in others) if listener.capture else len(others)  # capturing ones come first
        self._listeners[type] = (*others[:place], listener, *others[place:])
        self._listener_added(type)

    def _function_of(self, type: str, callback: Callback) -> Callable[[Event], Any]:
        """What to call for a callback; the owner of a loop in debug mode overrides this."""
        return _function(callback)

    def _listener_added(self, type: str) -> None:
        """Called after each addition; a hook."""

    def _remove(self, type: str, listener: Listener) -> None:
        listener.removed = True
        assert self._listeners is not None
        rest = tuple(other for other in self._listeners[type] if other is not listener)
        if rest:
            self._listeners[type] = rest
        else:
            del self._listeners[type]

    def _find(self, type: str, callback: Callback | None, capture: bool) -> Listener | None:
        for listener in () if self._listeners is None else self._listeners.get(type, ()):
            # Python makes a new bound method at each access: equal ones are the same listener.
            if listener.callback == callback and listener.capture == capture and not listener.attribute:
                return listener
        return None

    def _get_handler(self, type: str) -> Callback | None:
        for listener in () if self._listeners is None else self._listeners.get(type, ()):
            if listener.attribute:
                return listener.callback
        return None

    def _set_handler(self, type: str, callback: Callback | None) -> None:
        """Set an on... attribute: the first setting takes a place in the list, later ones keep it, None gives it up."""
        if callback is not None:
            _check_callback(f"on{type}", callback)
        for listener in () if self._listeners is None else self._listeners.get(type, ()):
            if listener.attribute:
                if callback is None:
                    self._remove(type, listener)
                else:
                    listener.callback = callback
                    listener.function = self._function_of(type, callback)
                return
        if callback is not None:
            self._add(type, Listener(callback, self._function_of(type, callback), False, False, True))


native.sign(EventTarget, "()")


def _function(callback: Any) -> Callable[[Event], Any]:
    if callable(callback):
        return callback  # type: ignore[no-any-return]

    def handle_event(event: Event) -> Any:
        return callback.handleEvent(event)  # looked up at each call, as in the DOM

    return handle_event


def _check_callback(what: str, callback: Any) -> None:
    if not callable(callback):
        handle_event = getattr(callback, "handleEvent", None)
        if not callable(handle_event):
            raise TypeError(f"{what} must be callable, not {type(callback).__name__}")
        callback = handle_event
    check_not_generator(what, callback)


def check_not_generator(what: str, function: Any) -> None:
    """Refuse a function with a ``yield``: its call returns a generator, and nothing of it runs.

    Args:
        what: the name of the option or attribute.
        function: whatever can be called: a function, a method, a functools.partial, an object with ``__call__``.

    Raises:
        TypeError: it is a generator function, maybe an async one.
    """
    while isinstance(function, partial):
        function = function.func
    code = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)
    flags = getattr(code, "co_flags", 0)
    if flags & _GENERATES and not flags & CO_ITERABLE_COROUTINE:  # which the decorator types.coroutine sets
        raise TypeError(
            f"{what} must be a function or a coroutine function, not a generator function:"
            f" {getattr(function, '__qualname__', function)!s} has a yield, so calling it would run nothing of it"
        )


def _option(options: bool | Mapping[str, Any], name: str) -> bool:
    if isinstance(options, bool):
        return options
    if isinstance(options, Mapping):
        return bool(options.get(name, False))
    raise TypeError(f"options must be a bool or a mapping, not {type(options).__name__}")
