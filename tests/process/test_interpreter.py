"""Whether the code of a script has returned, or was left by an exception."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BEGIN = """
import sys
from wasclean.process.interpreter import MainCode, call_at_end_of_script
code = MainCode()
call_at_end_of_script(lambda: print("left early:", code.was_left_early(), flush=True))
"""

ENDS = {
    "pass": False,
    "print('x')": False,
    "def f():\n    sys.exit()\ntry:\n    f()\nexcept SystemExit:\n    pass": False,
    "if sys.argv[1:]:\n    print('x')\nelse:\n    print('y')": False,
    "for i in range(3):\n    pass": False,
    "sys.exit()": True,
    "sys.exit(3)": True,
    "exit(3)": True,
    "raise SystemExit": True,
    "1 / 0": True,
    "raise KeyboardInterrupt": True,
    "def f():\n    sys.exit()\nf()": True,
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("way", ["-c", "a file", "-m"])
def test_an_exception_that_leaves_the_script_is_known(way: str, end: str, tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    path.write_text(BEGIN + end)
    arguments = {"-c": ["-c", BEGIN + end], "a file": [str(path)], "-m": ["-m", "script"]}[way]
    done = subprocess.run([sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert f"left early: {ENDS[end]}" in done.stdout
