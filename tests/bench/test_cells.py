from __future__ import annotations

from pathlib import Path

import pytest

from bench.cells import CELLS, KIB, MIB, Cell
from bench.contestants import ALL_CONTESTANTS
from bench.messages import messages_file

ECHOES = [cell for cell in CELLS if cell.kind == "echo"]
SERVERS = Path(__file__).parents[2] / "bench" / "servers"
CLIENTS = SERVERS.parent / "clients"


def test_no_two_cells_have_one_name() -> None:
    assert len({cell.name for cell in CELLS}) == len(CELLS)


@pytest.mark.parametrize(
    ("trait", "values"),
    [
        ("size", {32, 256, KIB, 8 * KIB, 16 * KIB, 100 * KIB, MIB}),
        ("connections", {1, 100, 1_000}),
        ("depth", {1, 16, 64}),
        ("binary", {False, True}),
        ("client", {False, True}),
        ("tls", {False, True}),
        ("takeover", {False, True}),
    ],
)
def test_the_cells_cover_each_value(trait: str, values: set[int]) -> None:
    assert {getattr(cell, trait) for cell in ECHOES} == values


def test_a_name_tells_all_that_a_load_is() -> None:
    cell = Cell("echo", 1_000, 100 * KIB, 16, client=True, binary=True, tls=True)
    assert cell.name == "client echo: 1,000 x 100 KiB, binary, 16 in flight, TLS"


def test_every_contestant_has_a_server_and_a_client() -> None:
    for contestant in ALL_CONTESTANTS:
        assert (SERVERS / contestant.program).exists()
        assert (CLIENTS / contestant.program).exists()


@pytest.mark.parametrize("binary", [False, True])
def test_messages_are_of_one_size_different_and_the_same_in_every_run(tmp_path: Path, binary: bool) -> None:
    made = messages_file(tmp_path, 1024, binary).read_bytes()
    messages = {made[start : start + 1024] for start in range(0, len(made), 1024)}
    assert len(made) == 64 * 1024
    assert len(messages) == 64
    other = tmp_path / "other"
    other.mkdir()
    assert messages_file(other, 1024, binary).read_bytes() == made
    assert made.isascii() is not binary
