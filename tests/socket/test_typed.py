"""What type checkers, inspect and help() see of the public names."""

from __future__ import annotations

import inspect
import os
import pydoc
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import wasclean
from wasclean import ServerWebSocket, WebSocket, connect, serve

TESTS = Path(__file__).parents[1]
SOURCE = str(TESTS.parent / "src")


def mypy(path: Path) -> list[str]:
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={path.parent}", str(path)]
    return run(command)


def pyright(path: Path) -> list[str]:
    if shutil.which("pyright") is None:
        pytest.skip("pyright is not installed")
    (path.parent / "pyrightconfig.json").write_text(f'{{"extraPaths": ["{SOURCE}"], "pythonVersion": "3.11"}}')
    return run(["pyright", "--pythonpath", sys.executable, "--project", str(path.parent)])


def run(command: list[str]) -> list[str]:
    done = subprocess.run(command, env={**os.environ, "MYPYPATH": SOURCE}, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout.splitlines()


def lines_with_errors(output: list[str]) -> set[int]:
    found = (re.search(r"\.py:(\d+):.* error: ", line.replace(" - error", ": error")) for line in output)
    return {int(match[1]) for match in found if match}


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_a_type_checker_finds_every_mistake_and_nothing_else(checker: Any, tmp_path: Path) -> None:
    code = (TESTS / "typing_bad.txt").read_text()
    program = tmp_path / "bad.py"
    program.write_text(code)
    marked = {number for number, line in enumerate(code.splitlines(), 1) if "# BAD" in line}
    assert lines_with_errors(checker(program)) == marked


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_a_type_checker_finds_nothing_wrong_with_what_is_right(checker: Any, tmp_path: Path) -> None:
    program = tmp_path / "good.py"
    program.write_text((TESTS / "typing_good.py").read_text())
    output = checker(program)
    assert lines_with_errors(output) == set(), output


def test_all_sockets_are_of_one_class() -> None:
    assert ServerWebSocket is WebSocket


@pytest.mark.parametrize(
    ("thing", "parameters"),
    [
        (WebSocket, "(url, protocols=(), *, daemon=False, **options)"),
        (WebSocket.send, "(self, data, compress=None)"),
        (WebSocket.close, "(self, code=None, reason='', *, timeout=None)"),
        (WebSocket.addEventListener, "(self, type, callback, options=False, *, once=False)"),
        (wasclean.Event, "(type, *, bubbles=False, cancelable=False, composed=False)"),
        (wasclean.MessageEvent, "(type, *, data=None, origin='', **init)"),
        (wasclean.EventTarget, "()"),
        (connect, "(url, subprotocols=(), **options)"),
    ],
)
def test_a_signature_tells_the_parameters_on_both_builds(thing: Any, parameters: str) -> None:
    assert plain_signature(thing) == parameters


def plain_signature(thing: Any) -> str:
    """The signature, without annotations: those of a compiled class are lost."""
    signature = inspect.signature(thing)
    plain = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
    return str(inspect.Signature(plain))


def test_every_public_callable_has_a_signature() -> None:
    for name in wasclean.__all__:
        thing = getattr(wasclean, name)
        builtin = isinstance(thing, type) and issubclass(thing, (dict, Exception))  # those have none of their own
        if callable(thing) and thing.__module__.startswith("wasclean") and not builtin:
            assert inspect.signature(thing), name
    assert list(inspect.signature(serve).parameters)[:3] == ["handler", "host", "port"]


def test_help_tells_of_a_socket_what_its_user_needs_and_nothing_else() -> None:
    text = pydoc.render_doc(WebSocket, renderer=pydoc.plaintext)  # type: ignore[attr-defined]
    assert "class WebSocket(" in text
    assert "WebSocket(url" in text
    assert "One end of a WebSocket connection" in text
    names = re.findall(r"^ \|  (?:async )?(\w+)(?=\(| = |$)", text, re.MULTILINE)
    assert {"send", "close", "recv", "onmessage", "readyState", "addEventListener"} <= set(names)
    assert [name for name in names if name.startswith("_") and not name.startswith("__")] == []
    assert {"message_received", "pong_received", "state_changed"} & set(names) == set()
    assert len(text.splitlines()) < 280
