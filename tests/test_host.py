"""The interface between a socket and its surroundings."""

from __future__ import annotations

import inspect

import pytest

from wasclean.aio.transport import Transport
from wasclean.host import Host
from wasclean.threads import BackgroundTransport

METHODS = {
    "time": (),
    "write": (b"",),
    "pause_reading": (),
    "resume_reading": (),
    "half_close": (),
    "close": (),
    "abort": (False,),
    "held": (),
    "slept": (),
    "set_alarm": (None,),
    "queue_task": (print,),
    "run_here": (print,),
    "loop": (),
    "create_task": (None, print),
    "report": ("", ValueError()),
    "address": ("peername",),
}


def test_these_are_all_methods_of_a_host() -> None:
    assert {name for name in vars(Host) if not name.startswith("_")} == set(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_a_host_has_to_implement_every_method(name: str) -> None:
    with pytest.raises(NotImplementedError):
        getattr(Host(), name)(*METHODS[name])


@pytest.mark.parametrize("host", [Transport, BackgroundTransport])
@pytest.mark.parametrize("name", METHODS)
def test_asyncios_hosts_implement_them(host: type[Host], name: str) -> None:
    assert getattr(host, name) is not getattr(Host, name)
    assert inspect.getdoc(getattr(host, name))


@pytest.mark.parametrize("host", [Transport, BackgroundTransport])
def test_hosts_have_no_stray_attributes(host: type[Host]) -> None:
    assert not hasattr(host.__new__(host), "__dict__")
