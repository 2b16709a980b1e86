"""The options, and the values that are refused."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from wasclean import WebSocket, connect, serve
from wasclean.options import (
    MAX_REDIRECTS,
    MAX_UNIX_PATH,
    ClientOptions,
    LimitOptions,
    Limits,
    ServerOptions,
    check_names,
    check_unix,
)
from wasclean.protocol.keepalive import Timing
from wasclean.protocol.rates import Rates
from wasclean.protocol.registry import Role

NUMBERS = ["max_queue", "max_buffered_amount", "open_timeout", "close_timeout"]
RATES = ["max_pings_per_second", "max_messages_per_second", "max_bytes_per_second"]
TIMES = ["ping_interval", "ping_timeout", "write_timeout", "idle_timeout", "max_lifetime"]
UNLIMITED = ["max_message_size", "max_fragments", *RATES, *TIMES]
OF_SERVERS = ["max_handshakes", "max_connections", "max_connections_per_address"]


def test_servers_take_smaller_messages_than_clients_by_default() -> None:
    assert Limits(Role.SERVER, {}).max_message_size == 1 << 20
    assert Limits(Role.CLIENT, {}).max_message_size == 16 << 20


@pytest.mark.parametrize("role", Role)
def test_the_other_defaults_are_those_that_the_documentation_states(role: Role) -> None:
    limits = Limits(role, {})
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
    limits = Limits(Role.SERVER, {})
    assert (limits.max_handshakes, limits.max_connections, limits.max_connections_per_address) == (1024, None, None)
    for name in OF_SERVERS:
        assert getattr(Limits(Role.SERVER, {name: 7}), name) == 7
        assert not hasattr(Limits(Role.CLIENT, {name: 7}), name)
        check_names("serve()", {name: 7}, ServerOptions)
        with pytest.raises(TypeError, match=f"no option '{name}'"):
            check_names("connect()", {name: 7}, ClientOptions)
        for value, error in ((0, ValueError), (-1, ValueError), (2.5, TypeError), ("5", TypeError), (True, TypeError)):
            with pytest.raises(error, match=name):
                Limits(Role.SERVER, {name: value})
    with pytest.raises(TypeError, match="max_handshakes must be a number, not NoneType"):
        Limits(Role.SERVER, {"max_handshakes": None})


def test_what_may_arrive_in_a_second_is_the_same_for_every_connection() -> None:
    assert Limits(Role.CLIENT, {}).rates == Rates(1000, None, None)
    limits = Limits(
        Role.SERVER, {"max_pings_per_second": None, "max_messages_per_second": 2, "max_bytes_per_second": 3}
    )
    assert limits.rates == Rates(None, 2, 3)


@pytest.mark.parametrize("name", NUMBERS + UNLIMITED)
def test_every_limit_can_be_set(name: str) -> None:
    assert getattr(Limits(Role.SERVER, {name: 7}), name) == 7


@pytest.mark.parametrize("name", UNLIMITED)
def test_sizes_and_the_times_of_an_open_connection_may_be_unlimited(name: str) -> None:
    assert getattr(Limits(Role.SERVER, {name: None}), name) is None


@pytest.mark.parametrize("name", NUMBERS)
def test_queues_and_the_times_of_opening_and_closing_may_not(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name} must be a number, not NoneType"):
        Limits(Role.SERVER, {name: None})


@pytest.mark.parametrize("name", NUMBERS + UNLIMITED)
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("-inf")])
def test_a_limit_must_be_positive(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        Limits(Role.CLIENT, {name: value})


@pytest.mark.parametrize("name", NUMBERS + UNLIMITED)
@pytest.mark.parametrize("value", ["5", b"5", True, [5], object()])
def test_a_limit_must_be_a_number(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"{name} must be a number"):
        Limits(Role.CLIENT, {name: value})


@pytest.mark.parametrize("name", ["open_timeout", "close_timeout", *TIMES])
def test_a_time_may_be_a_fraction(name: str) -> None:
    assert getattr(Limits(Role.CLIENT, {name: 0.25}), name) == 0.25


@pytest.mark.parametrize("name", sorted(set(NUMBERS + UNLIMITED) - {"open_timeout", "close_timeout", *TIMES}))
def test_a_size_may_not(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name} must be a whole number"):
        Limits(Role.CLIENT, {name: 2.5})


def test_every_connection_gets_the_same_times() -> None:
    options = {"ping_interval": 1.0, "ping_timeout": None, "write_timeout": 3.0, "idle_timeout": 4.0}
    limits = Limits(Role.SERVER, options)
    assert limits.timing() == Timing(1.0, None, 3.0, 4.0, None)
    assert limits.timing() is limits.timing()
    assert Limits(Role.CLIENT, {}).timing() == Timing(20, 20, 40, None, None)


def test_no_two_connections_have_to_end_at_once_because_of_their_age() -> None:
    limits = Limits(Role.SERVER, {"max_lifetime": 100.0})
    lifetimes = [limits.timing().max_lifetime for _ in range(200)]
    assert all(lifetime is not None and 90 <= lifetime <= 100 for lifetime in lifetimes)
    assert len(set(lifetimes)) > 190
    assert limits.max_lifetime == 100
    assert {limits.timing()[:4] for _ in range(10)} == {(20, 20, 40, None)}


def test_options_that_are_no_limits_do_not_count() -> None:
    assert Limits(Role.CLIENT, {"origin": "x", "headers": ()}).max_queue == 16


def test_a_name_that_does_not_exist_is_a_type_error_that_tells_those_that_do() -> None:
    with pytest.raises(TypeError, match=r"^f\(\) has no option 'timeout'; it has .*close_timeout, .*open_timeout"):
        check_names("f()", {"timeout": 5}, LimitOptions)
    with pytest.raises(TypeError, match=r"it has base_url, .*ssl"):
        check_names("f()", {"timeout": 5}, ClientOptions)


def test_names_that_exist_pass() -> None:
    check_names("f()", dict.fromkeys(LimitOptions.__annotations__), LimitOptions)
    check_names("f()", dict.fromkeys(LimitOptions.__annotations__), ClientOptions)
    with pytest.raises(TypeError, match="no option 'origin'"):
        check_names("f()", {"origin": "x"}, LimitOptions)


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
    assert check_unix(longest) == check_unix(longest.encode()) == longest
    with socket.socket(socket.AF_UNIX) as unix, pytest.raises(FileNotFoundError):
        unix.connect(longest)
    with pytest.raises(ValueError, match=f"at most {MAX_UNIX_PATH} bytes, this one has {MAX_UNIX_PATH + 1}"):
        check_unix(longest + "x")
    for empty in ("", "a\0b", "\0a\0"):
        with pytest.raises(ValueError, match="unix must be the path of a Unix socket"):
            check_unix(empty)
