"""A network of its own, behind a cable that can be pulled: packets vanish, and no end hears of it.

A network namespace is joined to ours by a pair of virtual interfaces. Each end is told the other's hardware address,
for else the kernel would ask for it in vain once the cable has been pulled, and report that. So what is sent is lost
without an error, also the SYN of a new connection, and TCP goes on trying; it does so ever less often, and needs about
as long after up() as it was down. That holds for our end; what is inside can't open a connection meanwhile.

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
    """A network namespace with one cable to ours.

    Attributes:
        name: as ``ip netns`` knows it.
        link: our end of the cable.
        address: of the end inside, and
        our_address: of the end outside.
        prefix: the command that runs another one inside, for processes.python().
    """

    def __init__(self, ip: str, name: str, index: int) -> None:
        self._ip = ip
        self._mac, self._our_mac = (f"02:00:c6:{index >> 8:02x}:{index & 255:02x}:{end:02x}" for end in (2, 1))
        net = f"198.18.{index >> 6}"  # RFC 2544: for benchmarks, so that nobody else has it
        self.name = name
        self.link = f"wasclean{index}"
        self.our_address, self.address = (f"{net}.{(index & 63) * 4 + end}" for end in (1, 2))
        self.prefix = (ip, "netns", "exec", name)

    def up(self) -> None:
        """Plug the cable in."""
        self._inside("link", "set", "net", "up")
        # Taking a link down has made it forget its neighbour.
        self._inside("neigh", "replace", self.our_address, "lladdr", self._our_mac, "dev", "net", "nud", "permanent")

    def down(self) -> None:
        """Pull the cable out."""
        self._inside("link", "set", "net", "down")

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Let this thread make its sockets inside, and the threads and processes that it starts; sockets stay there.

        There is a loopback of its own, too. A test may await meanwhile, if nothing else in its loop makes sockets.
        """
        with open("/proc/thread-self/ns/net") as ours, open(f"/run/netns/{self.name}") as theirs:
            _enter(theirs.fileno())
            try:
                yield
            finally:
                _enter(ours.fileno())

    def resets_sent(self) -> int:
        """How many RSTs have been sent from inside."""
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
        """A namespace for as long as the context lasts; the test is skipped if there can't be one."""
        ip = program("ip", "iproute2")
        name = f"wasclean-{os.getpid()}-{next(_numbers)}"
        with ExitStack() as stack:
            if refusal := _try(ip, "netns", "add", name):
                pytest.skip(f"no network namespace: {refusal}")
            stack.callback(_run, ip, "netns", "delete", name)
            for index in range(1 << 14):  # the first that is free: two processes can't make the same one
                made = cls(ip, name, index)
                ours = ("link", "add", made.link, "address", made._our_mac, "type", "veth")
                theirs = ("peer", "name", "net", "address", made._mac, "netns", name)
                refusal = _try(ip, *ours, *theirs)
                if "exists" not in refusal:
                    break
            if refusal:
                pytest.skip(f"no virtual interface: {refusal}")
            stack.callback(_run, ip, "link", "delete", made.link)  # a socket inside that is still open would keep it
            made._furnish()
            yield made


def _try(*command: str) -> str:
    """Run a command; what it says if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stderr.strip() or f"{command[1:]} failed") if done.returncode else ""


def _run(*command: str) -> None:
    if refusal := _try(*command):
        raise OSError(f"{' '.join(command)}: {refusal}")


def _enter(namespace: int) -> None:
    """Let this thread enter a namespace: os.setns(), which Python 3.12 has."""
    if ctypes.CDLL(None, use_errno=True).setns(namespace, CLONE_NEWNET):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
