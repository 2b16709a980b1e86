"""The limit of connections from one client address."""

from __future__ import annotations

from typing import Any

import pytest

from wasclean.aio.addresses import Addresses, network_of


@pytest.mark.parametrize(
    ("peer", "network"),
    [
        (("192.0.2.1", 5), "192.0.2.1"),
        (("2001:db8:1:2:3:4:5:6", 5, 0, 0), "2001:db8:1:2::/64"),
        (("2001:db8:1:2::", 5, 0, 0), "2001:db8:1:2::/64"),
        (("2001:db8:1:3::1", 5, 0, 0), "2001:db8:1:3::/64"),
        (("fe80::1%eth0", 5, 0, 2), "fe80::/64"),
        (("::1", 5, 0, 0), "::/64"),
        (("::ffff:192.0.2.1", 5, 0, 0), "192.0.2.1"),
        (("00:11:22:33:44:55", 5), "00:11:22:33:44:55"),  # AF_BLUETOOTH
        ((2, 5), "2"),  # AF_VSOCK
        ("", None),
        (b"\0abstract", None),
        (None, None),
    ],
)
def test_an_ipv6_address_counts_as_its_64_and_a_unix_socket_has_none(peer: Any, network: str | None) -> None:
    assert network_of(peer) == network


def test_as_many_connections_as_the_limit_are_admitted_from_each_address() -> None:
    addresses = Addresses(2)
    here, there = ("192.0.2.1", 1), ("192.0.2.2", 1)
    assert [addresses.admit(i, here) for i in range(4)] == [True, True, False, False]
    assert [addresses.admit(i, there) for i in range(4, 7)] == [True, True, False]
    addresses.forget(2)  # which was not admitted
    assert not addresses.admit(7, here)
    addresses.forget(0)
    addresses.forget(0)
    assert [addresses.admit(i, here) for i in range(8, 10)] == [True, False]


def test_who_has_no_address_is_always_admitted() -> None:
    addresses = Addresses(1)
    assert all(addresses.admit(i, "") for i in range(5))


def test_without_a_limit_nothing_is_kept_and_with_one_nothing_that_has_gone() -> None:
    for limit in (None, 1):
        addresses = Addresses(limit)
        assert addresses.admit(1, ("192.0.2.1", 1))
        assert bool(addresses._counts or addresses._networks) == (limit is not None)
        addresses.forget(1)
        assert not addresses._counts
        assert not addresses._networks
