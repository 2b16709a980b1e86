"""The rows of the fault matrix that no test shows, and why."""

from __future__ import annotations

#: By the row's id.
NOT_SHOWN: dict[str, str] = {
    "C43": "there is no compression yet, so no thread of it that could outlast a connection",
    "C89": "there is no compression yet, so no deflate stream that could be corrupt",
}
