"""Fixtures for the tests of vulnerabilities, which need Linux."""

from __future__ import annotations

import sys

from tests.faults.conftest import invariants

__all__ = ["invariants"]  # the fixture

if sys.platform != "linux":
    collect_ignore_glob = ["*"]
