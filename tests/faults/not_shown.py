"""The rows of the fault matrix without tests, and the reasons."""

from __future__ import annotations

#: Id -> reason.
NOT_SHOWN: dict[str, str] = {
    "C101": "a socket that is abandoned without close(): its event loop keeps an open connection alive, like every "
    "transport, so nothing is collected or closed before the loop ends (C99)",
    "C117": "a memory limit for a process and all its clients: this needs control groups, and so an administrator; the "
    "memory of one connection is limited by max_message_size, max_queue and max_buffered_amount",
}
