"""The table of required results, and the comparison with the measured ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.cells import CELLS, MIB, Cell
from bench.contestants import (
    AIOHTTP,
    CALLBACKS,
    CALLBACKS_PURE,
    PEERS,
    PICOWS,
    PICOWS_WEBSOCKETS,
    STREAM,
    STREAM_PURE,
    WEBSOCKETS,
    WS,
    Contestant,
)
from bench.metrics import METRICS, Metric, median
from bench.results import Results

_METRICS = {metric.name: metric for metric in METRICS}


@dataclass(frozen=True)
class Demand:
    """A bound for the median of one metric.

    Attributes:
        where: a function that is True for the cells that the demand applies to.
        metric: the name of the metric. The bound is a minimum if more of it is better, and otherwise a maximum.
        ours: the contestant that must meet it.
        bound: a value; with peers, a factor of the best of their medians.
        peers: the contestants to compare with.
    """

    where: Callable[[Cell], bool]
    metric: str
    ours: Contestant
    bound: float
    peers: tuple[Contestant, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """The result of a demand in a cell. ``met`` is None if a measurement is missing."""

    cell: str
    who: str
    must: str
    measured: str
    met: bool | None


def _echo(connections: int, size: int, depth: int, **traits: bool | int) -> Callable[[Cell], bool]:
    """Return a function that is True for this echo cell; ``traits`` are its other attributes."""
    wanted = {"client": False, "tls": False, "deflate": 0, **traits}

    def chooses(cell: Cell) -> bool:
        return (
            cell.kind == "echo"
            and (cell.connections, cell.size, cell.depth) == (connections, size, depth)
            and all(getattr(cell, name) == value for name, value in wanted.items())
        )

    return chooses


def _kind(kind: str) -> Callable[[Cell], bool]:
    return lambda cell: cell.kind == kind


def _large(cell: Cell) -> bool:
    return cell.kind == "echo" and 100 * 1024 <= cell.size <= MIB and not cell.tls


def _secure(cell: Cell) -> bool:
    return cell.tls and cell.size == 256


def _deflating(cell: Cell) -> bool:
    return cell.deflate > 0


DEMANDS = (
    Demand(_echo(100, 32, 16), "rate", CALLBACKS, 10, (PICOWS,)),
    Demand(_echo(100, 32, 16), "rate", CALLBACKS, 15, (WS,)),
    Demand(_echo(100, 32, 16), "rate", STREAM, 4, (PICOWS_WEBSOCKETS,)),
    Demand(_echo(100, 32, 16), "rate", STREAM, 10, (WEBSOCKETS,)),
    Demand(_echo(100, 32, 16), "rate", CALLBACKS_PURE, 3, (WEBSOCKETS,)),
    Demand(_echo(100, 32, 16), "rate", STREAM_PURE, 3, (WEBSOCKETS,)),
    Demand(_echo(1, 32, 64), "rate", CALLBACKS, 5, (PICOWS,)),
    Demand(_echo(100, 256, 1), "user", CALLBACKS, 0.6, (PICOWS,)),
    Demand(_echo(100, 256, 1), "user", STREAM, 0.6, (PICOWS_WEBSOCKETS,)),
    Demand(_echo(100, 256, 1), "rate", CALLBACKS, 1, (PICOWS,)),
    Demand(_echo(100, 256, 1), "rate", STREAM, 1, (PICOWS_WEBSOCKETS,)),
    Demand(_large, "megabytes", CALLBACKS, 1, PEERS),
    Demand(_secure, "cpu", CALLBACKS, 1, (PICOWS,)),
    Demand(_secure, "cpu", STREAM, 1, (PICOWS_WEBSOCKETS,)),
    Demand(_deflating, "cpu", CALLBACKS, 1, (WEBSOCKETS, AIOHTTP, WS)),
    Demand(_kind("idle"), "idle", CALLBACKS, 3),
    Demand(_kind("idle"), "idle", STREAM, 5),
    Demand(_kind("cycles"), "rate", CALLBACKS, 3, (WEBSOCKETS,)),
    Demand(_kind("cycles"), "rate", CALLBACKS, 2, (AIOHTTP,)),
    Demand(_kind("drain"), "drain_cpu", CALLBACKS, 1 / 3, (WEBSOCKETS,)),
    Demand(_kind("drain"), "drain_cpu", STREAM, 1 / 3, (WEBSOCKETS,)),
    Demand(_kind("broadcast"), "cpu", CALLBACKS, 1, (PICOWS,)),
    Demand(_kind("import"), "import", CALLBACKS, 60),
    Demand(_kind("import"), "early", CALLBACKS, 0),
)


def verdicts(results: Results) -> Iterator[Verdict]:
    """Yield the verdicts of all demands in all their cells."""
    for demand in DEMANDS:
        for cell in filter(demand.where, CELLS):
            yield judge(demand, cell, results)


def judge(demand: Demand, cell: Cell, results: Results) -> Verdict:
    """Compare the medians of a cell with a demand."""
    metric = _METRICS[demand.metric]
    figures = {c: median(results.of(cell).get(c.name, []), metric.name) for c in (demand.ours, *demand.peers)}
    missing = [contestant.name for contestant, figure in figures.items() if figure is None]
    ours, *others = (figure for figure in figures.values() if figure is not None) if not missing else (0.0,)
    met: bool | None = None
    if missing:
        measured = f"not measured: {', '.join(missing)}"
    else:
        best = (max if metric.more_is_better else min)(others) if others else 1.0
        share = ours / best if best else float("inf")
        met = share >= demand.bound if metric.more_is_better else share <= demand.bound
        measured = _words(ours, share, metric, others=bool(others))
    return Verdict(cell.name, demand.ours.name, _must(demand, metric), measured, met)


def _words(ours: float, share: float, metric: Metric, others: bool) -> str:
    figure = f"{ours:,.{metric.digits}f}"
    return f"{share:.2f} x ({figure} {metric.heading})" if others else f"{figure} {metric.heading}"


def _must(demand: Demand, metric: Metric) -> str:
    sign = "at least" if metric.more_is_better else "at most"
    if not demand.peers:
        return f"{metric.heading}: {sign} {demand.bound:g}"
    whose = " or ".join(peer.name for peer in demand.peers) if demand.peers != PEERS else "any other"
    return f"{metric.heading}: {sign} {demand.bound:.3g} x {whose}"
