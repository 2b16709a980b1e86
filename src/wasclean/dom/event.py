"""Event, the base of all events (DOM section 2.2), and MessageEvent (HTML section 9.1)."""

from __future__ import annotations

from time import monotonic
from typing import Any, TypedDict, Unpack

from .. import native


class EventInit(TypedDict, total=False):
    """The keyword arguments of every event's constructor, as in the DOM."""

    bubbles: bool
    cancelable: bool
    composed: bool


class Event:
    """Something that happened to an EventTarget, as in the DOM. No event of this library bubbles or can be cancelled.

    Args:
        type: the name of the event, such as ``"open"``.
        bubbles, cancelable, composed: as in the DOM.
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
        # The event's own description.
        self._type = type
        self._time_stamp = monotonic()
        self._bubbles = bubbles
        self._cancelable = cancelable
        self._composed = composed
        # Its present dispatch, or the last one.
        self._target: Any = None
        self._current_target: Any = None
        self._is_trusted = False
        self._dispatching = False
        self._default_prevented = False
        self._propagation_stopped = False
        self._stopped = False

    @property
    def type(self) -> str:
        """The name of the event."""
        return self._type

    @property
    def target(self) -> Any:
        """The object that the event was dispatched to; None before it is dispatched."""
        return self._target

    @property
    def srcElement(self) -> Any:
        """The former name of ``target``."""
        return self._target

    @property
    def currentTarget(self) -> Any:
        """The target while its listeners are called, else None."""
        return self._current_target

    @property
    def eventPhase(self) -> int:
        """AT_TARGET while listeners are called, else NONE."""
        return 2 if self._dispatching else 0

    @property
    def timeStamp(self) -> float:
        """The time at which the event was created, in milliseconds of the monotonic clock."""
        return self._time_stamp * 1000.0

    @property
    def bubbles(self) -> bool:
        """False for every event of this library."""
        return self._bubbles

    @property
    def cancelable(self) -> bool:
        """False for every event of this library."""
        return self._cancelable

    @property
    def composed(self) -> bool:
        """False for every event of this library."""
        return self._composed

    @property
    def defaultPrevented(self) -> bool:
        """True if preventDefault() was called on a cancelable event."""
        return self._default_prevented

    @property
    def isTrusted(self) -> bool:
        """True if the library dispatched the event, False if dispatchEvent() did."""
        return self._is_trusted

    def preventDefault(self) -> None:
        """Cancel the event, if it is cancelable."""
        if self._cancelable:
            self._default_prevented = True

    def stopPropagation(self) -> None:
        """Let a capturing listener keep the event from listeners that do not capture."""
        self._propagation_stopped = True

    def stopImmediatePropagation(self) -> None:
        """Keep the event from all listeners that have not been called yet."""
        self._propagation_stopped = True
        self._stopped = True

    @property
    def cancelBubble(self) -> bool:
        """True after stopPropagation()."""
        return self._propagation_stopped

    def composedPath(self) -> list[Any]:
        """Return a list of the target while its listeners are called, else an empty list."""
        return [self._target] if self._dispatching else []

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._type}>"

    # The steps of a dispatch, for EventTarget.

    def _aim(self, target: Any, trusted: bool) -> None:
        """Set the target, and whether the library or a user dispatches the event."""
        self._target = target
        self._is_trusted = trusted

    def _begin_dispatch(self) -> None:
        self._current_target = self._target
        self._dispatching = True

    def _end_dispatch(self) -> None:
        self._current_target = None
        self._dispatching = False
        self._propagation_stopped = False
        self._stopped = False


class MessageEvent(Event):
    """A received message. ``data`` is a str for text; for binary, its type is given by the socket's ``binaryType``."""

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
        """Empty: only server-sent events have one."""
        return ""

    @property
    def source(self) -> None:
        """None: only cross-document messages have one."""
        return

    @property
    def ports(self) -> tuple[()]:
        """Empty: only cross-document and channel messages have them."""
        return ()

    def _initialize(self, target: Any, data: Any, origin: str, now: float) -> None:
        """Set every attribute, as for a new trusted ``message`` event."""
        self._type = "message"
        self._time_stamp = now
        self._bubbles = self._cancelable = self._composed = False
        self._target = target
        self._current_target = None
        self._is_trusted = True
        self._dispatching = self._default_prevented = self._propagation_stopped = self._stopped = False
        self._data = data
        self._origin = origin

    def _clear(self) -> None:
        self._target = self._data = None


native.sign(Event, "(type, *, bubbles=False, cancelable=False, composed=False)")
native.sign(MessageEvent, "(type, *, data=None, origin='', **init)")

_spare: MessageEvent | None = None


def new_message_event(target: Any, data: Any, origin: str, now: float) -> MessageEvent:
    """Return a trusted ``message`` event, without a call of the constructor: one is needed for each message."""
    global _spare
    event = _spare
    if event is None:
        event = MessageEvent.__new__(MessageEvent)
    else:
        _spare = None
    event._initialize(target, data, origin, now)
    return event


def reuse_message_event(event: MessageEvent) -> None:
    """Keep a dispatched event for the next new_message_event(), unless a listener has kept it."""
    global _spare
    if native.is_unshared(event):
        event._clear()
        _spare = event
