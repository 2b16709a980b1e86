"""A network namespace whose link can be interrupted, so that packets are lost without an error.

The namespace is connected to the outer one by a pair of virtual interfaces. Each end knows the hardware address of the
other statically; otherwise the kernel would report an error when it could not resolve it over the interrupted link. So
packets are lost silently, including the SYN of a new connection, and TCP retransmits with increasing intervals: after
up() it needs about as long as the link was down. This holds for the outer end; meanwhile a socket inside the namespace
cannot open a connection.

It needs root.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

import pytest

from tests.faults.processes import program

#: From linux/sched.h.
CLONE_NEWNET = 0x40000000

_numbers = count()


class Namespace:
    """A network namespace with one link to the outer one.

    Attributes:
        name: the name for ``ip netns``.
        link: the name of the outer interface.
        address: the inner IP address.
        our_address: the outer IP address.
        prefix: a command that runs another one inside, for processes.python().
    """

    def __init__(self, ip: str, name: str, index: int) -> None:
        self._ip = ip
        self._mac, self._our_mac = (f"02:00:c6:{index >> 8:02x}:{index & 255:02x}:{end:02x}" for end in (2, 1))
        net = f"198.18.{index >> 6}"  # reserved for benchmarks (RFC 2544), so not used by a real network
        self.name = name
        self.link = f"wasclean{index}"
        self.our_address, self.address = (f"{net}.{(index & 63) * 4 + end}" for end in (1, 2))
        self.prefix = (ip, "netns", "exec", name)

    def up(self) -> None:
        """Restore the link."""
        self._inside("link", "set", "net", "up")
        # Taking the interface down has removed its neighbours.
        self._inside("neigh", "replace", self.our_address, "lladdr", self._our_mac, "dev", "net", "nud", "permanent")

    def down(self) -> None:
        """Interrupt the link."""
        self._inside("link", "set", "net", "down")

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Enter the namespace with this thread: its new sockets, threads and processes belong to it, and stay there.

        The namespace has a loopback interface. A test may await in this context if nothing else in its loop makes
        sockets.
        """
        with open("/proc/thread-self/ns/net") as ours, open(f"/run/netns/{self.name}") as theirs:
            _enter(theirs.fileno())
            try:
                yield
            finally:
                _enter(ours.fileno())

    def resets_sent(self) -> int:
        """Return the number of RSTs that were sent from inside."""
        with self.entered():
            lines = Path("/proc/thread-self/net/snmp").read_text().splitlines()
        names, values = (line.split()[1:] for line in lines if line.startswith("Tcp:"))
        return int(values[names.index("OutRsts")])

    def _inside(self, *arguments: str) -> None:
        _run(self._ip, "-n", self.name, *arguments)

    def _furnish(self) -> None:
        _run(self._ip, "address", "add", f"{self.our_address}/30", "dev", self.link)
        _run(self._ip, "link", "set", self.link, "up")
        _run(self._ip, "neigh", "replace", self.address, "lladdr", self._mac, "dev", self.link, "nud", "permanent")
        self._inside("address", "add", f"{self.address}/30", "dev", "net")
        self._inside("link", "set", "lo", "up")
        self.up()

    @classmethod
    @contextmanager
    def make(cls) -> Iterator[Namespace]:
        """Make a namespace for this context; skip the test if that is not possible."""
        ip = program("ip", "iproute2")
        name = f"wasclean-{os.getpid()}-{next(_numbers)}"
        with ExitStack() as stack:
            if refusal := _try(ip, "netns", "add", name):
                pytest.skip(f"no network namespace: {refusal}")
            stack.callback(_run, ip, "netns", "delete", name)
            for index in range(1 << 14):  # use the first free one; other processes may be running tests, too
                made = cls(ip, name, index)
                ours = ("link", "add", made.link, "address", made._our_mac, "type", "veth")
                theirs = ("peer", "name", "net", "address", made._mac, "netns", name)
                refusal = _try(ip, *ours, *theirs)
                if "exists" not in refusal:
                    break
            if refusal:
                pytest.skip(f"no virtual interface: {refusal}")
            stack.callback(_run, ip, "link", "delete", made.link)  # an open socket inside would keep it alive
            made._furnish()
            yield made


def _try(*command: str) -> str:
    """Run a command; return its error message, or an empty str if it succeeds."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stderr.strip() or f"{command[1:]} failed") if done.returncode else ""


def _run(*command: str) -> None:
    if refusal := _try(*command):
        raise OSError(f"{' '.join(command)}: {refusal}")


def _enter(namespace: int) -> None:
    """Enter a namespace with this thread, like os.setns() of Python 3.12."""
    if ctypes.CDLL(None, use_errno=True).setns(namespace, CLONE_NEWNET):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
