"""The cost of ``import wasclean``: modules that only connections need are not imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

import wasclean

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
    """Run a program in another process, and return its output."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", PATH + program], check=True, capture_output=True, text=True
    )
    assert done.stderr == ""
    return done.stdout


#: Where this process finds its modules: -S keeps .pth files from importing what they like.
PATH = f"import sys; sys.path[:] = {sys.path!r}\n"


def test_the_package_alone_imports_neither_tls_nor_an_event_loop() -> None:
    program = "import wasclean; print(*sys.modules)"
    assert {"asyncio", "ssl", "_ssl", "socket", "logging", *LATER} & set(run(program).split()) == set()


def test_every_name_comes_when_it_is_asked_for() -> None:
    program = "import wasclean; print(*(name for name in wasclean.__all__ if not hasattr(wasclean, name)))"
    assert run(program) == "\n"
    assert run("from wasclean import *; print(connect.__name__, WebSocket.__name__)") == "connect WebSocket\n"
    assert run("import wasclean; print(set(wasclean.__all__) - set(dir(wasclean)))") == "set()\n"
    with pytest.raises(AttributeError, match="module 'wasclean' has no attribute 'WebSockets'"):
        wasclean.WebSockets  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("program", ["from wasclean import connect", "import wasclean; wasclean.serve"])
def test_there_is_no_connection_without_what_ends_it_with_the_process(program: str) -> None:
    assert run(f"{program}; print(sys.modules['wasclean.process']._installed)") == "True\n"


def test_what_could_open_a_connection_without_what_ends_it_refuses_to() -> None:
    program = """
import asyncio
from wasclean.aio.client import connect
async def main():
    await connect("ws://127.0.0.1:1")
try:
    asyncio.run(main())
except RuntimeError as error:
    print(error)
"""
    assert run(program).startswith("call wasclean.process.install() first")


def test_a_name_is_the_one_of_its_module() -> None:
    from wasclean.aio.client import connect
    from wasclean.socket.websocket import WebSocket

    assert wasclean.connect is connect
    assert wasclean.WebSocket is WebSocket


def test_what_opens_a_connection_imports_only_what_every_connection_needs() -> None:
    program = "import asyncio; before = set(sys.modules); from wasclean import *; print(*sys.modules.keys() - before)"
    assert sorted(set(LATER) & set(run(program).split())) == []


@pytest.mark.parametrize("name", LATER)
def test_what_comes_later_exists(name: str) -> None:
    """So that none is on the list under a name that it does not have any more."""
    pytest.importorskip(name)


def test_without_asyncio_nothing_would_import_ssl() -> None:
    program = "sys.modules['ssl'] = sys.modules['_ssl'] = None; import wasclean; print(wasclean.WebSocket.__name__)"
    assert run(program) == "WebSocket\n"
