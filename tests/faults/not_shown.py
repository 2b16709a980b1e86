"""The rows of the fault matrix that no test shows, and why."""

from __future__ import annotations

#: By the row's id.
NOT_SHOWN: dict[str, str] = {
    "C101": "a socket that is dropped without close(): its event loop keeps an open connection alive, as it does every "
    "transport, so there is nothing to be collected, nor to be closed, before the loop ends (C99)",
    "C117": "a limit of memory for a process and all its clients: it takes control groups, which need an "
    "administrator; what one connection may hold is bounded by max_message_size, max_queue and max_buffered_amount",
}
