"""What an epoll has found: this is its Python, readiness.pyx its C, which makes no object for an event."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from select import epoll


class Readiness:
    """The events of the latest look at an epoll.

    Args:
        source: the epoll.
        most: events that one look may find, at least 1.
    """

    __slots__ = ("_found", "_most", "_source")

    def __init__(self, source: epoll, most: int) -> None:
        self._source = source
        self._most = most
        self._found: list[tuple[int, int]] = []

    def look(self) -> int:
        """See what has happened, without waiting; returns how many events that were.

        Raises:
            OSError, ValueError: the epoll is closed.
        """
        self._found = self._source.poll(0, self._most)
        return len(self._found)

    def number(self, i: int) -> int:
        """The number of the file that the i-th event is about."""
        return self._found[i][0]

    def events(self, i: int) -> int:
        """What has happened to it: a sum of select.EPOLLIN and its siblings."""
        return self._found[i][1]
