"""EventTarget and its list of event listeners (DOM section 2.7).

An EventTarget is the public face; its Listeners hold the list and dispatch events. They are created with the first
listener. The owner of an event loop gives its EventTarget a subclass of Listeners, which runs coroutines as tasks and
reports exceptions; without one a dispatch raises them.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from inspect import CO_ASYNC_GENERATOR, CO_GENERATOR, CO_ITERABLE_COROUTINE
from typing import Any, Generic, Self, TypeVar, overload

from .. import native
from .event import Event
from .exceptions import InvalidStateError

_GENERATES = CO_GENERATOR | CO_ASYNC_GENERATOR

E = TypeVar("E", bound=Event)

#: A function that is called with the event or, as in the DOM, an object with a method ``handleEvent``.
Callback = Callable[..., Any]


class Listener:
    """An entry in the list of event listeners.

    Attributes:
        type: the type of the events that it gets.
        callback: the object that was given by the user.
        function: the function to call for it.
        capture, once: the DOM's options.
        attribute: True if it is the value of an ``on...`` attribute.
        removed: True once it has been removed, perhaps during a dispatch.
    """

    __slots__ = ("attribute", "callback", "capture", "function", "once", "removed", "type")

    def __init__(
        self,
        type: str,
        callback: Callback,
        function: Callable[[Event], Any],
        capture: bool,
        once: bool,
        attribute: bool,
    ) -> None:
        self.type = type
        self.callback = callback
        self.function = function
        self.capture = capture
        self.once = once
        self.attribute = attribute
        self.removed = False


class Listeners:
    """The event listener list of one EventTarget.

    The list is a tuple, which is replaced and never changed: a dispatch goes through the list as it was at its start.
    Listeners that capture come first. There are a few listeners at most, so all types share the list.

    Attributes:
        context: the contextvars.Context in which trusted events are dispatched; None for the current one. An event of
            dispatchEvent() is dispatched in the context of its caller.
    """

    __slots__ = ("_list", "context")

    def __init__(self) -> None:
        self._list: tuple[Listener, ...] = ()
        self.context: Any = None

    def has(self, type: str) -> bool:
        """Return True if there is a listener for events of the type."""
        for listener in self._list:  # noqa: SIM110 - compiled, a generator expression takes several times as long
            if listener.type == type:
                return True
        return False

    def add(self, type: str, callback: Callback, *, capture: bool, once: bool, attribute: bool = False) -> None:
        """Add a listener, behind all others or, if it captures, behind all others that capture."""
        new = Listener(type, callback, self.function_of(type, callback), capture, once, attribute)
        place = sum(other.capture for other in self._list) if capture else len(self._list)
        self._list = (*self._list[:place], new, *self._list[place:])
        self.added(type)

    def remove(self, listener: Listener) -> None:
        """Remove a listener, also from dispatches in progress."""
        listener.removed = True
        self._list = tuple(other for other in self._list if other is not listener)

    def find(self, type: str, callback: Callback | None, capture: bool) -> Listener | None:
        """Return the listener that addEventListener() added with these arguments; None if there is none."""
        for listener in self._list:
            # Python creates a new bound method at each access, so equal callbacks are the same callback.
            if (
                listener.type == type
                and listener.callback == callback
                and listener.capture == capture
                and not listener.attribute
            ):
                return listener
        return None

    def find_attribute(self, type: str) -> Listener | None:
        """Return the listener of the attribute ``on<type>``; None if the attribute is not set."""
        for listener in self._list:
            if listener.attribute and listener.type == type:
                return listener
        return None

    def set_attribute(self, type: str, callback: Callback | None) -> None:
        """Set the attribute ``on<type>``: the first value takes a place in the list, further ones keep that place."""
        listener = self.find_attribute(type)
        if listener is None:
            if callback is not None:
                self.add(type, callback, capture=False, once=False, attribute=True)
        elif callback is None:
            self.remove(listener)
        else:
            listener.callback = callback
            listener.function = self.function_of(type, callback)

    def fire(self, event: Event, target: EventTarget) -> None:
        """Dispatch a trusted event."""
        event._aim(target, True)
        self.dispatch(event)

    def dispatch(self, event: Event) -> None:
        """Call the listeners of the event's type; the event has its target already."""
        context = self.context if event._is_trusted else None
        stopped = False  # True if a listener that captures has stopped the propagation
        event._begin_dispatch()
        try:
            for listener in self._list:
                if listener.type != event._type or listener.removed or (stopped and not listener.capture):
                    continue
                if listener.once:
                    self.remove(listener)
                try:
                    if context is None:
                        result = listener.function(event)
                    else:
                        result = native.call(listener.function, event, context)
                    if result is not None:
                        self.take_result(event, listener, result)
                except (KeyboardInterrupt, SystemExit) as error:
                    self.leave(error)
                    break
                except BaseException as error:  # CancelledError and GeneratorExit, too, are failures of the listener
                    self.report(error, event, listener)
                if event._stopped:
                    break
                if listener.capture:
                    stopped = event.cancelBubble
        finally:
            event._end_dispatch()

    # The owner of an event loop overrides these.

    def added(self, type: str) -> None:
        """Called after a listener for the type was added."""

    def function_of(self, type: str, callback: Callback) -> Callable[[Event], Any]:
        """Return the function to call for a callback."""
        return _function(callback)

    def take_result(self, event: Event, listener: Listener, result: Any) -> None:
        """Process what a listener has returned, unless it is None."""
        if isinstance(result, Coroutine):
            result.close()
            raise TypeError("a listener that is a coroutine function needs an event loop")
        if result is False and listener.attribute:  # the HTML standard's "event handler processing algorithm"
            event.preventDefault()

    def report(self, error: BaseException, event: Event, listener: Listener) -> None:
        """Report an exception of a listener; the other listeners are called if this returns."""
        raise error

    def leave(self, error: BaseException) -> None:
        """Process KeyboardInterrupt or SystemExit of a listener; no other listener is called."""
        raise error


class EventTarget:
    """The DOM's EventTarget: it keeps listeners, in order, and dispatches events to them."""

    __slots__ = ("_listeners",)

    def __init__(self) -> None:
        self._listeners: Listeners | None = None

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
        listeners = self._make_listeners()
        if listeners.find(type, callback, capture) is None:
            listeners.add(type, callback, capture=capture, once=once)

    def removeEventListener(
        self, type: str, callback: Callback | None, options: bool | Mapping[str, Any] = False
    ) -> None:
        """Take back what addEventListener() did; a callback that was not added is no error."""
        capture = _option(options, "capture")
        if self._listeners is not None:
            listener = self._listeners.find(type, callback, capture)
            if listener is not None:
                self._listeners.remove(listener)

    def dispatchEvent(self, event: Event) -> bool:
        """Call the listeners of the event's type, now.

        Returns:
            False if a listener cancelled the event, else True.

        Raises:
            TypeError: not an Event.
            InvalidStateError: the event is being dispatched already.
        """
        if not isinstance(event, Event):
            raise TypeError(f"dispatchEvent() takes an Event, not {type(event).__name__}")
        if event.eventPhase != Event.NONE:
            raise InvalidStateError("the event is being dispatched already")
        event._aim(self, False)
        if event.cancelBubble:  # "If event's stop propagation flag is set, then return"
            event._end_dispatch()
        elif self._listeners is not None:
            self._listeners.dispatch(event)
        return not event.defaultPrevented

    def _new_listeners(self) -> Listeners:
        """Return the object that is to hold the listeners; the owner of an event loop overrides this."""
        return Listeners()

    def _make_listeners(self) -> Listeners:
        if self._listeners is None:
            self._listeners = self._new_listeners()
        return self._listeners

    def _get_handler(self, type: str) -> Callback | None:
        """Return the value of the attribute ``on<type>``."""
        listener = None if self._listeners is None else self._listeners.find_attribute(type)
        return None if listener is None else listener.callback

    def _set_handler(self, type: str, callback: Callback | None) -> None:
        """Set the attribute ``on<type>``.

        Raises:
            TypeError: the callback can't be called.
        """
        if callback is not None:
            _check_callback(f"on{type}", callback)
            self._make_listeners().set_attribute(type, callback)
        elif self._listeners is not None:
            self._listeners.set_attribute(type, None)


native.sign(EventTarget, "()")


class EventHandler(Generic[E]):
    """A descriptor: an event handler IDL attribute (HTML section 8.1.8.1), such as ``onmessage``.

    Args:
        type: the type of its events.
        doc: its docstring.
    """

    def __init__(self, type: str, doc: str) -> None:
        self._type = type
        self.__doc__ = doc

    @overload
    def __get__(self, target: None, owner: Any) -> Self: ...
    @overload
    def __get__(self, target: EventTarget, owner: Any) -> Callable[[E], Any] | None: ...
    def __get__(self, target: EventTarget | None, owner: Any) -> Any:
        return self if target is None else target._get_handler(self._type)

    def __set__(self, target: EventTarget, callback: Callable[[E], Any] | None) -> None:
        target._set_handler(self._type, callback)


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
    """Refuse a function with a ``yield``: a call would return a generator, and run nothing of it.

    Args:
        what: the name of the option or attribute.
        function: any callable: a function, a method, a functools.partial, an object with ``__call__``.

    Raises:
        TypeError: it is a generator function, perhaps an asynchronous one.
    """
    while isinstance(function, partial):
        function = function.func
    code = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)
    flags = getattr(code, "co_flags", 0)
    if flags & _GENERATES and not flags & CO_ITERABLE_COROUTINE:  # set by the decorator types.coroutine
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
