"""Sockets as type checkers see them: listeners by the type of their event, and the server's end with its request.

At run time all of these are one class, ``wasclean.socket.websocket.WebSocket``: a compiled class has no overloads, and
a subclass would make each call of its methods slower.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import websocket

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Literal, Protocol, TypeVar, overload

    from ..closing.events import CloseEvent, ErrorEvent
    from ..dom.event import Event, MessageEvent
    from ..model.heads import Request

    E_contra = TypeVar("E_contra", bound=Event, contravariant=True)

    class EventListener(Protocol[E_contra]):
        """An object that is called by its method, as in the DOM."""

        def handleEvent(self, event: E_contra, /) -> Any:
            """Take an event."""

    Listener = Callable[[E_contra], Any] | EventListener[E_contra] | None
    Options = bool | Mapping[str, Any]

    class WebSocket(websocket.WebSocket):
        """One end of a WebSocket connection."""

        @overload  # type: ignore[override]  # these four only, so that a misspelt name is an error
        def addEventListener(
            self, type: Literal["open"], callback: Listener[Event], options: Options = False, *, once: bool = False
        ) -> None: ...
        @overload
        def addEventListener(
            self,
            type: Literal["message"],
            callback: Listener[MessageEvent],
            options: Options = False,
            *,
            once: bool = False,
        ) -> None: ...
        @overload
        def addEventListener(
            self,
            type: Literal["error"],
            callback: Listener[ErrorEvent],
            options: Options = False,
            *,
            once: bool = False,
        ) -> None: ...
        @overload
        def addEventListener(
            self,
            type: Literal["close"],
            callback: Listener[CloseEvent],
            options: Options = False,
            *,
            once: bool = False,
        ) -> None: ...
        def addEventListener(self, type: Any, callback: Any, options: Any = False, *, once: bool = False) -> None:
            """Call ``callback`` with each event of the type."""

        @overload  # type: ignore[override]
        def removeEventListener(
            self, type: Literal["open"], callback: Listener[Event], options: Options = False
        ) -> None: ...
        @overload
        def removeEventListener(
            self, type: Literal["message"], callback: Listener[MessageEvent], options: Options = False
        ) -> None: ...
        @overload
        def removeEventListener(
            self, type: Literal["error"], callback: Listener[ErrorEvent], options: Options = False
        ) -> None: ...
        @overload
        def removeEventListener(
            self, type: Literal["close"], callback: Listener[CloseEvent], options: Options = False
        ) -> None: ...
        def removeEventListener(self, type: Any, callback: Any, options: Any = False) -> None:
            """Take back what addEventListener() did."""

    class ServerWebSocket(WebSocket):
        """The server's end of a connection, which has a request."""

        @property
        def request(self) -> Request:
            """The client's request."""
            ...

else:
    WebSocket = ServerWebSocket = websocket.WebSocket
