"""docs/security.md tells what the tests show, and every row is shown, documented or missing for a reason."""

from __future__ import annotations

import re

import pytest

from tests.security import table
from tests.security.classes import DANGERS, DOCUMENTED, ELSEWHERE, MISSING, NUMBERS, PARTS
from tests.security.rows import ROOT, SHOWN


@pytest.fixture(autouse=True)
def _rows() -> None:
    table.collect()


def test_every_row_is_shown_documented_or_missing_for_a_reason_and_only_one_of_them() -> None:
    for number in NUMBERS:
        assert (number in table.shown()) + (number in DOCUMENTED) + (number in MISSING) == 1, number


def test_there_are_no_other_rows() -> None:
    assert SHOWN.keys() | ELSEWHERE.keys() | DOCUMENTED.keys() | MISSING.keys() == set(NUMBERS)
    assert DANGERS.keys() == set(NUMBERS)


def test_every_row_is_tested_in_the_file_of_its_part() -> None:
    files = ["lengths", "fragments", "compression", "control_frames", "lifecycle", "handshake", "origins_and_tls"]
    bounds = [*PARTS, NUMBERS[-1] + 1]
    for first, last, name in zip(bounds, bounds[1:], files, strict=False):
        for number in SHOWN.keys() & set(range(first, last)) - {104}:  # it is about requests
            assert {test.test.partition("::")[0] for test in SHOWN[number]} == {f"tests/security/test_{name}.py"}


@pytest.mark.parametrize("number", ELSEWHERE)
def test_what_is_shown_elsewhere_exists(number: int) -> None:
    path, _, name = ELSEWHERE[number][1].partition("::")
    assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE)


def test_the_page_is_up_to_date() -> None:
    assert table.PAGE.read_text() == table.page(), "run: make security"
