"""URLs as the WebSocket constructor takes them, names of subprotocols, and redirects."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wasclean.closing.errors import HandshakeError
from wasclean.dom.exceptions import SyntaxError
from wasclean.model.heads import Response
from wasclean.opening.urls import check_subprotocols, parse_url, redirect_target

# parse_url.


def test_a_url_has_its_parts() -> None:
    url = parse_url("wss://Example.com:8443/a/../chat?room=1")
    assert url._asdict() == {
        "href": "wss://example.com:8443/chat?room=1",
        "origin": "wss://example.com:8443",
        "secure": True,
        "host": "example.com",
        "port": 8443,
        "host_header": "example.com:8443",
        "target": "/chat?room=1",
        "username": "",
        "password": "",
    }


@pytest.mark.parametrize(
    ("text", "href", "origin", "secure", "port"),
    [
        ("ws://h", "ws://h/", "ws://h", False, 80),
        ("wss://h", "wss://h/", "wss://h", True, 443),
        ("http://h", "ws://h/", "ws://h", False, 80),
        ("https://h", "wss://h/", "wss://h", True, 443),
        ("HTTP://H:80", "ws://h/", "ws://h", False, 80),
        ("https://h:443", "wss://h/", "wss://h", True, 443),
        ("https://h:80", "wss://h:80/", "wss://h:80", True, 80),
        ("http://h:443", "ws://h:443/", "ws://h:443", False, 443),
        ("  ws://h/ \n", "ws://h/", "ws://h", False, 80),
    ],
)
def test_http_becomes_ws_and_the_default_port_goes(text: str, href: str, origin: str, secure: bool, port: int) -> None:
    url = parse_url(text)
    assert (url.href, url.origin, url.secure, url.port) == (href, origin, secure, port)


def test_an_ipv6_address_has_brackets_in_the_header_only() -> None:
    url = parse_url("ws://[0:0::1]:9000/")
    assert (url.host, url.host_header, url.origin) == ("::1", "[::1]:9000", "ws://[::1]:9000")


def test_a_name_is_in_its_ascii_form() -> None:
    assert parse_url("ws://fa\xdf.de/").host == "xn--fa-hia.de"


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("ws://h", "/"),
        ("ws://h?", "/"),
        ("ws://h/?", "/"),
        ("ws://h?a", "/?a"),
        ("ws://h/a b\u2028?\u20ac", "/a%20b%E2%80%A8?%E2%82%AC"),
        ("ws://h/a\r\nX: y", "/aX:%20y"),
        ("ws://h/\0a", "/%00a"),
        ("ws://h\\a", "/a"),
        ("ws://h/%23", "/%23"),
    ],
)
def test_the_target_is_path_and_query_encoded(text: str, target: str) -> None:
    assert parse_url(text).target == target


def test_lone_surrogates_are_replaced_and_pairs_joined() -> None:
    assert parse_url("ws://h/\ud800").target == "/%EF%BF%BD"
    assert parse_url("ws://h/\ud83d\ude00") == parse_url("ws://h/\U0001f600")


def test_a_relative_url_starts_at_the_base() -> None:
    assert parse_url("chat?x", "https://h:8443/a/b#c").href == "wss://h:8443/a/chat?x"
    assert parse_url("//other", "http://h/").href == "ws://other/"
    assert parse_url("", "https://h/a").href == "wss://h/a"
    assert parse_url("ws://other/", "https://h/a").href == "ws://other/"


@pytest.mark.parametrize("text", ["", "chat", "/chat", "//h/", "example.com/chat"])
def test_a_relative_url_without_a_base_is_a_syntax_error_that_says_so(text: str) -> None:
    with pytest.raises(SyntaxError, match="must be absolute"):
        parse_url(text)


def test_a_base_that_is_not_valid_is_a_syntax_error_that_says_so() -> None:
    with pytest.raises(SyntaxError, match="base URL"):
        parse_url("/chat", "nowhere")


@pytest.mark.parametrize(
    "text", ["ws://", "ws://a b/", "ws://[", "ws://h:99999", "ws://h:x", "ws://a\u2028b", "ws://a\0/", "ws://%zz/"]
)
def test_a_url_that_is_not_valid_is_a_syntax_error(text: str) -> None:
    with pytest.raises(SyntaxError, match="not a valid URL") as caught:
        parse_url(text)
    assert isinstance(caught.value, ValueError)
    assert caught.value.name == "SyntaxError"


@pytest.mark.parametrize("text", ["ftp://h/", "file:///etc/passwd", "mailto:a@b", "localhost:8000", "about:blank"])
def test_another_scheme_is_a_syntax_error(text: str) -> None:
    with pytest.raises(SyntaxError, match="ws, wss, http or https"):
        parse_url(text)


@pytest.mark.parametrize("text", ["ws://h/#", "ws://h/#a", "ws://h#", "wss://h/?a#b", "ws://h/a#\t"])
def test_a_fragment_is_a_syntax_error_even_an_empty_one(text: str) -> None:
    with pytest.raises(SyntaxError, match="fragment"):
        parse_url(text)
    with pytest.raises(SyntaxError, match="fragment"):
        parse_url("#", "https://h/")


def test_credentials_are_decoded_and_make_a_basic_authorization() -> None:
    url = parse_url("ws://u%40x:p%3a:%C3%A9@h/")
    assert (url.username, url.password) == ("u@x", "p::\xe9")
    assert url.authorization == "Basic dUB4OnA6OsOp"
    assert "@h/" in url.href
    assert "@" not in url.host_header + url.origin + url.target


def test_credentials_that_are_not_utf_8_stay_the_bytes_that_they_are() -> None:
    assert parse_url("ws://%FF:@h/").authorization == "Basic /zo="


def test_without_credentials_there_is_no_authorization() -> None:
    assert parse_url("ws://h/").authorization is None
    assert parse_url("ws://u@h/").authorization == "Basic dTo="
    assert parse_url("ws://:p@h/").authorization == "Basic OnA="


def test_the_repr_of_a_url_has_no_credentials_and_no_query() -> None:
    url = parse_url("ws://user:secret@h/chat?token=secret")
    assert repr(url) == "<URLRecord 'ws://h/chat'>"


@pytest.mark.parametrize(
    "text",
    [
        "ws://user:secret@ho st/",
        "ws://user:sec/secret@h:x/",
        "user:secret@h",
        "user:secret@h:80:80",
        "ftp://user:secret@h/",
        "ws://user:secret@h/#a",
        "ws://user:secret@secret@h:x/",
        "//user:secret@h",
    ],
)
def test_no_message_has_a_password_in_it(text: str) -> None:
    with pytest.raises(SyntaxError) as caught:
        parse_url(text)
    assert "secret" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_no_message_has_the_password_of_the_base_in_it() -> None:
    for base in ("ws://user:secret@h:x/", "http://user:secret@h/"):
        with pytest.raises(SyntaxError) as caught:
            parse_url("http://[", base)
        assert "secret" not in str(caught.value)


def test_a_message_shows_the_start_of_a_long_url_in_ascii() -> None:
    with pytest.raises(SyntaxError) as caught:
        parse_url("\x1b[2J\u202e" + "x" * 100_000)
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()
    assert str(caught.value).isascii()


def test_a_url_must_be_a_str() -> None:
    with pytest.raises(TypeError, match="bytes"):
        parse_url(b"ws://h/")  # type: ignore[arg-type]


@given(st.text(), st.sampled_from([None, "https://h/a"]))
def test_any_text_is_a_url_or_a_syntax_error(text: str, base: str | None) -> None:
    try:
        url = parse_url(text, base)
    except SyntaxError:
        return
    for part in (url.href, url.host_header, url.target, url.origin):
        assert part.isascii()
        assert part.isprintable()
        assert " " not in part
    assert parse_url(url.href) == url


# check_subprotocols.


def test_subprotocols_are_names_in_order() -> None:
    assert check_subprotocols("chat") == ("chat",)
    assert check_subprotocols(["b", "a"]) == ("b", "a")
    assert check_subprotocols(name for name in ("A", "b")) == ("A", "b")
    assert check_subprotocols([]) == ()


@pytest.mark.parametrize("name", ["", " ", "a b", "a,b", "a/b", "a\r\nX: y", "\0", "\x80", "\u2028", "\ud800", '"a"'])
def test_a_subprotocol_that_is_no_token_is_a_syntax_error(name: str) -> None:
    with pytest.raises(SyntaxError, match="subprotocol") as caught:
        check_subprotocols(["chat", name])
    assert str(caught.value).isprintable()
    with pytest.raises(SyntaxError, match="subprotocol"):
        check_subprotocols(name)


@pytest.mark.parametrize("repeated", ["a", "A"])
def test_a_subprotocol_twice_is_a_syntax_error_also_in_another_case(repeated: str) -> None:
    with pytest.raises(SyntaxError, match="twice"):
        check_subprotocols(["a", "b", repeated])


@pytest.mark.parametrize("protocols", [[1], [b"chat"], [None], b"chat"])
def test_a_subprotocol_that_is_no_str_is_a_type_error(protocols: list[str]) -> None:
    with pytest.raises(TypeError, match="str"):
        check_subprotocols(protocols)


# redirect_target.


def redirect(location: str, status: int = 302, base: str = "wss://user:secret@h/a/b") -> tuple[str, bool]:
    target = redirect_target(parse_url(base), Response(status, headers={"Location": location}))
    assert target is not None
    return target.url.href, target.same_origin


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_resolved_and_keeps_the_credentials_at_the_same_origin(status: int) -> None:
    assert redirect("c?d", status) == ("wss://user:secret@h/a/c?d", True)
    assert redirect("https://h:443/", status) == ("wss://h/", True)


@pytest.mark.parametrize("status", [101, 200, 300, 304, 305, 401, 500])
def test_another_status_is_no_redirect(status: int) -> None:
    assert redirect_target(parse_url("ws://h/"), Response(status, headers={"Location": "/"})) is None


@pytest.mark.parametrize(
    ("base", "location", "href"),
    [
        ("wss://u:p@h/", "wss://other/", "wss://other/"),
        ("wss://u:p@h/", "wss://h:8443/", "wss://h:8443/"),
        ("wss://u:p@h/", "//other/x", "wss://other/x"),
        ("wss://u:p@h/", "https://x:y@other/", "wss://other/"),
        ("ws://u:p@h/", "wss://u:p@h/", "wss://h/"),
        ("wss://u:p@h/", "https://h.evil/", "wss://h.evil/"),
    ],
)
def test_credentials_do_not_follow_to_another_origin(base: str, location: str, href: str) -> None:
    assert redirect(location, base=base) == (href, False)


@pytest.mark.parametrize("location", ["ws://h/", "http://h/", "http://other/", "ws:c"])
def test_a_redirect_from_wss_to_ws_is_refused(location: str) -> None:
    with pytest.raises(HandshakeError, match="from wss to ws") as caught:
        redirect(location)
    assert caught.value.status == 302
    assert caught.value.response is not None


def test_the_fragment_of_a_location_is_ignored() -> None:
    assert redirect("/c#d") == ("wss://user:secret@h/c", True)
    assert redirect("#") == ("wss://user:secret@h/a/b", True)


@pytest.mark.parametrize("locations", [[], ["/a", "/b"]])
def test_a_redirect_has_one_location(locations: list[str]) -> None:
    response = Response(301, headers=[("Location", location) for location in locations])
    with pytest.raises(HandshakeError, match="Location") as caught:
        redirect_target(parse_url("ws://h/"), response)
    assert caught.value.response is response


@pytest.mark.parametrize("location", ["http://[", "ftp://h/", "file:///etc/passwd", "javascript:alert(1)"])
def test_a_location_that_is_no_websocket_url_is_refused(location: str) -> None:
    with pytest.raises(HandshakeError, match="unusable Location") as caught:
        redirect(location)
    assert "secret" not in str(caught.value)
