"""Tests with hostile clients, which need Linux."""

import sys

if sys.platform != "linux":
    collect_ignore_glob = ["*"]
