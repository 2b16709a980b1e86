"""Bar charts with ranges, as small SVG files. Each element is on one line, so that a diff is readable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

ROW = 24  # pixels
HEAD = 58
FOOT = 12
NAMES = 190  # width of the column of names
PANEL = 310  # width of a column of bars
FIGURES = 92  # part of that width for the figures to the right of the bars
OURS, PURE, OTHERS, RANGE = "#2563eb", "#93b4f5", "#a8afb9", "#111827"


@dataclass(frozen=True)
class Bar:
    """A median and its range; ``figure`` is the median as text."""

    least: float
    middle: float
    most: float
    figure: str


@dataclass(frozen=True)
class Panel:
    """A column of bars, one for each name; None if nothing was measured."""

    heading: str
    bars: Sequence[Bar | None]


def draw(title: str, names: Sequence[str], panels: Sequence[Panel]) -> str:
    """Return an SVG with panels side by side."""
    width, height = NAMES + PANEL * len(panels), HEAD + ROW * len(names) + FOOT
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        ' font-family="system-ui, sans-serif" font-size="13" fill="#111827">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="12" y="22" font-size="15" font-weight="600">{escape(title)}</text>',
    ]
    for i, name in enumerate(names):
        lines.append(f'<text x="{NAMES - 10}" y="{_y(i) + 12}" text-anchor="end">{escape(name)}</text>')
    for column, panel in enumerate(panels):
        lines += _panel(panel, names, NAMES + column * PANEL)
    return "\n".join([*lines, "</svg>"]) + "\n"


def _y(row: int) -> int:
    return HEAD + ROW * row


def _panel(panel: Panel, names: Sequence[str], left: int) -> list[str]:
    room = PANEL - FIGURES
    scale = room / (max((bar.most for bar in panel.bars if bar), default=0) or 1)
    lines = [f'<text x="{left}" y="46" fill="#4b5563">{escape(panel.heading)}</text>']
    for i, (name, bar) in enumerate(zip(names, panel.bars, strict=True)):
        if bar is None:
            continue
        y = _y(i)
        least, middle, most = (left + value * scale for value in (bar.least, bar.middle, bar.most))
        lines += [
            f'<rect x="{left}" y="{y}" width="{max(1, middle - left):.1f}" height="16" fill="{_colour(name)}"/>',
            f'<path d="M{least:.1f} {y + 8}H{most:.1f}" stroke="{RANGE}" stroke-width="1.5"/>',
            f'<text x="{max(middle, most) + 6:.1f}" y="{y + 12}">{escape(bar.figure)}</text>',
        ]
    return lines


def _colour(name: str) -> str:
    if not name.startswith("wasclean"):
        return OTHERS
    return PURE if name.endswith("pure") else OURS
