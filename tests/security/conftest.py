"""What the tests of vulnerabilities share. They need Linux: what they look at is not to be had elsewhere."""

from __future__ import annotations

import sys

from tests.faults.conftest import invariants

__all__ = ["invariants"]  # the fixture

if sys.platform != "linux":
    collect_ignore_glob = ["*"]
