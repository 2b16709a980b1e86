"""The conditions of a run: machine, versions, settings."""

from __future__ import annotations

import json
import os
import platform
import ssl
import subprocess
import zlib
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.contestants import ALL_CONTESTANTS
from bench.processes import ROOT, cores
from bench.settings import LEVEL, MEM_LEVEL


def facts() -> dict[str, Any]:
    """Return the conditions, as headings and texts."""
    server, client = cores()
    return {
        "Processor": _processor(),
        "Kernel": f"{platform.system()} {platform.release()}",
        "Pinned": f"contestants to core {server}, load to core {client}" + (" (NO OTHER)" if server == client else ""),
        "Load before the run": ", ".join(f"{value:.2f}" for value in os.getloadavg()),
        "Python": f"{platform.python_version()} ({platform.python_compiler()})",
        "Loop": f"uvloop {_version('uvloop')}, for all in Python; picows has aiofastnet {_version('aiofastnet')}",
        "Node": _said("node", "--version") or "not installed",
        "Revision": _said("git", "-C", str(ROOT), "describe", "--always", "--dirty") or "not known",
        "Compared": ", ".join(f"{name} {_version(name)}" for name in dict.fromkeys(c.package for c in ALL_CONTESTANTS)),
        "TLS": f"1.3, TLS_AES_256_GCM_SHA384, elliptic curves; Python's {ssl.OPENSSL_VERSION}",
        "permessage-deflate": f"level {LEVEL}, memory level {MEM_LEVEL}, window of 12 bits, no context takeover unless "
        f"stated; Python's zlib {zlib.ZLIB_RUNTIME_VERSION}, zlib-ng {_version('zlib-ng')}",
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return f"{line.partition(':')[2].strip()}, {os.cpu_count()} cores"
    return f"{platform.machine()}, {os.cpu_count()} cores"


def _version(package: str) -> str:
    if package == "ws":
        path = ROOT / "bench" / "node_modules" / "ws" / "package.json"
        return str(json.loads(path.read_text())["version"]) if path.exists() else "(not installed)"
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "(not installed)"


def _said(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
