"""Proxies: their URLs, the choice of one from the environment, and the CONNECT request."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from wasclean.opening.proxies import ProxyURL, connect_request, environment_proxy, excludes, parse_proxy
from wasclean.opening.urls import parse_url

# The URL of a proxy.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://proxy.example:3128", ProxyURL("http", "proxy.example", 3128, "", "")),
        ("http://proxy.example", ProxyURL("http", "proxy.example", 80, "", "")),
        ("http://proxy.example:80/", ProxyURL("http", "proxy.example", 80, "", "")),
        ("https://proxy.example/", ProxyURL("https", "proxy.example", 443, "", "")),
        ("HTTP://Proxy.Example/path?query", ProxyURL("http", "proxy.example", 80, "", "")),
        ("proxy.example:3128", ProxyURL("http", "proxy.example", 3128, "", "")),
        ("me:secret@proxy.example", ProxyURL("http", "proxy.example", 80, "me", "secret")),
        ("http://m%40e:s%3Ae%2fc@10.0.0.1:1", ProxyURL("http", "10.0.0.1", 1, "m@e", "s:e/c")),
        ("http://%C3%A9:x@h", ProxyURL("http", "h", 80, "é", "x")),
        ("http://[::1]:3128", ProxyURL("http", "::1", 3128, "", "")),
        ("socks4://h", ProxyURL("socks4", "h", 1080, "", "")),
        ("socks4a://h:80", ProxyURL("socks4a", "h", 80, "", "")),
        ("socks5://me:secret@h:443", ProxyURL("socks5", "h", 443, "me", "secret")),
        ("socks4://me@h", ProxyURL("socks4", "h", 1080, "me", "")),
        ("socks5h://[::1]:9", ProxyURL("socks5h", "::1", 9, "", "")),
        ("socks://h", ProxyURL("socks5h", "h", 1080, "", "")),
        ("SOCKS://me:secret@h:9", ProxyURL("socks5h", "h", 9, "me", "secret")),
    ],
)
def test_the_url_of_a_proxy(text: str, expected: ProxyURL) -> None:
    assert parse_proxy(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "://",
            "http://",
            "http://secret@",
            "http://h:secret",
            "http://h:99999",
            "http://a b/",
            "http://[secret]",
        ),
        *(
            "ftp://me:secret@h",
            "ws://secret@h",
            "socks6://secret@h",
            "socks://secret@h",
            "secret://h",
            "se:cret@://h",
            "socks5://",
            "socks5://:1",
        ),
        *("http://h\r\nX: secret", "http://h\0", "http://secret\x80@h", "http://\u2028", "http://\ud800", "\thttp://h"),
        *("http://secret%0d%0a@h", "http://secret%00:x@h", "http://me:secret%ff@h", "socks4://secret%00@h"),
        *("socks4a://secr%C3%A9t@h", "socks5://me:s%C3%A9cret@h", f"socks5h://me:{'secret' * 43}@h"),
        *("socks5://secret@h", "socks5h://:secret@h", f"socks4://{'secret' * 43}@h"),
    ],
)
def test_what_is_no_url_of_a_proxy_is_a_value_error_without_secrets(text: str) -> None:
    with pytest.raises(ValueError, match="prox") as error:
        parse_proxy(text)
    assert "cret" not in str(error.value).removesuffix("not secret")
    assert "\n" not in str(error.value)
    assert error.value.__cause__ is None


@pytest.mark.parametrize("value", [5, b"http://h", False, ["http://h"]])
def test_what_is_no_text_is_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError, match="proxy="):
        parse_proxy(value)


def test_the_password_of_a_proxy_is_not_shown() -> None:
    assert repr(parse_proxy("http://me:secret@[::1]:3128")) == "<ProxyURL 'http://[::1]:3128'>"


# The environment.


@pytest.mark.parametrize(
    ("url", "environment", "expected"),
    [
        ("ws://h/", {}, None),
        ("ws://h/", {"http_proxy": "http://p"}, "p"),
        ("ws://h/", {"HTTP_PROXY": "http://p"}, "p"),
        ("ws://h/", {"HTTP_PROXY": "http://p", "REQUEST_METHOD": "GET"}, None),
        ("ws://h/", {"HTTP_PROXY": "http://p", "http_proxy": "http://q", "REQUEST_METHOD": "GET"}, "q"),
        ("wss://h/", {"HTTPS_PROXY": "http://p", "REQUEST_METHOD": "GET"}, "p"),
        ("ws://h/", {"https_proxy": "http://p"}, None),
        ("wss://h/", {"http_proxy": "http://p"}, None),
        ("wss://h/", {"https_proxy": "http://p", "HTTPS_PROXY": "http://q"}, "p"),
        ("wss://h/", {"https_proxy": "", "HTTPS_PROXY": "http://q"}, "q"),
        ("ws://h/", {"all_proxy": "http://p"}, "p"),
        ("wss://h/", {"ALL_PROXY": "http://p"}, "p"),
        ("wss://h/", {"ALL_PROXY": "http://p", "all_proxy": "http://q"}, "q"),
        ("ws://h/", {"ALL_PROXY": "http://p", "HTTP_PROXY": "http://q"}, "q"),
        ("ws://h/", {"http_proxy": "http://p", "no_proxy": "h"}, None),
        ("ws://h/", {"http_proxy": "http://p", "NO_PROXY": "h"}, None),
        ("ws://h/", {"http_proxy": "http://p", "NO_PROXY": "h", "no_proxy": "i"}, "p"),
        ("ws://h/", {"all_proxy": "http://p", "no_proxy": "*"}, None),
        ("ws://localhost/", {"http_proxy": "http://p"}, "p"),
        ("ws://127.0.0.1/", {"http_proxy": "http://p"}, "p"),
        ("ws://h/", {"ws_proxy": "http://p"}, None),
    ],
)
def test_the_proxy_of_the_environment(url: str, environment: dict[str, str], expected: str | None) -> None:
    proxy = environment_proxy(parse_url(url), environment)
    assert (proxy and proxy.host) == expected


def test_an_environment_with_a_proxy_that_is_none_says_where() -> None:
    with pytest.raises(ValueError, match=r"^ALL_PROXY in the environment: the scheme"):
        environment_proxy(parse_url("ws://h/"), {"ALL_PROXY": "sock://secret@h"})
    assert environment_proxy(parse_url("ws://h/"), {"ALL_PROXY": "sock://h", "NO_PROXY": "h"}) is None


@pytest.mark.parametrize(
    ("no_proxy", "host"),
    [
        ("*", "example.com"),
        ("other, *", "example.com"),
        ("example.com", "example.com"),
        ("EXAMPLE.com", "Example.COM"),
        ("example.com", "www.example.com"),
        (".example.com", "www.example.com"),
        (".example.com", "example.com"),
        ("example.com.", "example.com"),
        ("example.com", "example.com."),
        ("a,b example.com", "example.com"),
        (" , a ,,example.com,", "example.com"),
        ("example.com:8080", "example.com:8080"),
        ("example.com:80", "www.example.com"),
        ("*:80", "example.com"),
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "2130706433"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("127.0.0.0/8", "127.1.2.3"),
        ("127.0.0.9/8", "127.1.2.3"),
        ("10.0.0.0/8:80", "10.1.2.3"),
        ("192.168.1.0/31", "192.168.1.1"),
        ("::1", "[::1]"),
        ("[::1]", "[::1]"),
        ("[::1]:80", "[::1]"),
        ("0:0:0:0:0:0:0:1", "[::1]"),
        ("fd00::/8", "[FD12::1]"),
    ],
)
def test_a_host_that_needs_no_proxy(no_proxy: str, host: str) -> None:
    assert excludes(no_proxy, parse_url(f"ws://{host}/"))


@pytest.mark.parametrize(
    ("no_proxy", "host"),
    [
        ("", "example.com"),
        (" ,.", "example.com"),
        (":80", "example.com"),
        ("example.com", "badexample.com"),
        ("www.example.com", "example.com"),
        ("*.example.com", "www.example.com"),
        ("example.com:8080", "example.com"),
        ("example.com:80", "example.com:8080"),
        ("example.com:x", "example.com"),
        ("0.0.1", "127.0.0.1"),
        (".0.0.1", "127.0.0.1"),
        ("127.0.0.1:81", "127.0.0.1"),
        ("10.0.0.0/8", "11.0.0.0"),
        ("10.0.0.0/99", "10.0.0.1"),
        ("192.168.1.0/31", "192.168.1.2"),
        ("::/0", "127.0.0.1"),
        ("0.0.0.0/0", "[::1]"),
        ("0.0.0.0/0", "example.com"),
        ("[::1]:81", "[::1]"),
        ("127.0.0.1", "localhost"),
    ],
)
def test_a_host_that_needs_one(no_proxy: str, host: str) -> None:
    assert not excludes(no_proxy, parse_url(f"ws://{host}/"))


# CONNECT.


@pytest.mark.parametrize(
    ("url", "authority"),
    [("ws://h/x?y", b"h:80"), ("wss://h", b"h:443"), ("wss://u:p@h:8/", b"h:8"), ("ws://[::1]/", b"[::1]:80")],
)
def test_a_tunnel_is_asked_for_by_host_and_port(url: str, authority: bytes) -> None:
    request = connect_request(parse_proxy("http://p"), parse_url(url))
    assert request == b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (authority, authority)


def test_the_user_of_a_proxy_becomes_basic_authorization() -> None:
    request = connect_request(parse_proxy("http://m%C3%A9:s%3a%20@p"), parse_url("ws://other:user@h"))
    assert b"\r\nProxy-Authorization: Basic " + base64.b64encode("mé:s: ".encode()) + b"\r\n" in request
    assert b"\r\nAuthorization" not in request
