from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from bench.cells import CELLS
from bench.contestants import CALLBACKS, PICOWS, WS
from bench.page import BEGIN, END, write_page
from bench.plot import Bar, Panel, draw
from bench.results import Results
from bench.terminal import remarks

CELL = CELLS[0]


def results() -> Results:
    made = Results({"Python": "3.11"})
    for rate in (1000.0, 3000.0, 2000.0):
        made.add(CELL, CALLBACKS, {"rate": rate, "cpu": 1.5})
    made.add(CELL, PICOWS, {"rate": 500.0, "cpu": 3.0})
    made.fail(CELL, WS, "node is not installed")
    return made


def test_the_page_has_what_was_measured_and_what_went_wrong(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    write_page(page, CELLS, results(), rounds=3)
    text = page.read_text()
    assert "| wasclean callbacks | 2,000 (1,000-3,000) | 1.50 (1.50-1.50) |" in text
    assert "| picows listener | 500 | 3.00 |" in text
    assert "| per second: at least 10 x picows listener | 4.00 x (2,000 per second) | **no** |" in text
    assert f"- {CELL.name}: ws (Node): node is not installed" in text
    assert [path.name for path in (tmp_path / "performance").iterdir()] == [
        "server-echo-100-x-32-b-text-16-in-flight.svg"
    ]
    assert text.count("### ") == 1  # a cell that was not measured has no section


def test_the_section_by_hand_and_nothing_else_is_kept(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    write_page(page, CELLS, results(), rounds=3)
    page.write_text(page.read_text().replace(f"{BEGIN}\n", f"{BEGIN}\nBecause.\n\nIndeed.") + "old\n")
    plots = tmp_path / "performance"
    (plots / "old.svg").write_text("<svg/>")
    write_page(page, CELLS, results(), rounds=3)
    text = page.read_text()
    assert f"{BEGIN}\nBecause.\n\nIndeed.\n{END}" in text
    assert not text.endswith("old\n")
    assert not (plots / "old.svg").exists()
    write_page(page, CELLS, results(), rounds=3)
    assert page.read_text() == text


def test_who_is_not_at_its_own_limit_or_behind_is_named() -> None:
    made = Results({})
    made.add(CELL, CALLBACKS, {"busy": 0.8, "load_busy": 0.99, "unanswered": 0.0})
    made.add(CELL, PICOWS, {"busy": 0.99, "load_busy": 0.99, "unanswered": 0.5})
    assert remarks(made, CELL) == [
        "wasclean callbacks could do more: the load generator was busy for 99% of the time, it for 80%.",
        "picows listener did not keep up with the pace: 50% of the messages had no answer at the end.",
    ]


def test_a_plot_is_svg_and_leaves_out_what_is_not_there() -> None:
    svg = draw("a < b", ["ours & theirs", "other"], [Panel("rate", [Bar(1, 2, 3, "2"), None])])
    root = ElementTree.fromstring(svg)
    assert root.findtext("{*}title") == "a < b"
    assert len(root.findall("{*}path")) == 1
