"""How many connections there are from each address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import Any

#: Bits of an IPv6 address that tell one customer of a provider from another (RFC 6177): the others are free to choose.
PREFIX = 64


def network_of(peer: Any) -> str | None:
    """What an address counts as: an IPv6 address as its /64, every other one as itself, of whatever kind it is.

    Args:
        peer: the peer's name as the socket gives it.

    Returns:
        None for what has no address, such as a Unix socket.
    """
    if not isinstance(peer, tuple):
        return None
    from ipaddress import IPv6Address, ip_address  # few servers ask

    host = str(peer[0])  # an int in AF_VSOCK, for one
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:  # a socket for both kinds has those, too
        return str(address.ipv4_mapped)
    host_bits = 128 - PREFIX
    return f"{IPv6Address(int(address) >> host_bits << host_bits)}/{PREFIX}"


class Addresses:
    """Counts connections by their address.

    Args:
        limit: of connections from one; None for no limit, and then nothing is counted.
    """

    __slots__ = ("_counts", "_limit", "_networks")

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._counts: Counter[str] = Counter()
        self._networks: dict[Hashable, str] = {}

    def admit(self, connection: Hashable, peer: Any) -> bool:
        """Count a connection, unless there are as many from its address as may be; returns whether it was counted."""
        network = None if self._limit is None else network_of(peer)
        if network is None or self._limit is None:
            return True
        if self._counts[network] >= self._limit:
            return False
        self._counts[network] += 1
        self._networks[connection] = network
        return True

    def forget(self, connection: Hashable) -> None:
        """The connection has ended; it need not have been counted."""
        network = self._networks.pop(connection, None)
        if network is not None:
            self._counts[network] -= 1
            if not self._counts[network]:
                del self._counts[network]
