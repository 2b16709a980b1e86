"""Hostile clients. These tests need Linux: what they look at is not to be had elsewhere."""

import sys

if sys.platform != "linux":
    collect_ignore_glob = ["*"]
