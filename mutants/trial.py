"""Run the tests against each mutant, in a process of its own, until the first of them fails.

Theory of operation. One process collects the tests, and runs them once to record the lines of the modules that each
executes, and its CPU time. For each mutant it then forks. If the mutant is inside a function, the fork replaces the
function's code object; if it is a cell of a table, the fork changes the dictionary. It runs only the tests that execute
the mutant's lines, the fastest first, so most mutants take milliseconds. The other mutants (constants, defaults, code
that runs at import only) take seconds: a process that has not imported the package forks, and imports the mutant
instead of the file. A mutant that uses much more CPU time than the original counts as noticed.
"""

from __future__ import annotations

import ast
import gc
import os
import pickle
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from inspect import iscoroutinefunction
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any, NamedTuple

import hypothesis
import pytest

from .mutations import Mutant, mutants_of
from .processes import in_fork, limit, run_all, say

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "src"
TESTS = ("tests/closing", "tests/test_connection.py")
PROSE = ("explain", "hints", "intermediaries")  # modules of which only the functions are changed
EXAMPLES = 50  # of Hypothesis's for each test
SLOWNESS = 20  # a test that takes so many times its usual CPU time,
GRACE = 10.0  # and so many seconds more, does not end
QUIET = ("-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--tb=native", "-o", "timeout=0", "--assert=plain")

SURVIVED, NOTICED, TOO_LATE = range(3)  # how a trial ends


class Result(NamedTuple):
    """A mutant, and whether a test noticed it; without the nodes of its tree."""

    path: str
    line: int
    where: str
    before: str
    after: str
    noticed: bool | None = None  # None if only an import can tell

    @property
    def key(self) -> str:
        """The name of the mutant in equivalent.txt, which does not depend on the line."""
        return f"{self.path} {self.where}: {self.before} -> {self.after}"


class Late(NamedTuple):
    """A mutant that has to be imported."""

    result: Result
    module: str
    tree: bytes


def try_all(paths: Sequence[Path]) -> list[Result]:
    """Try all mutants of the modules. This process imports none of the modules."""
    done, late = in_fork(lambda: _try_with_all_collected(paths))
    late.sort(key=lambda each: each.result.path)
    works = [(lambda each=each: _try_import(each), each.result) for each in late]
    return sorted(done + _run(works, "with an import of their own"))


# In a process that has collected the tests.


class _Trials:
    """A plugin of pytest that runs the trials instead of the tests."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths
        self.done: list[Result] = []
        self.late: list[Late] = []

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        _shorten(items)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run the tests, then all mutants."""
        watch = _Watch({str(path) for path in self.paths})
        failed = [item.nodeid for item in session.items if not watch.passes(item)]
        if failed:
            say("Without any mutant these tests fail:", *failed)
            return True
        functions = _functions(set(map(str, self.paths)))
        gc.collect()
        gc.freeze()
        works = []
        for path in self.paths:
            module = _module(path)
            tree = ast.parse(path.read_text())
            for mutant in mutants_of(tree, vars(module)):
                if mutant.function is None and path.stem in PROSE:
                    continue
                result = Result(_short(path), mutant.lines[0], mutant.where, mutant.before, mutant.after)
                change, items = _change(path, tree, mutant, module, functions), watch.tests(path, mutant, session.items)
                if change is None or not items:
                    self.late.append(Late(result, module.__name__, _source(tree, mutant)))
                else:
                    works.append(((lambda c=change, i=items: _try(c, i, watch.seconds)), result, mutant, tree, module))
        results = _run([work[:2] for work in works], "with the tests that run their lines")
        for result, (_, _, mutant, tree, module) in zip(results, works, strict=True):
            if result.noticed is None:
                self.late.append(Late(result, module.__name__, _source(tree, mutant)))
            else:
                self.done.append(result)
        return True


class _Watch:
    """Records the lines that each test executes, and the time that it takes."""

    def __init__(self, paths: set[str]) -> None:
        self.paths = paths
        self.seconds: dict[str, float] = {}
        self.tests_of: dict[tuple[str, int], set[str]] = {}
        self._lines: set[tuple[str, int]] = set()

    def passes(self, item: pytest.Item) -> bool:
        self._lines = set()
        before = time.process_time()
        sys.settrace(self._called)
        try:
            passed = _passes(item, None)
        finally:
            sys.settrace(None)
        self.seconds[item.nodeid] = time.process_time() - before
        for line in self._lines:
            self.tests_of.setdefault(line, set()).add(item.nodeid)
        return passed

    def tests(self, path: Path, mutant: Mutant, items: list[pytest.Item]) -> list[pytest.Item]:
        """Return the tests that execute a mutant, the module's own and the fastest first; all of them for a table."""
        own = f"test_{path.stem}.py"
        chosen = {item.nodeid for item in items}
        if mutant.cell is None:
            lines = range(mutant.lines[0], mutant.lines[1] + 1)
            chosen = set().union(*(self.tests_of.get((str(path), line), ()) for line in lines))
        return sorted(
            (each for each in items if each.nodeid in chosen),
            key=lambda each: (each.path.name != own, self.seconds[each.nodeid]),
        )

    def _called(self, frame: FrameType, event: str, argument: Any) -> Any:
        return self._traced if frame.f_code.co_filename in self.paths else None

    def _traced(self, frame: FrameType, event: str, argument: Any) -> Any:
        self._lines.add((frame.f_code.co_filename, frame.f_lineno))
        return self._traced


def _try_with_all_collected(paths: Sequence[Path]) -> tuple[list[Result], list[Late]]:
    trials = _Trials(paths)
    result = _pytest([*QUIET, *TESTS], trials)
    if result != 0:
        raise SystemExit(f"pytest ended with {result}")
    return trials.done, trials.late


def _change(
    path: Path, tree: ast.Module, mutant: Mutant, module: ModuleType, functions: dict[Any, list[FunctionType]]
) -> Callable[[], None] | None:
    """Return a function that makes the change in a fork; None if only an import can make it."""
    if mutant.function is not None:
        return lambda: _replace_code(path, tree, mutant, functions)
    if mutant.cell is not None:
        return lambda: _replace_cell(mutant, module)
    return None


def _replace_code(path: Path, tree: ast.Module, mutant: Mutant, functions: dict[Any, list[FunctionType]]) -> None:
    mutant.swap(mutant.new)
    for code in _codes(compile(tree, str(path), "exec", dont_inherit=True)):
        if code.co_qualname == mutant.function:
            for function in functions.get((str(path), code.co_qualname, code.co_firstlineno), ()):
                function.__code__ = code


def _replace_cell(mutant: Mutant, module: ModuleType) -> None:
    assert mutant.cell is not None
    name, keys, table, index = mutant.cell
    mutant.swap(mutant.new)
    place = vars(module)[name]
    *outer, last = (_value(key, module) for key in keys)
    for key in outer:
        place = place[key]
    place[last] = _value(table.values[index], module)


def _value(node: ast.expr, module: ModuleType) -> Any:
    return eval(compile(ast.Expression(node), "<mutant>", "eval", dont_inherit=True), vars(module))


def _try(change: Callable[[], None], items: list[pytest.Item], seconds: dict[str, float]) -> int:
    try:
        change()
    except ValueError:  # the code of a function that has lost its only super()
        return TOO_LATE
    for item, following in zip(items, [*items[1:], None], strict=True):
        limit(GRACE + SLOWNESS * seconds[item.nodeid])
        if not _passes(item, following):
            return NOTICED
    return SURVIVED


def _passes(item: pytest.Item, following: pytest.Item | None) -> bool:
    """Run a test as pytest does; return False if it failed."""
    seen = _Failures()
    manager = item.config.pluginmanager
    manager.register(seen)
    try:
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
    finally:
        manager.unregister(seen)
    return not seen.failed


class _Failures:
    def __init__(self) -> None:
        self.failed = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.failed = self.failed or report.failed


def _functions(paths: set[str]) -> dict[Any, list[FunctionType]]:
    """Return the functions of some files, by the file, name and line of their code."""
    found: dict[Any, list[FunctionType]] = {}
    for thing in gc.get_objects():
        if type(thing) is FunctionType and thing.__code__.co_filename in paths:
            code = thing.__code__
            found.setdefault((code.co_filename, code.co_qualname, code.co_firstlineno), []).append(thing)
    return found


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


def _module(path: Path) -> ModuleType:
    return sys.modules[".".join(path.relative_to(SOURCES).with_suffix("").parts).removesuffix(".__init__")]


def _short(path: Path) -> str:
    return str(path.relative_to(SOURCES / "wasclean"))


# In a process that has imported nothing.


def _source(tree: ast.Module, mutant: Mutant) -> bytes:
    old = mutant.swap(mutant.new)
    source = pickle.dumps(tree)
    mutant.swap(old)
    return source


def _try_import(late: Late) -> int:
    path = SOURCES / "wasclean" / late.result.path
    sys.meta_path.insert(0, _Finder(late.module, path, pickle.loads(late.tree)))
    limit(300)
    own = [f"tests/closing/test_{path.stem}.py"] if (ROOT / "tests/closing" / f"test_{path.stem}.py").exists() else []
    return _pytest([*QUIET, "-x", *own, *TESTS], _Short()) and NOTICED


class _Short:
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        _shorten(items)


class _Loader(SourceFileLoader):
    def __init__(self, name: str, path: str, tree: ast.Module) -> None:
        super().__init__(name, path)
        self.tree = tree

    def get_code(self, fullname: str) -> CodeType:
        """The mutant's, and none that lies in __pycache__."""
        return compile(self.tree, self.path, "exec", dont_inherit=True)


class _Finder(MetaPathFinder):
    def __init__(self, name: str, path: Path, tree: ast.Module) -> None:
        self.name, self.path, self.tree = name, path, tree

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        loader = _Loader(fullname, str(self.path), self.tree)
        return spec_from_file_location(fullname, self.path, loader=loader)


# In both.


def _shorten(items: list[pytest.Item]) -> None:
    """Leave out tests with an event loop, whose threads a fork has not; let Hypothesis try a few examples, the same."""
    items[:] = [item for item in items if not iscoroutinefunction(getattr(item, "obj", None))]
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    for item in items:
        function = getattr(item, "obj", None)
        old = getattr(function, "_hypothesis_internal_use_settings", None)
        if old is not None:
            new = hypothesis.settings(
                old,
                max_examples=min(old.max_examples, EXAMPLES),
                derandomize=True,
                database=None,
                phases=phases,
                suppress_health_check=list(hypothesis.HealthCheck),  # which depends on speed
            )
            getattr(function, "__func__", function)._hypothesis_internal_use_settings = new  # type: ignore[union-attr]


def _pytest(arguments: list[str], plugin: object) -> int:
    os.chdir(ROOT)
    return int(pytest.main(arguments, [plugin]))


def _run(works: Sequence[tuple[Callable[[], int], Result]], how: str) -> list[Result]:
    """Do each work in a fork; a mutant whose fork was killed was noticed."""
    results = []
    codes = run_all([work for work, _ in works], f"mutants tried {how}")
    for code, (_, result) in zip(codes, works, strict=True):
        results.append(result._replace(noticed=None if code == TOO_LATE else code != SURVIVED))
    return results
