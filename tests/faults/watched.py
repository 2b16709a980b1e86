"""A record of the events and states of a socket, which does not keep the socket alive, and the rules for them."""

from __future__ import annotations

from typing import Any, Protocol
from weakref import ref


class Watchable(Protocol):
    """The part of WebSocket that is used here."""

    @property
    def readyState(self) -> int:
        """CONNECTING (0), OPEN (1), CLOSING (2) or CLOSED (3)."""

    @property
    def addEventListener(self) -> Any:
        """Call ``callback`` with each event of the type."""


CLOSED = 3


class Watched:
    """The record of one socket.

    Args:
        socket: the socket.
        messages: True to listen for messages, too; then they no longer go to recv().

    Attributes:
        types: the types of its events, in order.
        states: the values of readyState at each event and each look(), in order.
    """

    def __init__(self, socket: Watchable, *, messages: bool = False) -> None:
        self.name = repr(socket)
        self.socket = ref(socket)
        self.types: list[str] = []
        self.states: list[int] = [int(socket.readyState)]
        for name in ("open", "error", "close", "message")[: 4 if messages else 3]:
            socket.addEventListener(name, self._happened)

    def look(self) -> None:
        """Record readyState now, in addition to each event."""
        socket = self.socket()
        if socket is not None:
            self.states.append(int(socket.readyState))

    @property
    def is_closed(self) -> bool:
        """True if the close event has fired."""
        return "close" in self.types

    def problems(self) -> list[str]:
        """Return a description of each rule that the socket has broken."""
        self.look()
        types, states = self.types, self.states
        found = []
        if types.count("close") != 1:
            found.append(f"{types.count('close')} close events")
        elif types[-1] != "close":
            found.append(f"{types[types.index('close') + 1 :]} after the close event")
        if types.count("error") > 1:
            found.append("more than one error event")
        if types.count("open") > 1 or "open" in types[1:]:
            found.append("an open event that is not the first")
        if states != sorted(states):
            found.append(f"readyState went back: {states}")
        if self.is_closed and states[-1] != CLOSED:
            found.append(f"readyState is {states[-1]} at the end")
        return [f"{self.name}: {problem} (events: {types})" for problem in found]

    def _happened(self, event: Any) -> None:
        self.types.append(event.type)
        self.look()
