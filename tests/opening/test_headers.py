"""The grammar of the lists in headers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.opening.handshakes import (
    malformed,
)
from tests.work import count_lines
from wasclean.opening.headers import parse_extensions, parse_subprotocols, parse_tokens


def test_tokens_are_between_commas_over_several_lines() -> None:
    assert parse_tokens([" a,b ,\tc\t", "", ",d,,"]) == ["a", "b", "c", "d"]
    assert parse_tokens([]) == []


@pytest.mark.parametrize("value", ["a b", "a;b", "a=b", '"a"', "a\xe9", "(a)", "a, b c"])
def test_a_list_of_something_else_than_tokens_is_malformed(value: str) -> None:
    assert malformed(lambda: parse_tokens([value]))


def test_subprotocols_are_in_the_order_of_the_client_and_keep_their_case() -> None:
    assert parse_subprotocols(["b, A", "a"]) == ["b", "A", "a"]
    assert parse_subprotocols([]) == []


@pytest.mark.parametrize(
    ("values", "extensions"),
    [
        ([], []),
        ([""], []),
        ([" , ,"], []),
        (["foo"], [("foo", [])]),
        (["foo, bar; baz=2"], [("foo", []), ("bar", [("baz", "2")])]),
        (['foo; bar="2" ; baz', "qux"], [("foo", [("bar", "2"), ("baz", None)]), ("qux", [])]),
        (['a ; b = "\\c\\d" , ,\te'], [("a", [("b", "cd")]), ("e", [])]),
        (
            ["permessage-deflate; client_max_window_bits; server_max_window_bits=10, permessage-deflate"],
            [
                ("permessage-deflate", [("client_max_window_bits", None), ("server_max_window_bits", "10")]),
                ("permessage-deflate", []),
            ],
        ),
        (["a;b;b=1;b"], [("a", [("b", None), ("b", "1"), ("b", None)])]),
        (["__class__; __init__=constructor"], [("__class__", [("__init__", "constructor")])]),
    ],
)
def test_extensions_are_parsed(values: list[str], extensions: list[Any]) -> None:
    assert parse_extensions(values) == extensions


@pytest.mark.parametrize(
    "value",
    [
        ";",
        "a;",
        "a;;b",
        "a; =b",
        "a; b=",
        "a; b=,",
        "a=b",
        "a b",
        "a; b c",
        "a; b=c d",
        'a; b="c',
        'a; b="',
        'a; b="c\\',
        'a; b="c\\"',
        'a; b=""',
        'a; b="c d"',
        'a; b="c"d',
        'a; b="\xe9"',
        '"a"',
        "a; b='(c)'",
        "\xe9",
        "a/b",
    ],
)
def test_malformed_extensions_are_malformed(value: str) -> None:
    assert malformed(lambda: parse_extensions([value]))


def test_a_quoted_string_does_not_go_on_in_the_next_header() -> None:
    assert malformed(lambda: parse_extensions(['a; b="c', 'd"']))


@given(st.text('ab;=,"\\ \t\xe9', max_size=30))
def test_any_text_is_extensions_or_malformed(value: str) -> None:
    malformed(lambda: parse_extensions([value]))


@pytest.mark.parametrize(
    "make",
    [
        lambda n: "b" + " " * n + "x",
        lambda n: 'a; b="' + "\\c" * n,
        lambda n: "a" * n,
        lambda n: "a;" * n,
        lambda n: "a," * n,
        lambda n: " " * n,
        lambda n: "a; b" + "=" * n,
        lambda n: 'a; b="c"' * n,
    ],
)
@pytest.mark.parametrize("parse", [parse_extensions, parse_subprotocols, parse_tokens])
def test_a_hostile_header_costs_linear_work(make: Callable[[int], str], parse: Callable[[list[str]], object]) -> None:
    def work(size: int) -> int:
        return count_lines(lambda: malformed(lambda: parse([make(size)])))

    assert work(4000) <= 2.2 * work(2000) + 100
