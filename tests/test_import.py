"""What ``import wasclean`` takes: a program that has not connected to anything yet need not pay for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: Modules that some function of ours needs, or that come with one, and the package must not import before.
LATER = [
    "ada_url",
    "aiohappyeyeballs",
    "click",
    "hashlib",
    "hmac",
    "http",
    "ipaddress",
    "multidict",
    "pathlib",
    "pickle",
    "platform",
    "python_socks",
    "random",
    "rich",
    "urllib.parse",
    "wasclean.cli",
    "zlib",
]


def run(program: str) -> str:
    """What a program prints, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", PATH + program], check=True, capture_output=True, text=True
    )
    assert done.stderr == ""
    return done.stdout


#: Where this process finds its modules: -S keeps .pth files from importing what they like.
PATH = f"import sys; sys.path[:] = {sys.path!r}\n"


def test_the_package_imports_only_what_every_connection_needs() -> None:
    program = "import asyncio; before = set(sys.modules); import wasclean; print(*sys.modules.keys() - before)"
    assert sorted(set(LATER) & set(run(program).split())) == []


@pytest.mark.parametrize("name", LATER)
def test_what_comes_later_exists(name: str) -> None:
    """So that none is on the list under a name that it does not have any more."""
    pytest.importorskip(name)


def test_without_asyncio_nothing_would_import_ssl() -> None:
    program = "sys.modules['ssl'] = sys.modules['_ssl'] = None; import wasclean; print(wasclean.WebSocket.__name__)"
    assert run(program) == "WebSocket\n"
