"""The registry of objects of which each event loop has one."""

from __future__ import annotations

import asyncio
import gc
from weakref import ref

from wasclean.aio.perloop import PerLoop


class Thing:
    """Something that can be referred to weakly."""


def test_each_loop_has_one_and_keeps_it() -> None:
    things = PerLoop(lambda loop: Thing())
    loops = [asyncio.new_event_loop() for _ in range(2)]
    first = [things.of(loop) for loop in loops]
    assert first[0] is not first[1]
    assert [things.of(loop) for loop in loops + loops[::-1]] == first + first[::-1]
    for loop in loops:
        loop.close()


def test_it_is_made_for_its_loop_when_that_needs_it() -> None:
    made: list[asyncio.AbstractEventLoop] = []
    things = PerLoop(made.append)
    assert made == []
    loop = asyncio.new_event_loop()
    things.of(loop)
    assert made == [loop]
    loop.close()


def test_it_is_freed_with_its_loop() -> None:
    things = PerLoop(lambda loop: Thing())
    loop = asyncio.new_event_loop()
    thing = ref(things.of(loop))
    loop.close()
    del loop
    gc.collect()
    assert thing() is None
