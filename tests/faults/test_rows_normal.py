"""Part 1 of the matrix: closing when all goes well."""

from __future__ import annotations

import pytest

from tests.faults.invariants import Invariants
from tests.faults.rows import Row, Sees, row
from tests.faults.stage import PLACES, Place, pair
from tests.wire import CLOSE, Frame

everywhere = pytest.mark.parametrize("place", PLACES, ids=str)


@row("C01", "close() without arguments", Sees(1005, True, "local", "local_close"), peer="an empty Close frame")
@everywhere
async def test_close_without_arguments(row: Row, place: Place, invariants: Invariants) -> None:
    async with pair(place, invariants) as (socket, peer):
        closing = socket.close()
        assert await peer.frame() == Frame(CLOSE, b"")
        await peer.send_frame(CLOSE)
        if place.role == "client":
            await peer.notify()
            peer.finish()  # a server ends TCP first
        assert await peer.ended() == "fin"
        peer.close()
        row.check(await closing)
