"""What a WebSocket needs of the world: a clock, an alarm, a transport, and a queue of tasks."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable, Coroutine
from typing import Any


class Host:
    """The interface that asyncio and the tests implement; all but call_threadsafe() is called on the loop's thread."""

    __slots__ = ()

    def time(self) -> float:
        """The time: seconds of a monotonic clock."""
        raise NotImplementedError

    def write(self, data: bytes | list[bytes | bytearray], last: bool = False) -> None:
        """Write bytes, or a list of them in order; call the socket's ``_writing_paused()`` if not all could leave.

        Args:
            last: whether half_close() follows at once if all could leave: both may share a packet.
        """
        raise NotImplementedError

    def pause_reading(self) -> None:
        """Read no more until resume_reading(); call the socket's ``_end_in_sight()`` if the peer's end waits."""
        raise NotImplementedError

    def resume_reading(self) -> None:
        """Read again; no error if reading was not paused."""
        raise NotImplementedError

    def half_close(self) -> None:
        """End our side of TCP behind what was written, drop what arrives until the peer's end; bounded by itself."""
        raise NotImplementedError

    def close(self) -> None:
        """End TCP behind what was written; bounded by itself."""
        raise NotImplementedError

    def abort(self, reset: bool) -> None:
        """End TCP, or the attempt to open it, now; with a RST if ``reset``."""
        raise NotImplementedError

    def held(self) -> tuple[int, int]:
        """The bytes that were written and that the transport holds, and those that the kernel does, 0 if unknown."""
        raise NotImplementedError

    def slept(self) -> float:
        """The seconds that this machine has been suspended since it was started; 0 where it can't tell."""
        raise NotImplementedError

    def set_alarm(self, when: float | None) -> None:
        """Call the socket's ``_alarm()`` at the time; replaces the alarm before; None for none."""
        raise NotImplementedError

    def queue_task(self, function: Callable[[], object]) -> None:
        """Call the function in the loop's next turn."""
        raise NotImplementedError

    def call_threadsafe(self, function: Callable[[], object]) -> None:
        """Call the function in the loop, soon, in the order of these calls; at once if the loop has been closed.

        Every thread may call this, and so may signal handlers and ``__del__``; it waits for nothing.
        """
        raise NotImplementedError

    def loop(self) -> AbstractEventLoop:
        """The event loop that all this happens in."""
        raise NotImplementedError

    def create_task(self, coroutine: Coroutine[Any, Any, Any], failed: Callable[[BaseException], object]) -> None:
        """Run the coroutine in the background, kept alive, and call ``failed`` with its exception, if it raises one."""
        raise NotImplementedError

    def report(self, message: str, error: BaseException) -> None:
        """Report an exception in the user's code to the loop's exception handler."""
        raise NotImplementedError

    def address(self, name: str) -> Any:
        """``peername``, also when the connection has gone, or ``sockname``; None if there is no transport."""
        raise NotImplementedError
