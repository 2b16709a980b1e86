"""The metrics of a sample, and their formatting."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """A metric: its name in a sample, its heading, the number of decimals to show, and True if more is better."""

    name: str
    heading: str
    digits: int = 0
    more_is_better: bool = False


METRICS = (
    Metric("rate", "per second", 0, more_is_better=True),
    Metric("megabytes", "MB/s", 1, more_is_better=True),
    Metric("cpu", "CPU µs each", 2),
    Metric("user", "user µs each", 2),
    Metric("system", "system µs each", 2),
    Metric("p50", "p50 µs", 0),
    Metric("p99", "p99 µs", 0),
    Metric("p999", "p99.9 µs", 0),
    Metric("resident", "resident MB", 1),
    Metric("drain_cpu", "CPU ms", 0),
    Metric("drain_seconds", "seconds", 2),
    Metric("resets", "TCP resets", 0),
    Metric("idle", "KB each", 2),
    Metric("import", "ms", 1),
    Metric("names", "ms with connect and serve", 1),
    Metric("early", "of ssl, zlib, command line", 0),
)
#: The first of these that was measured is the first panel of a plot.
MAIN = ("rate", "drain_cpu", "idle", "import")


def present(samples: Sequence[dict[str, float]]) -> list[Metric]:
    """Return the metrics that any of the samples has."""
    return [metric for metric in METRICS if any(metric.name in sample for sample in samples)]


def values(samples: Sequence[dict[str, float]], name: str) -> list[float]:
    """Return the values of one metric."""
    return [sample[name] for sample in samples if name in sample]


def median(samples: Sequence[dict[str, float]], name: str) -> float | None:
    """Return the median of one metric; None if it was not measured."""
    found = values(samples, name)
    return statistics.median(found) if found else None


def spread(samples: Sequence[dict[str, float]], metric: Metric) -> str:
    """Format the median, the minimum and the maximum; empty if the metric was not measured."""
    found = values(samples, metric.name)
    if not found:
        return ""
    middle, least, most = (f"{f(found):,.{metric.digits}f}" for f in (statistics.median, min, max))
    return middle if len(found) == 1 else f"{middle} ({least}-{most})"
