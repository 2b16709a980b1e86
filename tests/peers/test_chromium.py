"""Chromium with special pages: the script of the article, and behaviour that only pages have."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

import wasclean
from tests.peers.ends import HOST, gone

if TYPE_CHECKING:
    from tests.peers.with_chromium import Chromium

pytestmark = pytest.mark.peer

#: From "Javascript Websocket Close: Everything You Need to Know", with straight quotes.
ARTICLE = """
var socket = new WebSocket("ws://localhost:8080");

// When the connection is open, send some data to the server

socket.onopen = function (event) {

  socket.send("Hello Server!");

};

// When the connection is closed, log the error

socket.onclose = function (event) {

  console.log("WebSocket closed: " + event.code + " " + event.reason);

};

// Close the connection

socket.close();
"""

CLOSE = "socket.close();\n"
assert ARTICLE.endswith(CLOSE)


def after_open(close: str) -> str:
    """Return the script of the article, changed so that it closes after sending its message."""
    return ARTICLE.removesuffix(CLOSE) + f'socket.addEventListener("open", () => {close});\n'


#: The script of the article with another end, the log of the page, and the Close frames of the page and of ours.
PAGES = {
    "close": (after_open("socket.close()"), "WebSocket closed: 1005 ", wasclean.CloseFrame(None, "")),
    "close with 1000": (after_open("socket.close(1000)"), "WebSocket closed: 1000 ", wasclean.CloseFrame(1000, "")),
    "close with a code and a reason": (
        after_open('socket.close(4001, "a reason")'),
        "WebSocket closed: 4001 a reason",
        wasclean.CloseFrame(4001, "a reason"),
    ),
}


class Site:
    """A server for a page with a script, and for the WebSocket of that page."""

    def __init__(self, script: str) -> None:
        self.script = script
        self.sockets: list[wasclean.WebSocket] = []
        self.messages: list[str | bytes] = []
        self.closed: asyncio.Queue[wasclean.CloseEvent] = asyncio.Queue()
        self.port = 0

    def on_request(self, request: wasclean.Request) -> wasclean.Response | None:
        if request.headers.get("Upgrade") is not None:
            return None
        if request.target != "/":
            return wasclean.Response(404)
        script = self.script.replace("localhost:8080", f"{HOST}:{self.port}")
        page = f"<!doctype html><title>A page</title><script>{script}</script>"
        return wasclean.Response(200, page, {"Content-Type": "text/html; charset=utf-8"})

    async def handle(self, socket: wasclean.WebSocket) -> None:
        self.sockets.append(socket)
        try:
            async for message in socket:
                self.messages.append(message)
        finally:
            self.closed.put_nowait(await socket.wait_closed())

    def serve(self, **options: object) -> wasclean.serve:
        return wasclean.serve(self.handle, HOST, on_request=self.on_request, **options)  # type: ignore[arg-type]

    async def over(self) -> None:
        for socket in self.sockets:
            await gone(socket)


async def test_the_articles_script_logs_1006_because_it_closes_while_it_connects(chromium_peer: Chromium) -> None:
    site = Site(ARTICLE)
    async with site.serve() as server:
        site.port = server.port
        async with chromium_peer.visit(f"http://{HOST}:{server.port}/"):
            assert await chromium_peer.logged("WebSocket closed") == "WebSocket closed: 1006 "
    await site.over()
    assert site.messages == []


async def test_our_websocket_logs_what_chromium_logs_for_the_articles_script(
    chromium_peer: Chromium, capsys: pytest.CaptureFixture[str]
) -> None:
    site = Site(ARTICLE)
    async with site.serve() as server:
        site.port = server.port
        async with chromium_peer.visit(f"http://{HOST}:{server.port}/"):
            chromium = await chromium_peer.logged("WebSocket closed")

        socket = wasclean.WebSocket(f"ws://{HOST}:{server.port}")
        socket.onopen = lambda event: socket.send("Hello Server!")
        socket.onclose = lambda event: print(f"WebSocket closed: {event.code} {event.reason}")
        await socket.close()
    await site.over()
    assert capsys.readouterr().out == f"{chromium}\n"


@pytest.mark.parametrize(("script", "logged", "frame"), PAGES.values(), ids=PAGES.keys())
async def test_a_page_that_closes_once_it_is_open_logs_what_it_said(
    chromium_peer: Chromium, script: str, logged: str, frame: wasclean.CloseFrame
) -> None:
    site = Site(script)
    async with site.serve() as server:
        site.port = server.port
        async with chromium_peer.visit(f"http://{HOST}:{server.port}/"):
            assert await chromium_peer.logged("WebSocket closed") == logged
        event = await site.closed.get()
    await site.over()
    assert site.messages == ["Hello Server!"]
    assert (event.wasClean, event.initiator, event.sent, event.received) == (True, "remote", frame, frame)


async def test_a_page_that_the_user_leaves_closes_with_1001(chromium_peer: Chromium) -> None:
    site = Site(after_open("0"))
    async with site.serve() as server:
        site.port = server.port
        async with chromium_peer.visit(f"http://{HOST}:{server.port}/"):
            while not site.messages:
                await asyncio.sleep(0.001)
        event = await site.closed.get()
    await site.over()
    assert (event.code, event.wasClean, event.initiator) == (1001, True, "remote")


async def test_a_page_of_another_origin_is_refused_and_sees_1006(chromium_peer: Chromium) -> None:
    ours = Site(ARTICLE.removesuffix(CLOSE))
    other = Site("")
    async with ours.serve() as pages, other.serve(origins=["https://example.com"]) as server:
        ours.port = server.port
        async with chromium_peer.visit(f"http://{HOST}:{pages.port}/"):
            assert "Unexpected response code: 403" in await chromium_peer.logged("WebSocket connection to")
            assert await chromium_peer.logged("WebSocket closed") == "WebSocket closed: 1006 "
    assert other.sockets == []


async def test_chromium_and_our_websocket_fail_when_the_server_speaks_none_of_their_subprotocols(
    chromium_peer: Chromium,
) -> None:
    names = ["chat.v2", "chat.v1"]
    site = Site(
        f'var socket = new WebSocket("ws://localhost:8080", {json.dumps(names)});\n{ARTICLE.removesuffix(CLOSE)}'
    )
    site.script = site.script.replace('var socket = new WebSocket("ws://localhost:8080");', "", 1)
    async with site.serve() as server:
        site.port = server.port
        async with chromium_peer.visit(f"http://{HOST}:{server.port}/"):
            assert await chromium_peer.logged("WebSocket closed") == "WebSocket closed: 1006 "
        socket = wasclean.WebSocket(f"ws://{HOST}:{server.port}", names)
        assert (await socket.wait_closed()).code == 1006
    await site.over()
