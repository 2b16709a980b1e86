"""docs/faults.md tells what the tests show, and every row of the matrix is one or the other."""

from __future__ import annotations

import pytest

from tests.faults import table
from tests.faults.not_shown import NOT_SHOWN
from tests.faults.rows import ROWS


@pytest.fixture(autouse=True)
def _rows() -> None:
    table.collect()


def test_every_row_is_shown_or_has_a_reason_why_not() -> None:
    missing = [name for name in table.IDS if name not in ROWS and name not in NOT_SHOWN]
    assert not missing, f"neither shown nor in NOT_SHOWN: {missing}"


def test_no_row_is_both_shown_and_not_shown() -> None:
    assert ROWS.keys() & NOT_SHOWN.keys() == set()


def test_there_are_no_other_rows() -> None:
    assert ROWS.keys() | NOT_SHOWN.keys() <= set(table.IDS)


def test_the_page_is_up_to_date() -> None:
    assert table.PAGE.read_text() == table.page(), "run: make faults"
