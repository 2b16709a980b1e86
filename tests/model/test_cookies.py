"""The cookies of a request, whatever the client sends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wasclean.model.cookies import parse_cookies
from wasclean.model.heads import Request


@pytest.mark.parametrize(
    ("value", "cookies"),
    [
        ("a=1", [("a", "1")]),
        ("a=1; b=2", [("a", "1"), ("b", "2")]),
        ("a=1;b=2;\tc=3 ;", [("a", "1"), ("b", "2"), ("c", "3")]),
        ("a=b=c==", [("a", "b=c==")]),
        ("a=", [("a", "")]),
        ('a="1 2"', [("a", "1 2")]),
        ('a=""', [("a", "")]),
        ("a=%3B", [("a", "%3B")]),
        ("A=1; a=2", [("A", "1"), ("a", "2")]),
        ("path=/; expires=never; $Version=1", [("path", "/"), ("expires", "never"), ("$Version", "1")]),
        ("a:b=1; [c]=2", [("a:b", "1"), ("[c]", "2")]),
    ],
)
def test_cookies_are_names_and_values(value: str, cookies: list[tuple[str, str]]) -> None:
    assert parse_cookies([value]) == cookies


@pytest.mark.parametrize(
    ("value", "cookies"),
    [
        ("", []),
        (";;; ;", []),
        ("a", []),
        ("=1", []),
        (" = ", []),
        ("=__Host-id=1", []),
        ("a; b=2", [("b", "2")]),
        ('a="; b=2', [("a", '"'), ("b", "2")]),
        ('a="1; b=2"', [("a", '"1'), ("b", '2"')]),
        ('a="\\073"', [("a", "\\073")]),
        ("a=\x80\xff; b=2", [("a", "\x80\xff"), ("b", "2")]),
        ("a=1, b=2", [("a", "1, b=2")]),
    ],
)
def test_what_is_malformed_spoils_no_other_cookie(value: str, cookies: list[tuple[str, str]]) -> None:
    assert parse_cookies([value]) == cookies


@pytest.mark.parametrize("space", ["\xa0", "\x85", "\x1c", "\x0b"])
def test_a_name_with_an_odd_space_is_another_name(space: str) -> None:
    assert parse_cookies([f"{space}__Host-id=evil"]) == [(f"{space}__Host-id", "evil")]


def test_cookies_may_come_in_several_headers() -> None:
    assert parse_cookies(["a=1; b=2", "a=3"]) == [("a", "1"), ("b", "2"), ("a", "3")]


@given(st.lists(st.text(st.characters(max_codepoint=255))))
def test_no_cookie_is_an_error(values: list[str]) -> None:
    for name, value in parse_cookies(values):
        assert name
        assert ";" not in name + value


def test_a_request_has_the_first_cookie_of_a_name_and_all_of_them() -> None:
    request = Request("GET", "/", [("Host", "h"), ("Cookie", "id=1; Id=2"), ("cookie", "id=3; \xff")])
    assert request.cookies["id"] == "1"
    assert request.cookies.getall("id") == ["1", "3"]
    assert request.cookies["Id"] == "2"
    assert "ID" not in request.cookies
    assert not Request("GET", "/", {"Host": "h"}).cookies
