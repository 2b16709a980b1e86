"""Every seed holds the properties of its fuzzing target, so that the targets keep step with the source."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

FUZZ = Path(__file__).parents[1] / "fuzz"
TARGETS = sorted(path.stem for path in (FUZZ / "targets").glob("*.py"))
SEEDS = sorted((FUZZ / "seeds").glob("*/*"))


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: f"{seed.parent.name}/{seed.name}")
def test_a_seed_breaks_no_property_of_its_target(seed: Path) -> None:
    import_module(f"fuzz.targets.{seed.parent.name}").fuzz_one(seed.read_bytes())


def test_every_target_has_seeds_and_nothing_else_has() -> None:
    assert {seed.parent.name for seed in SEEDS} == set(TARGETS)


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_bears_inputs_that_are_too_short_for_it(target: str) -> None:
    fuzz_one = import_module(f"fuzz.targets.{target}").fuzz_one
    for size in range(10):
        fuzz_one(bytes(size))
