"""The program: ``wasclean demo`` and ``wasclean --version``."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from wasclean import CloseCode, WebSocket, __version__, compiled
from wasclean.cli import demo, main, servers
from wasclean.cli.demo import EXPECTED, Reporter, Result
from wasclean.cli.scenarios import SCENARIOS, Scenario
from wasclean.cli.servers import DemoServer, Route

#: The beginning of each row of the table.
ROWS = re.compile(r"^ *(1\d{3}) +(both|client|server) +", re.MULTILINE)
CODES = [1000, 1001, 1002, 1003, *range(1005, 1016)]


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that is in use."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


class Recorder(Reporter):
    def __init__(self) -> None:
        self.log: list[str] = []
        self.results: list[Result] = []
        self.taken: int | None = None
        self.port = 0

    def port_taken(self, port: int, error: OSError) -> None:
        self.taken = port

    def listening(self, port: int) -> None:
        self.port = port

    def line(self, text: str) -> None:
        self.log.append(f">>> {text}")

    def logged(self, text: str) -> None:
        self.log.append(text)

    def scenario_done(self, result: Result) -> None:
        self.results.append(result)


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program as a user does, without a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "wasclean.cli", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=240,
        check=False,
        env={**{k: v for k, v in os.environ.items() if k not in ("COLUMNS", "FORCE_COLOR")}, **environment},
    )


# The scenarios.


async def test_each_scenario_gives_both_sides_what_the_registry_says() -> None:
    recorder = Recorder()
    assert await demo.run(0, recorder)
    assert [result.scenario.code for result in recorder.results] == CODES
    assert [result.scenario.code for result in recorder.results if not result.ok] == []
    for result in recorder.results:
        seen = {"client": result.client, "server": result.server}
        where = result.expected.where(result.scenario.code)
        for side in ["client", "server"] if where == "both" else [where]:
            event = seen[side]
            assert event is not None
            assert event.code == result.scenario.code
    assert recorder.results[-1].server is None  # there is no WebSocket after a failed TLS handshake
    assert recorder.taken is None


async def test_the_article_s_example_logs_1006_for_it_closes_while_connecting() -> None:
    recorder = Recorder()
    await demo.run(0, recorder)
    assert recorder.log == [
        ">>> from wasclean import WebSocket",
        f'>>> socket = WebSocket("ws://localhost:{recorder.port}")',
        '>>> socket.onopen = lambda event: socket.send("Hello Server!")',
        '>>> socket.onclose = lambda event: print("WebSocket closed:", event.code, event.reason)',
        ">>> socket.close()",
        "WebSocket closed: 1006 ",
    ]


def test_there_is_one_scenario_and_one_expectation_for_each_code_of_the_registry() -> None:
    assert [scenario.code for scenario in SCENARIOS] == sorted(CloseCode) == sorted(EXPECTED)
    assert {code: expected.where(code) for code, expected in EXPECTED.items()} == dict.fromkeys(CODES, "both") | {
        # The server says why it fails the connection and does not wait for an answer; or is never reached.
        1002: "client",
        1007: "client",
        1009: "client",
        1015: "client",
    }


async def test_the_exception_of_the_handler_is_noted_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    server = DemoServer()
    async with server.opened(0):
        result = await demo.run_scenario(server, SCENARIOS[CODES.index(1011)])
    assert result.notes == ["(the server logs ZeroDivisionError: division by zero)"]
    assert caplog.records == []


async def test_a_scenario_that_takes_too_long_or_fails_differs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def hang(route: Route) -> None:
        await asyncio.Event().wait()

    async def fail(route: Route) -> None:
        raise ValueError("no")

    monkeypatch.setattr(demo, "SCENARIO_TIMEOUT", 0.01)
    server = DemoServer()
    async with server.opened(0):
        late = await demo.run_scenario(server, Scenario(CloseCode.NORMAL_CLOSURE, "", hang))  # type: ignore[arg-type]
        failed = await demo.run_scenario(server, Scenario(CloseCode.GOING_AWAY, "", fail))  # type: ignore[arg-type]
    assert (late.ok, late.client, late.server, late.notes) == (False, None, None, ["TimeoutError: "])
    assert (failed.ok, failed.notes) == (False, ["ValueError: no"])


async def test_the_server_closes_a_socket_on_a_path_without_a_route() -> None:
    server = DemoServer()
    async with server.opened(0):
        event = await WebSocket(f"ws://localhost:{server.port}/nothing").wait_closed()
    assert (event.code, event.wasClean) == (1000, True)


async def test_the_demo_takes_another_port_when_its_own_is_taken(taken: int) -> None:
    recorder = Recorder()
    assert await demo.run(taken, recorder)
    assert recorder.taken == taken
    assert recorder.port not in (0, taken)


def test_an_address_of_localhost_that_the_machine_does_not_have_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = ("192.0.2.1", 0)  # an address for documentation
    entries = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", address) for address in (nowhere, ("127.0.0.1", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: entries)
    assert servers.loopback_addresses() == ["127.0.0.1"]


# The command.


def test_the_demo_prints_a_row_for_each_code_and_exits_with_0() -> None:
    result = run("demo", "--port", "0")
    assert (result.returncode, result.stderr) == (0, "")
    assert [int(code) for code, _ in ROWS.findall(result.stdout)] == CODES
    for code in CloseCode:
        assert f"{int(code)} {code.title}" in result.stdout
    assert ">>> socket.close()\n    WebSocket closed: 1006" in result.stdout
    assert "15 of 15 scenarios gave the expected result" in result.stdout


@pytest.mark.parametrize("columns", ["100", "60"])
def test_a_narrow_table_wraps_and_truncates_nothing(columns: str) -> None:
    result = run("demo", "--port", "0", COLUMNS=columns)
    table = result.stdout.partition("─")[2].rpartition("─")[0]
    assert result.returncode == 0
    assert [int(code) for code, _ in ROWS.findall(table)] == CODES
    assert max(map(len, table.splitlines())) <= int(columns)
    assert "…" not in table


def test_piped_output_has_no_escape_sequences() -> None:
    assert "\x1b" not in run("demo", "--port", "0").stdout


def test_the_demo_says_that_its_port_is_taken(taken: int) -> None:
    result = run("demo", "--port", str(taken))
    assert result.returncode == 0
    assert f"Port {taken} is not available ({os.strerror(errno.EADDRINUSE)})" in result.stdout


def test_the_demo_exits_with_1_and_marks_what_differs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setitem(EXPECTED, CloseCode.GOING_AWAY, EXPECTED[CloseCode.NORMAL_CLOSURE])
    assert main(["demo", "--port", "0"]) == 1
    output = capsys.readouterr().out
    assert re.search(r"^ *DIFFERS", output, re.MULTILINE)
    assert output.count("DIFFERS") == 1
    assert output.count("expected: 1000 Normal Closure") == 2
    assert "14 of 15 scenarios gave the expected result" in output


def test_the_demo_exits_with_1_when_the_example_logs_something_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    late_close = "socket.onopen = lambda event: socket.close()"
    monkeypatch.setattr(demo, "ARTICLE", (*demo.ARTICLE[:2], late_close, demo.ARTICLE[3]))
    assert main(["demo", "--port", "0"]) == 1
    output = capsys.readouterr().out
    assert "WebSocket closed: 1005" in output
    assert "it should have logged 1006" in output
    assert "15 of 15 scenarios gave the expected result" in output


def test_the_version_tells_the_build(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    build = "compiled" if compiled else "pure"
    assert capsys.readouterr().out.startswith(f"wasclean {__version__} ({build} build, Python 3.")


def test_without_a_command_the_program_tells_what_it_can_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "demo" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["nonsense"], ["demo", "--port", "65536"], ["--nonsense"]])
def test_wrong_arguments_exit_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "Error: " in capsys.readouterr().err


@pytest.mark.parametrize("package", ["click", "rich"])
def test_a_missing_package_of_the_extra_is_told_in_one_line(
    package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in list(sys.modules):
        if name.partition(".")[0] == package or name in ("wasclean.cli.app", "wasclean.cli.show"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    assert main(["demo"]) == 2
    output = capsys.readouterr()
    assert output.err == f"wasclean: {package} is not installed; it belongs to the extra: pip install 'wasclean[cli]'\n"
    assert output.out == ""
