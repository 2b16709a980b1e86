"""URLs as the WebSocket constructor takes them, subprotocol names, redirects, and which Origins may connect."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wasclean.closing.errors import HandshakeError
from wasclean.dom.exceptions import SyntaxError
from wasclean.model.heads import Response
from wasclean.opening.urls import ANY, OriginPolicy, Origins, check_subprotocols, is_host, parse_url, redirect_target

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


# OriginPolicy.


def allows(origins: Origins, origin: str, host: str = "example.com") -> bool:
    try:
        OriginPolicy(origins).check([origin], host)
    except HandshakeError as error:
        if error.status != 403:
            raise
        return False
    return True


@pytest.mark.parametrize("origins", [None, ANY, [], ["https://example.com"]])
def test_a_request_without_an_origin_is_let_in(origins: Origins) -> None:
    OriginPolicy(origins).check([], "example.com")


@pytest.mark.parametrize("origins", [None, ANY, ["https://example.com"]])
def test_two_origins_are_answered_400(origins: Origins) -> None:
    with pytest.raises(HandshakeError) as caught:
        OriginPolicy(origins).check(["https://example.com", "https://example.com"], "example.com")
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://example.com", "example.com"),
        ("http://example.com", "example.com"),
        ("https://example.com:443", "example.com"),
        ("https://example.com", "example.com:443"),
        ("http://example.com", "example.com:80"),
        ("http://example.com:8000", "example.com:8000"),
        ("HTTPS://EXAMPLE.com", "example.COM"),
        ("http://[::2]:8000", "[0::2]:8000"),
        ("http://my_service:8000", "my_service:8000"),
        ("http://192.168.1.1", "192.168.1.1"),
    ],
)
def test_the_same_origin_is_let_in_by_default(origin: str, host: str) -> None:
    assert allows(None, origin, host)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://evil.com", "example.com"),
        ("https://example.com.evil.com", "example.com"),
        ("https://evil-example.com", "example.com"),
        ("https://sub.example.com", "example.com"),
        ("https://example.com.", "example.com"),
        ("https://example.com:8443", "example.com"),
        ("https://example.com", "example.com:8443"),
        ("http://example.com", "example.com:443"),
        ("https://example.com", "example.com:80"),
        ("chrome-extension://example.com", "example.com"),
        ("ws://example.com", "example.com"),
        ("null", "example.com"),
        ("null", "null"),
        ("file://", "example.com"),
        ("http://localhost", "example.com"),
        ("http://example.com", "localhost"),
    ],
)
def test_another_origin_is_answered_403_by_default(origin: str, host: str) -> None:
    assert not allows(None, origin, host)


@pytest.mark.parametrize(
    "origin",
    [
        "",
        " ",
        "example.com",
        "//example.com",
        "https://",
        "https://example.com/",
        "https://example.com/path",
        "https://example.com?a",
        "https://example.com#a",
        "https://user@example.com",
        "https://example.com\\x",
        "https://example.com\\`x",
        "https://example.com`x",
        "https://evil.com\\@example.com",
        "https://example.com https://example.com",
        "https://example.com,https://evil.com",
        "https:example.com",
        "https:///example.com",
        "https://%65xample.com",
        "https://ex\xe4mple.com",
        "https://example.com:x",
        "https://[",
        "https://example.com\t",
        "file://example.com",
        "file://example.com:80",
        "file://localhost",
        "file:",
        "file:///",
        "app:",
        "app:///x",
        "://",
        "NULL",
        "*",
    ],
)
def test_a_malformed_origin_is_answered_403(origin: str) -> None:
    assert not allows(None, origin)
    assert not allows(["https://example.com", "null"], origin)


@pytest.mark.parametrize("page", ["localhost", "127.0.0.1", "127.8.9.10", "[::1]"])
@pytest.mark.parametrize("server", ["localhost", "127.0.0.1", "127.1.1.1", "[::1]", "LOCALHOST"])
def test_a_loopback_page_may_connect_to_a_loopback_server(page: str, server: str) -> None:
    assert allows(None, f"http://{page}:3000", f"{server}:8000")
    assert allows(None, f"https://{page}", server)


@pytest.mark.parametrize(
    "other", ["localhost.evil.com", "127.evil.com", "128.0.0.1", "[::2]", "notlocalhost", "0.0.0.0"]
)
def test_what_looks_like_loopback_is_not(other: str) -> None:
    assert not allows(None, f"http://{other}:3000", "localhost:8000")
    assert not allows(None, "http://localhost:3000", f"{other}:8000")


def test_any_lets_in_every_origin() -> None:
    for origin in ("https://evil.com", "null", "file://", "nonsense"):
        assert allows(ANY, origin)
    assert repr(ANY) == "ANY"


def test_a_list_lets_in_exactly_its_origins() -> None:
    origins = ["https://good.com", "http://good.com:8000", "chrome-extension://AbC", "null"]
    for origin in (
        "https://good.com",
        "https://good.com:443",
        "HTTPS://GOOD.com",
        "http://good.com:8000",
        "chrome-extension://abc",
        "null",
    ):
        assert allows(origins, origin)
    for origin in (
        "http://good.com",
        "https://good.com:8000",
        "https://good.com.evil",
        "https://sub.good.com",
        "https://example.com",
        "http://localhost:3000",
        "https://null",
    ):
        assert not allows(origins, origin)
    assert not allows(origins, "http://localhost", "localhost")
    assert not allows([], "https://example.com")


@pytest.mark.parametrize(
    "origin",
    [
        "null",  # sandboxed frames, data: URLs, and files in browsers
        "file://",  # files in Electron, Cordova and Android's WebView
        "content://",  # Android's WebView
        "qrc://",  # Qt
        "app://obsidian.md",
        "app://.",  # Electron
        "app://-",
        "app://bundle.1",
        "app://my_app",
        "capacitor://localhost",
        "ionic://localhost",
        "tauri://localhost",
        "http://tauri.localhost",
        "electron://altair",
        "gap://ready",
        "chrome-extension://aohghmighlieiainnegkcijnfilokake",
        "moz-extension://0a1b2c3d-0000-4444-8888-0123456789ab",
        "safari-web-extension://83B4C9EA-2C1F-4B3F-AD14-A7C0BB9D2D2E",
        "vscode-webview://1bf3d4u0k1l4tfjm4m6dovr1dcd7i4o2",
        "vscode-file://vscode-app",
        "ms-appx-web://microsoft.microsoftedge",
    ],
)
def test_pages_of_apps_and_extensions_are_let_in_by_their_origin_and_by_no_other(origin: str) -> None:
    for host in ("example.com", "localhost:8000"):
        assert allows([origin], origin, host)
        assert not allows(None, origin, host)
        assert not allows(["https://example.com", "other://", "https://*.localhost.x"], origin, host)
    with pytest.raises(HandshakeError, match="would let it in"):
        OriginPolicy().check([origin], "example.com")


def test_the_refusal_says_what_would_let_the_page_in_and_that_does() -> None:
    for origin, entry in (
        ("https://evil.com:443", "https://evil.com"),
        ("null", "null"),
        ("chrome-extension://abc", "chrome-extension://abc"),
        ("file://", "file://"),
    ):
        with pytest.raises(HandshakeError) as caught:
            OriginPolicy().check([origin], "example.com")
        assert f"origins=[..., '{entry}']" in str(caught.value)
        assert allows([entry], origin)


SUBDOMAINS = ["https://*.good.com", "https://*.good.com:8443", "http://*.dev.localhost:3000", "ext://*.Good"]


@pytest.mark.parametrize(
    "origin",
    [
        "https://a.good.com",
        "https://a.b.c.d.good.com",
        "HTTPS://A.GOOD.COM:443",
        "https://good.com.good.com",
        "https://a.good.com:8443",
        "http://a.dev.localhost:3000",
        "ext://a.good",
    ],
)
def test_a_star_stands_for_one_or_more_labels(origin: str) -> None:
    assert allows(SUBDOMAINS, origin)


@pytest.mark.parametrize(
    "origin",
    [
        "https://good.com",
        "https://good.com:8443",
        "https://.good.com",
        "https://a..good.com",
        "https://*.good.com",
        "https://a.good.com.",
        "https://evilgood.com",
        "https://evil-good.com",
        "https://a.good.com.evil",
        "https://evil.com/a.good.com",
        "https://evil.com?a.good.com",
        "https://evil.com#a.good.com",
        "https://evil.com\\a.good.com",
        "https://evil.com\\.good.com",
        "https://a.good.com@evil.com",
        "https://evil.com@a.good.com",
        "https://a.good.com`evil.com",
        "https://a.goodxcom",
        "https://a.good.com:444",
        "https://a.good.com:84430",
        "https://a.good.com:8443.evil.com",
        "http://a.good.com",
        "http://a.good.com:443",
        "http://a.dev.localhost",
        "https://a.dev.localhost:3000",
        "ws://a.good.com",
        "null",
        "https://a.good.com https://evil.com",
        "https://evil.com,https://a.good.com",
    ],
)
def test_a_star_stands_for_nothing_else(origin: str) -> None:
    assert not allows(SUBDOMAINS, origin)


def test_subdomains_and_exact_origins_are_let_in_by_one_list() -> None:
    origins = ["https://*.good.com", "https://*.fine.com", "https://good.com", "null"]
    for origin in ("https://a.good.com", "https://a.fine.com", "https://good.com", "null"):
        assert allows(origins, origin)
    assert not allows(origins, "https://fine.com")


def test_the_refusal_does_not_suggest_what_would_let_in_more_than_the_page() -> None:
    with pytest.raises(HandshakeError) as caught:
        OriginPolicy().check(["https://*.com"], "example.com")
    assert "origins=" not in str(caught.value)


def test_the_refusal_of_a_long_origin_is_short() -> None:
    with pytest.raises(HandshakeError) as caught:
        OriginPolicy().check([f"https://{'a.' * 4000}com"], "example.com")
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "entry",
    [
        "*",
        "",
        "good.com",
        "https://good.com/",
        "https://*.good.com/x",
        "http://a b",
        "*.good.com",
        "*://good.com",
        "https://*",
        "https://*.",
        "https://*:443",
        "https://good.com:*",
        "https://*.good.com:*",
        "https://*good.com",
        "https://a*.good.com",
        "https://a.*.good.com",
        "https://*.*.good.com",
        "https://**.good.com",
        "https://good.*",
        "https://*..good.com",
        "https://*.1.2.3.4",
        "other://*.443",
        "https://*.4",
        "https://*.[::1]",
        "ext://*.[::1]",
        "file://*.",
        "app://*.",
        "file://localhost",
    ],
)
def test_a_list_of_origins_is_checked_when_it_is_made(entry: str) -> None:
    with pytest.raises(ValueError, match="not an origin"):
        OriginPolicy([entry])


def test_a_star_is_answered_with_any() -> None:
    with pytest.raises(ValueError, match="origins=ANY"):
        OriginPolicy(["*"])


def test_origins_of_the_wrong_type_are_refused() -> None:
    with pytest.raises(TypeError, match="list"):
        OriginPolicy("https://good.com")
    with pytest.raises(TypeError, match="bytes"):
        OriginPolicy([b"https://good.com"])  # type: ignore[list-item]


@given(st.text(), st.sampled_from(["example.com", "localhost:8000"]))
def test_any_text_is_judged_without_another_error(origin: str, host: str) -> None:
    allows(None, origin, host)
    allows(["https://good.com"], origin, host)


# is_host.


@pytest.mark.parametrize(
    "host", ["h", "example.com:80", "[::1]", "[::1]:80", "127.0.0.1", "my_service:1", "h:", "a.b."]
)
def test_a_host_is_a_name_or_an_address_maybe_with_a_port(host: str) -> None:
    assert is_host(host)


@pytest.mark.parametrize(
    "host",
    ["", "[", "a:b:c", "h:x", "h:99999", ":80", "a b", "a/b", "a?b", "a#b", "a\\b", "u@h", "u:p@h", "%41", "\xe9"],
)
def test_what_is_no_host(host: str) -> None:
    assert not is_host(host)


@pytest.mark.parametrize("host", ["h\t", "h\r", "h\0", "::1", "[::1", "1.2.3.256"])
def test_what_is_no_host_either(host: str) -> None:
    assert not is_host(host)
