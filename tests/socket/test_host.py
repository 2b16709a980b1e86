"""The interface between a socket and its surroundings."""

from __future__ import annotations

import inspect

import pytest

from wasclean.aio.driver import Driver
from wasclean.socket.host import Host

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
    "call_threadsafe": (print,),
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


@pytest.mark.parametrize("name", METHODS)
def test_asyncios_host_implements_them(name: str) -> None:
    assert getattr(Driver, name) is not getattr(Host, name)
    assert inspect.getdoc(getattr(Driver, name))


def test_asyncios_host_has_no_stray_attributes() -> None:
    assert not hasattr(Driver.__new__(Driver), "__dict__")
