"""The origins that may connect to a server, and valid hosts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wasclean.closing.errors import HandshakeError
from wasclean.opening.origins import ANY, OriginPolicy, Origins, is_host

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
