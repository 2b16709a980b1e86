"""What the tests of vulnerabilities share. They need Linux: what they look at is not to be had elsewhere."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

if sys.platform != "linux":
    collect_ignore_glob = ["*"]

if TYPE_CHECKING:
    from tests.faults.invariants import Invariants


@pytest.fixture
async def invariants() -> AsyncIterator[Invariants]:
    """Checks, when the test has ended and its variables are gone, that nothing is left."""
    from tests.faults.invariants import invariants

    async with invariants() as kept:
        yield kept
