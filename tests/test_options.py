"""The options, and the values that are refused."""

from __future__ import annotations

import inspect
import re
import socket
import ssl
from typing import Any

import pytest

import wasclean
from tests.endpoints import echo, served
from wasclean import Deflate, Response, WebSocket, basic_auth, broadcast, connect, foreign_names, serve
from wasclean.arguments import check_names
from wasclean.checks import MAX_UNIX_PATH, unix_path
from wasclean.closing.keepalive import Timing
from wasclean.closing.rates import Rates
from wasclean.options import (
    MAX_REDIRECTS,
    ClientOptions,
    ClientSettings,
    LimitOptions,
    Limits,
    Option,
    ServerLimits,
    ServerOptions,
    ServerSettings,
)

NUMBERS = ["max_queue", "max_buffered_amount", "open_timeout", "close_timeout"]
RATES = ["max_pings_per_second", "max_messages_per_second", "max_bytes_per_second"]
TIMES = ["ping_interval", "ping_timeout", "write_timeout", "idle_timeout", "max_lifetime"]
UNLIMITED = ["max_message_size", "max_fragments", *RATES, *TIMES]
OF_SERVERS = ["max_handshakes", "max_connections", "max_connections_per_address"]


@pytest.fixture
def patient() -> None:
    """The defaults are those of the product."""


def test_servers_take_smaller_messages_than_clients_by_default() -> None:
    assert ServerLimits({}).max_message_size == 1 << 20
    assert Limits({}).max_message_size == 16 << 20


@pytest.mark.parametrize("table", [Limits, ServerLimits])
def test_the_other_defaults_are_those_that_the_documentation_states(table: type[Limits]) -> None:
    limits = table({})
    assert limits.max_fragments == 4096
    assert limits.max_queue == 16
    assert limits.max_buffered_amount == 16 << 20
    assert limits.open_timeout == 10
    assert limits.close_timeout == 5
    assert limits.ping_interval == 20
    assert limits.ping_timeout == 20
    assert limits.write_timeout == 40
    assert limits.idle_timeout is None
    assert limits.max_lifetime is None
    assert limits.max_pings_per_second == 1000
    assert limits.max_messages_per_second is None
    assert limits.max_bytes_per_second is None


def test_servers_have_limits_of_their_own() -> None:
    limits = ServerLimits({})
    assert (limits.max_handshakes, limits.max_connections, limits.max_connections_per_address) == (1024, None, None)
    for name in OF_SERVERS:
        assert getattr(ServerLimits({name: 7}), name) == 7
        assert not hasattr(Limits({name: 7}), name)
        check_names("serve()", {name: 7}, ServerOptions.__annotations__)
        with pytest.raises(TypeError, match=f"no option '{name}'"):
            check_names("connect()", {name: 7}, ClientOptions.__annotations__)
        for value, error in ((0, ValueError), (-1, ValueError), (2.5, TypeError), ("5", TypeError), (True, TypeError)):
            with pytest.raises(error, match=name):
                ServerLimits({name: value})
    with pytest.raises(TypeError, match="max_handshakes must be a number, not NoneType"):
        ServerLimits({"max_handshakes": None})


def test_what_may_arrive_in_a_second_is_the_same_for_every_connection() -> None:
    assert Limits({}).rates == Rates(1000, None, None)
    limits = ServerLimits({"max_pings_per_second": None, "max_messages_per_second": 2, "max_bytes_per_second": 3})
    assert limits.rates == Rates(None, 2, 3)


@pytest.mark.parametrize("name", NUMBERS + UNLIMITED)
def test_every_limit_can_be_set(name: str) -> None:
    assert getattr(ServerLimits({name: 7}), name) == 7


@pytest.mark.parametrize("name", UNLIMITED)
def test_sizes_and_the_times_of_an_open_connection_may_be_unlimited(name: str) -> None:
    assert getattr(ServerLimits({name: None}), name) is None


@pytest.mark.parametrize("name", NUMBERS)
def test_queues_and_the_times_of_opening_and_closing_may_not(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name} must be a number, not NoneType"):
        ServerLimits({name: None})


@pytest.mark.parametrize("name", NUMBERS + UNLIMITED)
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("-inf")])
def test_a_limit_must_be_positive(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        Limits({name: value})


@pytest.mark.parametrize("name", NUMBERS + UNLIMITED)
@pytest.mark.parametrize("value", ["5", b"5", True, [5], object()])
def test_a_limit_must_be_a_number(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"{name} must be a number"):
        Limits({name: value})


@pytest.mark.parametrize("name", ["open_timeout", "close_timeout", *TIMES])
def test_a_time_may_be_a_fraction(name: str) -> None:
    assert getattr(Limits({name: 0.25}), name) == 0.25


@pytest.mark.parametrize("name", sorted(set(NUMBERS + UNLIMITED) - {"open_timeout", "close_timeout", *TIMES}))
def test_a_size_may_not(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name} must be a whole number"):
        Limits({name: 2.5})


def test_every_connection_gets_the_same_times() -> None:
    options = {"ping_interval": 1.0, "ping_timeout": None, "write_timeout": 3.0, "idle_timeout": 4.0}
    limits = ServerLimits(options)
    assert limits.timing() == Timing(1.0, None, 3.0, 4.0, None)
    assert limits.timing() is limits.timing()
    assert Limits({}).timing() == Timing(20, 20, 40, None, None)


def test_no_two_connections_have_to_end_at_once_because_of_their_age() -> None:
    limits = ServerLimits({"max_lifetime": 100.0})
    lifetimes = [limits.timing().max_lifetime for _ in range(200)]
    assert all(lifetime is not None and 90 <= lifetime <= 100 for lifetime in lifetimes)
    assert len(set(lifetimes)) > 190
    assert limits.max_lifetime == 100
    assert {limits.timing()[:4] for _ in range(10)} == {(20, 20, 40, None)}


def test_options_that_are_no_limits_do_not_count() -> None:
    assert Limits({"origin": "x", "headers": ()}).max_queue == 16


def test_a_name_that_does_not_exist_is_a_type_error_that_tells_those_that_do() -> None:
    with pytest.raises(TypeError, match=r"^f\(\) has no option 'timeout': .*; it has .*close_timeout, .*open_timeout"):
        check_names("f()", {"timeout": 5}, LimitOptions.__annotations__)
    with pytest.raises(TypeError, match=r"it has base_url, .*ssl"):
        check_names("f()", {"timeout": 5}, ClientOptions.__annotations__)


def test_names_that_exist_pass() -> None:
    check_names("f()", dict.fromkeys(LimitOptions.__annotations__), LimitOptions.__annotations__)
    check_names("f()", dict.fromkeys(LimitOptions.__annotations__), ClientOptions.__annotations__)
    with pytest.raises(TypeError, match="no option 'origin'"):
        check_names("f()", {"origin": "x"}, LimitOptions.__annotations__)


def test_no_more_redirects_than_five() -> None:
    assert MAX_REDIRECTS == 5


@pytest.mark.parametrize("make", [connect, WebSocket])
def test_a_path_for_a_client_is_a_type_error_that_names_both_meanings(make: Any) -> None:
    with pytest.raises(TypeError, match=r"has no option 'path': a Unix socket is unix=, .* part of the URL"):
        make("ws://localhost", path="/ws")


def test_a_path_for_a_server_is_a_type_error_that_names_both_meanings() -> None:
    with pytest.raises(TypeError, match=r"serve\(\) has no option 'path': a Unix socket is unix=, .*request\.path"):
        serve(print, "localhost", 8080, path="/ws")  # type: ignore[call-arg]


def test_a_path_of_a_unix_socket_fits_into_the_address_of_the_system() -> None:
    longest = "/" + (MAX_UNIX_PATH - 1) * "x"
    assert unix_path("unix", longest) == unix_path("unix", longest.encode()) == longest
    with socket.socket(socket.AF_UNIX) as unix, pytest.raises(FileNotFoundError):
        unix.connect(longest)
    with pytest.raises(ValueError, match=f"at most {MAX_UNIX_PATH} bytes, this one has {MAX_UNIX_PATH + 1}"):
        unix_path("unix", longest + "x")
    for empty in ("", "a\0b", "\0a\0"):
        with pytest.raises(ValueError, match="unix must be the path of a Unix socket"):
            unix_path("unix", empty)


# ---- the tables ----


def accepts(option: Option, value: Any) -> bool:
    try:
        option.check("option", value)
    except (TypeError, ValueError):
        return False
    return True


@pytest.mark.parametrize(
    ("options", "tables"),
    [(LimitOptions, [Limits]), (ServerOptions, [ServerLimits]), (ClientOptions, [Limits, ClientSettings])],
)
def test_the_types_for_programs_have_the_options_of_the_tables(options: Any, tables: list[Any]) -> None:
    assert list(options.__annotations__) == [name for table in tables for name in table.options]


@pytest.mark.parametrize("name", ServerOptions.__annotations__)
def test_a_limit_accepts_what_its_type_for_programs_tells(name: str) -> None:
    option = ServerLimits.options[name]
    kind = ServerOptions.__annotations__[name].__forward_arg__
    assert kind == ("float" if accepts(option, 0.5) else "int") + (" | None" if accepts(option, None) else "")


@pytest.mark.parametrize("table", [Limits, ServerLimits, ClientSettings])
def test_a_default_is_what_its_check_makes_of_it(table: Any) -> None:
    for name, option in table.options.items():
        assert (option.check(name, option.default) or option.default) == option.default


def test_serve_has_the_arguments_of_its_table_and_describes_them() -> None:
    names = list(inspect.signature(serve).parameters)
    assert names == [*ServerSettings.options, "limits"]
    assert re.findall(r"^ {8}(\w+):", (serve.__doc__ or "").partition("Raises:")[0], re.MULTILINE) == names


@pytest.mark.parametrize(("options", "table"), [(LimitOptions, Limits), (ClientOptions, ClientSettings)])
def test_help_describes_the_options_of_a_table_in_their_order(options: Any, table: Any) -> None:
    assert re.findall(r"^ {8}(\w+):", options.__doc__ or "", re.MULTILINE) == list(table.options)
    assert max(map(len, options.__doc__.splitlines())) <= 120


def test_help_tells_the_default_of_each_limit() -> None:
    assert LimitOptions.__doc__ is not None
    text = " ".join(LimitOptions.__doc__.split())
    assert "Default: 1 MiB on servers, 16 MiB on clients. max_fragments: " in text
    assert "Default: 4096. max_queue: " in text
    assert "headers included. Default: None, no limit. open_timeout: " in text


# ---- what is refused when it is given ----

NAN, INFINITE = float("nan"), float("inf")
HEADERS: list[Any] = ["A: b", b"A: b", 5, ["ab"], [("a",)], [("a", "b", "c")], {"A": 5}, {5: "b"}]
BAD_HEADERS: list[Any] = [{"A": "b\r\nC: d"}, {"A b": "c"}, {"Upgrade": "x"}, {"sec-websocket-key": "x"}]
CLIENT_CONTEXT, SERVER_CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

#: Wrong values of each option: those that are a TypeError, and those that are a ValueError.
SHARED: dict[str, tuple[list[Any], list[Any]]] = {
    "unix": ([5, True, ["s"]], ["", "a\0b", 109 * "x"]),
    "headers": (HEADERS, BAD_HEADERS),
    "compression": ([True, "gzip", ["deflate"], [], 5], []),
    **{name: (["5", True, [5], {}], [0, -1, NAN, INFINITE, -INFINITE]) for name in LimitOptions.__annotations__},
}
OF_CLIENTS: dict[str, tuple[list[Any], list[Any]]] = {
    **SHARED,
    "base_url": ([5, b"ws://h"], ["h", ""]),
    "origin": ([5, b"http://h", True], ["http://h\r\nA: b", "http://h\0", "", "http://\xe9"]),
    "ssl": ([True, False, "x", ssl], [SERVER_CONTEXT]),
    "server_hostname": ([5, b"h"], ["", ".h", "a b", "h:443", "[::1]", "a..b", "a\0b", 64 * "a"]),
    "max_redirects": (["1", True, 1.0, None], [-1, 6]),
    "proxy": ([5, b"http://h", False], ["", "ftp://h"]),
    "proxy_ssl": ([True, "x"], [SERVER_CONTEXT]),
}
OF_THE_SERVER: dict[str, tuple[list[Any], list[Any]]] = {
    **SHARED,
    "handler": ([None, 5, "f"], []),
    "host": ([5, True, b"h", [5], 5.0], [[], "a\0b", "a..b"]),
    "port": (["80", True, 80.0], [-1, 65536]),
    "sock": ([5, "s"], []),
    "ssl": ([True, "cert.pem"], [CLIENT_CONTEXT]),
    "subprotocols": ([5, None, {"chat": 1}, [5], b"chat"], [["a", "a"], ["a", "A"], ["a b"], ""]),
    "origins": ([5, True, "http://h", b"http://h", [5]], [["h"], ["*"]]),
    "on_request": ([5, "f"], []),
    "reuse_port": ([1, "yes", None], []),
    "backlog": (["x", True, None, 1.5], [-1, 1 << 31]),
    **{name: (["5", True, 2.5], [0, -1, NAN, INFINITE]) for name in OF_SERVERS},
}


def wrong_values(table: dict[str, tuple[list[Any], list[Any]]]) -> list[tuple[str, Any, type[Exception]]]:
    return [
        (name, value, kind)
        for name, values in table.items()
        for kind, group in zip((TypeError, ValueError), values, strict=True)
        for value in group
    ]


@pytest.mark.parametrize("make", [connect, WebSocket])
@pytest.mark.parametrize(("name", "value", "error"), wrong_values(OF_CLIENTS))
def test_a_client_refuses_a_wrong_value_when_it_is_given(
    make: Any, name: str, value: Any, error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:  # without an event loop: nothing can have happened
        make("wss://localhost:1", **{name: value})
    assert type(caught.value) in (error, wasclean.SyntaxError)
    assert name in str(caught.value) or name in ("headers", "base_url")


@pytest.mark.parametrize(("name", "value", "error"), wrong_values(OF_THE_SERVER))
def test_a_server_refuses_a_wrong_value_when_it_is_given(name: str, value: Any, error: type[Exception]) -> None:
    address = {} if name in ("unix", "sock") else {"host": "localhost"}
    with pytest.raises(error) as caught:
        serve(**{"handler": print, **address, name: value})
    assert type(caught.value) in (error, wasclean.SyntaxError)
    assert name in str(caught.value) or name in ("headers", "subprotocols", "origins")


def test_the_tables_have_every_option() -> None:
    assert set(OF_CLIENTS) == set(ClientOptions.__annotations__)
    assert set(OF_THE_SERVER) == {*ServerOptions.__annotations__, *inspect.signature(serve).parameters} - {"limits"}


@pytest.mark.parametrize("make", [connect, WebSocket])
@pytest.mark.parametrize("names", [["a", "a"], ["a", "A"], ["a b"], ""])
def test_a_client_refuses_subprotocols_that_are_repeated_or_no_tokens(make: Any, names: Any) -> None:
    with pytest.raises(wasclean.SyntaxError):
        make("ws://localhost:1", names)


@pytest.mark.parametrize(
    ("url", "options", "error", "text"),
    [
        ("ws://h", {"ssl": CLIENT_CONTEXT}, ValueError, "ssl= needs a wss: URL"),
        ("ws://h", {"server_hostname": "h"}, ValueError, "server_hostname= needs a wss: URL"),
        ("ws://h", {"proxy_ssl": CLIENT_CONTEXT, "proxy": "http://h"}, ValueError, "proxy_ssl= needs an https: proxy"),
        ("ws://h", {"proxy_ssl": CLIENT_CONTEXT, "proxy": None}, ValueError, "proxy_ssl= needs an https: proxy"),
        ("ws://h", {"unix": "/s", "proxy": "http://h"}, TypeError, "unix= and proxy= exclude each other"),
        ("ws://h", {"origin": "http://h", "headers": {"Origin": "x"}}, ValueError, "more than one Origin"),
        ("ws://h", {"headers": [("Host", "a"), ("host", "b")]}, ValueError, "more than one Host"),
        ("ws://h", {"ssl": SERVER_CONTEXT}, ValueError, "context for servers, and this is a client"),
    ],
)
def test_a_client_refuses_options_that_do_not_go_together(
    url: str, options: dict[str, Any], error: type[Exception], text: str
) -> None:
    for make in (connect, WebSocket):
        with pytest.raises(error, match=text):
            make(url, **options)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"reuse_port": True, "unix": "/s"}, TypeError, "reuse_port= is for a host and port"),
        ({"ssl": CLIENT_CONTEXT}, ValueError, "context for clients, and this is a server"),
        ({"host": 8080}, TypeError, "it comes before the port"),
    ],
)
def test_a_server_refuses_options_that_do_not_go_together(
    options: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        serve(print, **options)


def test_values_that_mean_the_same_as_the_default_pass() -> None:
    nothing = dict.fromkeys(["base_url", "origin", "headers", "ssl", "server_hostname", "unix", "proxy", "proxy_ssl"])
    connect("wss://localhost:1", **nothing)  # type: ignore[arg-type]
    serve(print, None, None, unix=None, sock=None, ssl=None, headers=None, origins=None, on_request=None)
    for name in ("h", "H.example.", "::1", "127.0.0.1", "a_b", "b\xfccher.example"):
        connect("wss://localhost:1", server_hostname=name)
    for hosts in ("", "::1", "fe80::1%lo", ["localhost", "127.0.0.1"], ("::1",)):
        serve(print, hosts)
    with pytest.warns(DeprecationWarning, match="PROTOCOL_TLS"):
        both = ssl.SSLContext(ssl.PROTOCOL_TLS)
    connect("wss://localhost:1", ssl=both)
    serve(print, "localhost", ssl=both)


def test_settings_show_no_secrets() -> None:
    assert "secret" not in repr(ClientSettings({"headers": [("Authorization", "secret")]}))


WRONG_TIMES: list[tuple[Any, type[Exception]]] = [
    ("5", TypeError),
    (True, TypeError),
    ([5], TypeError),
    (NAN, ValueError),
    (INFINITE, ValueError),
    (-1, ValueError),
]


@pytest.mark.parametrize(("timeout", "error"), WRONG_TIMES)
async def test_a_wrong_timeout_of_a_call_is_refused_before_anything_happens(
    timeout: Any, error: type[Exception]
) -> None:
    async with served(echo) as server, connect(server.url) as client:
        end = await server.sockets.get()
        for socket in (client, end):
            for refused in (socket.close, socket.drain, socket.check_alive):
                with pytest.raises(error, match="timeout must be a number of seconds"):
                    await refused(timeout=timeout)
            assert socket.readyState == WebSocket.OPEN
        with pytest.raises(error, match="timeout must be a number of seconds"):
            server.server.close(timeout=timeout)
        await client.send("still there")
        assert await client.recv() == "still there"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["1001"], TypeError),
        ([True], TypeError),
        ([1006], wasclean.InvalidAccessError),
        ([1001, 5], TypeError),
        ([1001, 124 * "x"], wasclean.SyntaxError),
    ],
)
async def test_a_server_that_is_closed_with_wrong_arguments_goes_on(
    arguments: list[Any], error: type[Exception]
) -> None:
    async with served(echo) as server, connect(server.url) as socket:
        with pytest.raises(error):
            server.server.close(*arguments)
        await socket.send("still there")
        assert await socket.recv() == "still there"


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: Response("200"), "status must be an int, not str"),  # type: ignore[arg-type]
        (lambda: Response(200.5), "status must be an int, not float"),  # type: ignore[arg-type]
        (lambda: Response(True), "status must be an int, not bool"),
        (lambda: Response(200, None), "body must be str or bytes"),  # type: ignore[arg-type]
        (lambda: Response(200, "", "A: b"), "headers must be a mapping"),  # type: ignore[arg-type]
        (lambda: Response(200, reason=5), "reason phrase must be a str"),  # type: ignore[arg-type]
        (lambda: Deflate(level="5"), "level must be an int"),  # type: ignore[arg-type]
        (lambda: Deflate(required=1), "required must be a bool"),  # type: ignore[arg-type]
        (lambda: basic_auth("ann:secret"), "credentials are a mapping or a function"),  # type: ignore[arg-type]
        (lambda: basic_auth({}, realm=5), "realm must be a str"),  # type: ignore[arg-type]
        (lambda: broadcast(5, "x"), "takes several sockets"),  # type: ignore[arg-type]
        (lambda: broadcast([5], "x"), "takes sockets"),  # type: ignore[type-var]
        (lambda: broadcast([], "x", compress=1), "compress must be True or False"),  # type: ignore[arg-type]
        (lambda: broadcast([], 5), "a message is a str or bytes-like"),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_argument_of_a_call_is_a_type_error_that_says_what_to_give(call: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        call()


# ---- names that do not exist ----

MAKERS: dict[str, Any] = {
    "serve()": lambda **options: serve(print, "localhost", **options),
    "connect()": lambda **options: connect("ws://localhost", **options),
    "WebSocket()": lambda **options: WebSocket("ws://localhost", **options),
}


def complaint(what: str, name: str) -> str:
    with pytest.raises(TypeError) as caught:
        MAKERS[what](**{name: 5})
    text = str(caught.value)
    assert text.startswith(f"{what} has no option {name!r}")
    return text


def test_an_option_that_does_not_exist_is_answered_with_all_that_do() -> None:
    clients = set(ClientOptions.__annotations__)
    for what, names in (
        ("serve()", set(OF_THE_SERVER)),
        ("connect()", clients | {"subprotocols"}),
        ("WebSocket()", clients | {"protocols", "daemon"}),
    ):
        listed = complaint(what, "xyz").rpartition("; it has ")[2]
        assert listed.split(", ") == sorted(names)


@pytest.mark.parametrize(
    ("what", "name", "hint"),
    [
        ("serve()", "process_request", "in wasclean that is on_request="),
        ("serve()", "verifyClient", "in wasclean that is on_request="),
        ("serve()", "select_subprotocol", "in wasclean that is subprotocols="),
        ("connect()", "additional_headers", "in wasclean that is headers="),
        ("connect()", "max_size", "max_message_size="),
        ("serve()", "maxPayload", "max_message_size="),
        ("connect()", "heartbeat", "ping_interval="),
        ("connect()", "ping_interval_ms", "ping_interval=, in seconds"),
        ("connect()", "handshakeTimeout", "open_timeout=, in seconds"),
        ("connect()", "rejectUnauthorized", "ssl="),
        ("connect()", "sslopt", "ssl="),
        ("connect()", "protocols", "in wasclean that is subprotocols="),
        ("WebSocket()", "subprotocols", "in wasclean that is protocols="),
        ("serve()", "maxMessageSize", "did you mean max_message_size="),
        ("connect()", "maxRedirects", "did you mean max_redirects="),
        ("serve()", "sub_protocols", "did you mean subprotocols="),
        ("connect()", "pingInterval", "did you mean ping_interval="),
        ("connect()", "max_mesage_size", "did you mean max_message_size="),
    ],
)
def test_the_name_of_another_library_is_answered_with_ours(what: str, name: str, hint: str) -> None:
    assert hint in complaint(what, name)


@pytest.mark.parametrize("what", MAKERS)
def test_what_is_advised_exists(what: str) -> None:
    own = foreign_names._SERVER if what == "serve()" else foreign_names._CLIENT
    for name in foreign_names._BOTH | own:
        if (what, name) in (("connect()", "subprotocols"), ("WebSocket()", "protocols")):
            continue  # the one has what the other has not
        text, _, names = complaint(what, name).rpartition("; it has ")
        assert text != f"{what} has no option {name!r}"
        assert set(re.findall(r"\b(\w+)=", text)) <= {*names.split(", "), "protocols", "subprotocols"}, text
