"""The limit of connections from one client address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import Any

#: Length of the prefix that identifies a site in an IPv6 address, in bits (RFC 6177). A client can choose the others.
PREFIX = 64


def network_of(peer: Any) -> str | None:
    """Return the network that a client is counted under: the /64 of an IPv6 address, or else the address itself.

    Args:
        peer: the result of getpeername().

    Returns:
        The network; None for a peer without an address, as on a Unix socket.
    """
    if not isinstance(peer, tuple):
        return None
    from ipaddress import IPv6Address, ip_address  # imported here because few servers have a limit

    host = str(peer[0])  # AF_VSOCK, for example, has an int there
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:  # an IPv4 client of a dual-stack socket
        return str(address.ipv4_mapped)
    host_bits = 128 - PREFIX
    return f"{IPv6Address(int(address) >> host_bits << host_bits)}/{PREFIX}"


class Addresses:
    """Counts connections by network, see network_of().

    Args:
        limit: the maximum number of connections from one network; None for no limit, and then nothing is counted.
    """

    __slots__ = ("_counts", "_limit", "_networks")

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._counts: Counter[str] = Counter()
        self._networks: dict[Hashable, str] = {}

    def admit(self, connection: Hashable, peer: Any) -> bool:
        """Count a connection, and return True; or return False if its network has reached the limit."""
        network = None if self._limit is None else network_of(peer)
        if network is None or self._limit is None:
            return True
        if self._counts[network] >= self._limit:
            return False
        self._counts[network] += 1
        self._networks[connection] = network
        return True

    def forget(self, connection: Hashable) -> None:
        """Report that a connection has ended; without effect if it was not counted."""
        network = self._networks.pop(connection, None)
        if network is not None:
            self._counts[network] -= 1
            if not self._counts[network]:
                del self._counts[network]
