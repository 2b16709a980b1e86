"""Chromium as a peer: Debian's, driven by Playwright, with pages that wasclean serves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from playwright.async_api import Page, async_playwright

import wasclean
from tests.peers.ends import HOST
from tests.peers.scripted import FILES, PATIENCE, Background, Scripted

ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pages(files: Mapping[str, str]) -> Any:
    """An ``on_request`` that serves texts by path, and lets all that is no page go on to be a WebSocket."""

    def on_request(request: wasclean.Request) -> wasclean.Response | None:
        if request.headers.get("Upgrade") is not None:
            return None
        if request.target not in files:
            return wasclean.Response(404)
        kind = "text/javascript" if request.target.endswith("js") else "text/html"
        return wasclean.Response(200, files[request.target], {"Content-Type": f"{kind}; charset=utf-8"})

    return on_request


class Chromium(Scripted):
    """A page in Chromium that is controlled by commands.

    Other pages are shown in a frame of it: where tabs come and go, Playwright now and then loses track of its commands.
    """

    def __init__(self, background: Background, page: Page) -> None:
        self._background = background
        self._page = page
        self._console: asyncio.Queue[str] = asyncio.Queue()  # belongs to the loop of the other thread
        page.on("console", lambda message: self._console.put_nowait(message.text))

    async def call(self, command: str, *values: Any) -> Any:
        return await self._background.call(
            self._page.evaluate("([command, values]) => commands[command](...values)", [command, values])
        )

    @asynccontextmanager
    async def visit(self, url: str) -> AsyncIterator[None]:
        """Show another page, until the end of the context."""
        await self._background.call(self._forget())
        await self.call("visit", url)
        try:
            yield
        finally:
            await self.call("leave")

    async def logged(self, start: str) -> str:
        """Wait for a line of the console that starts like that: of the page, or of the browser about the page."""
        return await self._background.call(self._read(start))

    async def _forget(self) -> None:
        while not self._console.empty():
            self._console.get_nowait()

    async def _read(self, start: str) -> str:
        while not (line := await self._console.get()).startswith(start):
            pass
        return line


@contextmanager
def chromium(program: str) -> Iterator[Chromium]:
    """Chromium, as long as the context lasts."""

    @asynccontextmanager
    async def running() -> AsyncIterator[Chromium]:
        files = {
            "/": (FILES / "page.html").read_text("utf-8"),
            "/end.mjs": (FILES / "end.mjs").read_text("utf-8"),
        }
        async with (
            wasclean.serve(lambda socket: socket.terminate(), HOST, on_request=pages(files)) as server,
            async_playwright() as playwright,
        ):
            browser = await playwright.chromium.launch(executable_path=program, args=ARGUMENTS, timeout=PATIENCE * 1000)
            try:
                page = await browser.new_page()
                await page.goto(f"http://{HOST}:{server.port}/")
                await page.wait_for_function("window.commands")
                yield Chromium(background, page)
            finally:
                await browser.close()

    background = Background()
    try:
        context = running()
        try:
            yield background.run(context.__aenter__())
        finally:
            background.run(context.__aexit__(None, None, None))
    finally:
        background.stop()
