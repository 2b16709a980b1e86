"""SIGINT at the end of a script, at every moment."""

from __future__ import annotations

import signal

from tests.faults.patience import NEVER
from tests.process.test_background import GONE, script
from wasclean.process.script import Script


async def test_sigint_before_the_script_has_begun_to_wait_counts() -> None:
    code = "threading._register_atexit(lambda: os.kill(os.getpid(), signal.SIGINT))"  # it runs before ours
    async with script(code, answers=False, grace=NEVER) as (running, peer):
        assert await peer.close_frame() == GONE
        running.send_signal(signal.SIGINT)
        assert (await running.ended()).status == -signal.SIGINT


def test_a_second_sigint_amid_the_handling_of_the_first_ends_the_waiting() -> None:
    script = Script()
    calls = []

    class Loop:
        def script_ended(self) -> None:
            pass

        def stop(self) -> None:
            calls.append("stop")
            script._interrupt()

        def abandon(self) -> None:
            calls.append("abandon")

        def wait(self) -> None:
            pass

    script.loops = {None: Loop()}  # type: ignore[dict-item]
    script._interrupt()
    assert calls == ["stop", "abandon"]
