from __future__ import annotations

from bench.cells import CELLS
from bench.contestants import CALLBACKS, PICOWS, WEBSOCKETS
from bench.demands import DEMANDS, Demand, judge, verdicts
from bench.results import Results

CELL = CELLS[0]
FASTER = Demand(lambda cell: True, "rate", CALLBACKS, 2, (PICOWS, WEBSOCKETS))
LEANER = Demand(lambda cell: True, "user", CALLBACKS, 0.5, (PICOWS, WEBSOCKETS))
SMALL = Demand(lambda cell: True, "idle", CALLBACKS, 3)


def measured(metric: str, ours: list[float], picows: list[float], websockets: list[float]) -> Results:
    results = Results({})
    for contestant, figures in ((CALLBACKS, ours), (PICOWS, picows), (WEBSOCKETS, websockets)):
        for figure in figures:
            results.add(CELL, contestant, {metric: figure})
    return results


def test_a_demand_is_held_against_the_median_of_the_best() -> None:
    assert judge(FASTER, CELL, measured("rate", [1, 20, 99], [10], [5])).met
    assert not judge(FASTER, CELL, measured("rate", [1, 19, 99], [10], [5])).met
    assert judge(LEANER, CELL, measured("user", [2], [8], [4])).met
    assert not judge(LEANER, CELL, measured("user", [3], [8], [4])).met


def test_a_demand_without_peers_is_a_number() -> None:
    assert judge(SMALL, CELL, measured("idle", [3], [], [])).met
    assert not judge(SMALL, CELL, measured("idle", [3.1], [], [])).met


def test_what_was_not_measured_is_not_judged() -> None:
    verdict = judge(FASTER, CELL, measured("rate", [100], [1], []))
    assert verdict.met is None
    assert verdict.measured == "not measured: websockets"


def test_a_verdict_can_be_read() -> None:
    verdict = judge(FASTER, CELL, measured("rate", [25_000], [10_000], [5_000]))
    assert verdict.must == "per second: at least 2 x picows listener or websockets"
    assert verdict.measured == "2.50 x (25,000 per second)"


def test_every_demand_has_a_cell_in_which_all_that_it_names_take_part() -> None:
    for demand in DEMANDS:
        cells = list(filter(demand.where, CELLS))
        assert cells
        for cell in cells:
            assert {demand.ours, *demand.peers} <= set(cell.contestants)
    assert all(verdict.met is None for verdict in verdicts(Results({})))
