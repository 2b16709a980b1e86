"""Measures one contestant in one cell, once. The results have the names of metrics.py."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any

from bench.cells import Cell
from bench.certificates import Certificate
from bench.contestants import Contestant
from bench.messages import messages_file
from bench.processes import ROOT, WORK, Failure, Process, cores, load, on_core, running, serving
from bench.settings import Settings

Sample = dict[str, float]

PATIENCE = 60  # seconds, for opening and closing connections and other steps without a time of their own


@dataclass(frozen=True)
class Timing:
    """The time to measure, and the time before it, in seconds."""

    seconds: float
    warmup: float


def measure(cell: Cell, contestant: Contestant, timing: Timing, certificate: Certificate | None) -> Sample:
    """Measure one contestant in one cell.

    Raises:
        Failure: the measurement failed.
    """
    return KINDS[cell.kind](cell, contestant, timing, certificate)


# ---- messages ----


def _echo(cell: Cell, contestant: Contestant, timing: Timing, certificate: Certificate | None) -> Sample:
    options: dict[str, Any] = {
        "connections": cell.connections,
        "size": cell.size,
        "depth": cell.depth,
        "seconds": timing.seconds,
        "warmup": timing.warmup,
        "pace": cell.pace,
        "binary": cell.binary,
        "messages": messages_file(WORK, cell.size, cell.binary),
        "tls": cell.tls,
        "deflate": cell.deflate,
        "takeover": cell.takeover,
    }
    with ExitStack() as stack:
        begin = _as_client if cell.client else _as_server
        process, generator = begin(cell, contestant, options, certificate, stack.enter_context)
        sample = _closed_loop(cell, process, generator, timing)
        if cell.pace:
            sample |= _open_loop(generator, timing)
        return sample


Enter = Callable[[AbstractContextManager[Any]], Any]


def _as_server(
    cell: Cell, contestant: Contestant, options: dict[str, Any], certificate: Certificate | None, enter: Enter
) -> tuple[Process, Process]:
    """Start the contestant's server, and the load generator as its clients."""
    process, port = enter(serving(contestant, _server_settings(cell, contestant, certificate)))
    return process, enter(load("echo", port=port, **options))


def _as_client(
    cell: Cell, contestant: Contestant, options: dict[str, Any], certificate: Certificate | None, enter: Enter
) -> tuple[Process, Process]:
    """Start the load generator as a server, and the contestant's client."""
    if cell.tls and certificate:
        options |= {"certificate": certificate.chain, "key": certificate.key}
    generator: Process = enter(load("echo", port=0, **options))
    port = generator.report(PATIENCE)["port"]
    authority = certificate.authority if cell.tls and certificate else ""
    settings = Settings(port=port, connections=cell.connections, authority=authority)
    return enter(running(contestant, "clients", settings)), generator


def _server_settings(cell: Cell, contestant: Contestant, certificate: Certificate | None) -> Settings:
    chain, key = (certificate.chain, certificate.key) if cell.tls and certificate else ("", "")
    mode = "broadcast" if cell.kind == "broadcast" else "echo"
    return Settings(mode=mode, certificate=chain, key=key, deflate=cell.deflate, zlib_ng=contestant.zlib_ng)


def _closed_loop(cell: Cell, process: Process, generator: Process, timing: Timing) -> Sample:
    """Measure throughput and cost: the next message is sent as soon as the last one was answered."""
    _report(generator, process, timing.warmup + PATIENCE)
    before = process.cpu()
    found = _report(generator, process, timing.seconds + PATIENCE)
    used = process.cpu() - before
    messages = found["messages"]
    if not messages:
        raise Failure("not one message was answered in time")
    sample = {
        "rate": messages / found["seconds"],
        "cpu": used.total / messages * 1e6,
        "user": used.user / messages * 1e6,
        "system": used.system / messages * 1e6,
        "busy": used.total / found["seconds"],
        "load_busy": found["busy"],
        "resident": process.resident() / 1e6,
    }
    if cell.size:
        sample["megabytes"] = messages * cell.size / found["seconds"] / 1e6
    if "resets" in found:
        sample["resets"] = found["resets"]
    return sample


def _open_loop(generator: Process, timing: Timing) -> Sample:
    """Measure latency: messages are sent on a schedule."""
    found = generator.report(timing.warmup + 2 * timing.seconds + PATIENCE)
    sample = {name: float(found[name]) for name in ("p50", "p99", "p999") if name in found}
    return sample | {"unanswered": 1 - found["answered"] / found["sent"]}


def _report(generator: Process, process: Process, seconds: float) -> dict[str, Any]:
    """Return the next report of the load generator.

    Raises:
        Failure: there is none; the message contains the error output of both processes.
    """
    try:
        return generator.report(seconds)
    except Failure as failure:
        said = process.complaint()
        raise Failure(f"{failure}; the contestant said: {said}" if said else str(failure)) from None


# ---- opening, closing, broadcasting, idling ----


def _cycles(cell: Cell, contestant: Contestant, timing: Timing, _: Certificate | None) -> Sample:
    with (
        serving(contestant, Settings()) as (process, port),
        load(
            "cycles", port=port, connections=cell.connections, seconds=timing.seconds, warmup=timing.warmup
        ) as generator,
    ):
        return _closed_loop(cell, process, generator, timing)


def _broadcast(cell: Cell, contestant: Contestant, timing: Timing, certificate: Certificate | None) -> Sample:
    messages = messages_file(WORK, cell.size, cell.binary)
    with (
        serving(contestant, _server_settings(cell, contestant, certificate)) as (process, port),
        load(
            "broadcast",
            port=port,
            connections=cell.connections,
            size=cell.size,
            messages=messages,
            seconds=timing.seconds,
            warmup=timing.warmup,
        ) as generator,
    ):
        return _closed_loop(cell, process, generator, timing)


def _drain(cell: Cell, contestant: Contestant, _: Timing, __: Certificate | None) -> Sample:
    with (
        serving(contestant, Settings()) as (process, port),
        load("drain", port=port, connections=cell.connections, seconds=PATIENCE) as generator,
    ):
        _report(generator, process, PATIENCE)
        _settle(process)
        before = process.cpu()
        process.terminate()
        found = _report(generator, process, 2 * PATIENCE)
        if process.line(PATIENCE) != "drained":
            raise Failure(f"the server has not drained: {process.complaint()}")
        used = process.cpu() - before
    return {"drain_cpu": used.total * 1e3, "drain_seconds": found["seconds"], "resets": found["resets"]}


def _idle(cell: Cell, contestant: Contestant, _: Timing, __: Certificate | None) -> Sample:
    """Measure the memory of a connection, without the costs of the first one."""
    with (
        serving(contestant, Settings()) as (process, port),
        load("hold", port=port, connections=1, seconds=4 * PATIENCE) as first,
    ):
        _report(first, process, PATIENCE)
        _settle(process)
        before = process.resident()
        with load("hold", port=port, connections=cell.connections, seconds=2 * PATIENCE) as generator:
            _report(generator, process, PATIENCE)
            _settle(process)
            return {"idle": (process.resident() - before) / cell.connections / 1e3}


def _settle(process: Process) -> None:
    """Wait until a server uses no more CPU time."""
    used = process.cpu().total
    for _ in range(100):
        time.sleep(0.05)
        last, used = used, process.cpu().total
        if used - last < 0.001:
            return
    raise Failure("the server does not come to rest")


# ---- imports ----


_IMPORTS = {name: f"import {name}" for name in ("wasclean", "picows", "websockets", "aiohttp")}
#: The names needed to connect and to serve, which some packages import lazily.
_NAMES = {
    "wasclean": "from wasclean import WebSocket, connect, serve",
    "picows": "from picows import ws_connect, ws_create_server",
    "websockets": "from websockets.asyncio import client, server",
    "aiohttp": "from aiohttp import ClientSession, web",
}
#: Prints the number of imported modules among these, which only some programs need.
_EARLY = "import sys; print(len({'ssl', 'zlib', 'click'} & set(sys.modules)))"


def _import(_: Cell, contestant: Contestant, __: Timing, ___: Certificate | None) -> Sample:
    """Measure the duration of ``import`` in milliseconds, without that of Python itself; and count early imports."""
    code = _IMPORTS[contestant.package]
    _time, early = _run_python(contestant, f"{code}; {_EARLY}")
    _run_python(contestant, _NAMES[contestant.package])  # writes bytecode that does not exist yet
    bare, _nothing = _run_python(contestant, "pass")
    imported, _nothing = _run_python(contestant, code)
    names, _nothing = _run_python(contestant, _NAMES[contestant.package])
    return {"import": max(0.0, imported - bare), "names": max(0.0, names - bare), "early": int(early)}


def _run_python(contestant: Contestant, code: str) -> tuple[float, str]:
    """Run a program, and return its duration in milliseconds and its output."""
    environment = {**os.environ, "WASCLEAN_PURE": "1" if contestant.pure else "", "PYTHONDONTWRITEBYTECODE": ""}
    start = time.perf_counter()
    with on_core(cores()[0]):
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise Failure(done.stderr.strip().splitlines()[-1])
    return (time.perf_counter() - start) * 1e3, done.stdout


KINDS: dict[str, Callable[[Cell, Contestant, Timing, Certificate | None], Sample]] = {
    "echo": _echo,
    "cycles": _cycles,
    "broadcast": _broadcast,
    "drain": _drain,
    "idle": _idle,
    "import": _import,
}
