"""Each thing that wasclean does to the process can be switched off."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from tests.process.test_exits import GONE, peer, program
from wasclean import process
from wasclean.process.switches import Switches


def test_a_switch_is_a_bool() -> None:
    switches: Any = {"loops": 1}
    with pytest.raises(TypeError, match="loops must be True or False, not int"):
        process.configure(**switches)


def test_a_switch_that_is_not_given_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Switches, "loops", Switches.loops)
    process.configure(loops=False)
    process.configure()
    assert (Switches.loops, Switches.signals, Switches.exit, Switches.forks) == (False, True, True, True)


OFF = "import wasclean.process; wasclean.process.configure({}=False)\n"


@pytest.mark.parametrize("switches", ["exit=False, loops", "exit"])
async def test_a_loop_may_end_without_a_close_frame(switches: str) -> None:
    async with peer() as server:
        text = OFF.format(switches) + "async def main():\n    await connect(url)\nrun(main())"
        with program(text, server.url) as running:
            assert await server.frame() == (None if "loops" in switches else GONE)
            assert (await running.ended()).status == 0


async def test_a_program_may_end_without_a_close_frame() -> None:
    async with peer() as server:
        text = """
async def open():
    return await connect(url)
loop = new_loop()
socket = loop.run_until_complete(open())
"""
        text = OFF.format("exit") + text
        with program(text, server.url) as running:
            assert await server.frame() is None
            assert (await running.ended()).status == 0


async def test_sigterm_may_stay_the_default() -> None:
    async with peer() as server:
        text = (
            OFF.format("signals")
            + """
async def main():
    socket = await connect(url)
    print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(600)
run(main())
"""
        )
        with program(text, server.url) as running:
            assert await server.frame() is None
            assert await running.ended() == (-signal.SIGTERM, "True\n", "")


@pytest.mark.parametrize("forks", [True, False])
async def test_a_forked_process_may_keep_what_it_has(forks: bool) -> None:
    async with peer() as server:
        text = f"""
import wasclean.process
wasclean.process.configure(forks={forks})
async def main():
    socket = await connect(url)
    child = os.fork()
    if not child:
        os.write(1, f"open: {{socket.readyState == socket.OPEN}}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    await socket.close()
run(main())
"""
        with program(text, server.url) as running:
            assert await running.ended() == (0, f"open: {not forks}", "")
