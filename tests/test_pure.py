"""With WASCLEAN_PURE=1, Python files are imported rather than compiled modules."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import wasclean

SCRIPT = """
import sys, wasclean, wasclean.cli
from wasclean import *
print(wasclean.compiled)
for name, module in sorted(sys.modules.items()):
    if name.partition(".")[0] == "wasclean":
        print(name, module.__file__)
"""


def modules_with(pure: str | None) -> tuple[bool, dict[str, str]]:
    """Run the script in another process; return True if it uses the compiled build, and the files of its modules."""
    environment = {name: value for name, value in os.environ.items() if name != "WASCLEAN_PURE"}
    if pure is not None:
        environment["WASCLEAN_PURE"] = pure
    output = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True)
    compiled, *lines = output.stdout.splitlines()
    return compiled == "True", dict(line.split(" ", 1) for line in lines)


def test_the_switch_turns_to_the_python_files() -> None:
    compiled, modules = modules_with("1")
    assert not compiled
    assert len(modules) > 20
    assert [name for name, file in modules.items() if not file.endswith(".py")] == []


@pytest.mark.parametrize("value", [None, "", "0"])
def test_without_it_what_is_compiled_runs(value: str | None) -> None:
    compiled, modules = modules_with(value)
    if not compiled:
        pytest.skip("nothing is compiled here")
    for name in ("socket.websocket", "socket.session", "dom.event", "aio.driver", "connection", "wire.octets"):
        assert not modules[f"wasclean.{name}"].endswith(".py")


def test_both_builds_have_the_same_modules() -> None:
    assert set(modules_with("1")[1]) - {"wasclean.pure"} == set(modules_with(None)[1]) - {"wasclean.pure"}


def test_this_process_runs_the_build_that_was_asked_for() -> None:
    if os.environ.get("WASCLEAN_PURE", "") not in ("", "0"):
        assert not wasclean.compiled
