"""The WHATWG WebSocket, as the standard's text and the browsers' tests have it."""

from __future__ import annotations

import array
import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import wasclean
from tests.endpoints import Record, Served, echo, opened, served, turn
from tests.faults.patience import PATIENCE, until
from tests.raw import CLOSE, Raw, close_payload, raw_server
from wasclean import CloseCode, CloseEvent, ErrorEvent, Event, MessageEvent, WebSocket


@pytest.fixture
async def echoing() -> AsyncIterator[Served]:
    async with served(echo) as server:
        yield server


# The constructor.


@pytest.mark.parametrize("url", ["", "nonsense", "ftp://example.com", "ws://", "ws://x:99999/", "mailto:a@b.c"])
async def test_a_url_that_is_none_or_of_another_scheme_is_a_syntax_error(url: str) -> None:
    with pytest.raises(wasclean.SyntaxError) as error:
        WebSocket(url)
    assert error.value.name == "SyntaxError"
    assert isinstance(error.value, ValueError)


@pytest.mark.parametrize("url", ["ws://localhost/#", "ws://localhost/#top", "http://localhost/x#y"])
async def test_a_url_with_a_fragment_is_a_syntax_error(url: str) -> None:
    with pytest.raises(wasclean.SyntaxError, match="fragment"):
        WebSocket(url)


async def test_a_relative_url_needs_a_base(echoing: Served) -> None:
    with pytest.raises(wasclean.SyntaxError):
        WebSocket("/chat")
    socket = WebSocket("/chat?x=1", base_url=echoing.url.replace("ws:", "http:") + "index.html")
    assert socket.url == echoing.url + "chat?x=1"
    await socket.close()


async def test_http_and_https_become_ws_and_wss(echoing: Served) -> None:
    socket = WebSocket(echoing.url.replace("ws:", "HTTP:"))
    assert socket.url == echoing.url
    await opened(socket)
    await socket.close()


@pytest.mark.parametrize(
    "protocols", ["", "a b", "a,b", "é", "a\x7f", "a\x00", "a\r\n", ["a", "a"], ["a", ""], ["a", "b c"], "chat(1)"]
)
async def test_subprotocols_that_are_no_tokens_or_stand_twice_are_a_syntax_error(protocols: Any) -> None:
    with pytest.raises(wasclean.SyntaxError):
        WebSocket("ws://localhost/", protocols)


async def test_a_new_socket_has_the_standards_initial_values(echoing: Served) -> None:
    socket = WebSocket(echoing.url)
    assert socket.readyState == 0
    assert socket.bufferedAmount == 0
    assert socket.extensions == ""
    assert socket.protocol == ""
    assert socket.binaryType == "blob"
    assert [socket.onopen, socket.onmessage, socket.onerror, socket.onclose] == [None] * 4
    await socket.close()


async def test_the_constants_stand_on_the_class_and_on_the_instance(echoing: Served) -> None:
    socket = WebSocket(echoing.url)
    for holder in (WebSocket, socket):
        assert (holder.CONNECTING, holder.OPEN, holder.CLOSING, holder.CLOSED) == (0, 1, 2, 3)
    await socket.close()


async def test_an_option_that_does_not_exist_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="has no option 'timeout'"):
        WebSocket("ws://localhost/", timeout=3)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("max_message_size", 0, ValueError),
        ("max_message_size", "1", TypeError),
        ("close_timeout", -1, ValueError),
        ("open_timeout", None, TypeError),
        ("max_redirects", 6, ValueError),
        ("headers", {"X": "a\r\nB: c"}, ValueError),
        ("origin", "a\nb", ValueError),
        ("ssl", object(), TypeError),
    ],
)
async def test_an_option_with_a_wrong_value_is_an_error_at_once(
    option: str, value: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        WebSocket("ws://localhost/", **{option: value})


async def test_stray_attributes_are_refused(echoing: Served) -> None:
    socket = WebSocket(echoing.url)
    with pytest.raises(AttributeError):
        socket.onmesage = print  # type: ignore[attr-defined]
    await socket.close()


async def test_the_subprotocol_in_use_is_known_when_open_fires() -> None:
    async with served(subprotocols=["b", "c"]) as server:
        socket = WebSocket(server.url, ["a", "b"])
        seen: list[tuple[str, int]] = []
        socket.onopen = lambda event: seen.append((socket.protocol, socket.readyState))
        await opened(socket)
        assert seen == [("b", 1)]
        assert (await server.sockets.get()).protocol == "b"
        await socket.close()


# Sending.


async def test_send_while_connecting_is_an_invalid_state_error(echoing: Served) -> None:
    socket = WebSocket(echoing.url)
    with pytest.raises(wasclean.InvalidStateError, match="onopen") as error:
        socket.send("x")
    assert error.value.name == "InvalidStateError"
    assert isinstance(error.value, RuntimeError)
    assert socket.bufferedAmount == 0
    await socket.close()


@pytest.mark.parametrize(
    ("data", "arrives"),
    [
        ("", ""),
        ("héllo €😀", "héllo €😀"),
        ("\ud800", "�"),
        ("a\udc00b", "a�b"),
        ("\ud83d\ude00", "😀"),
        (b"", b""),
        (b"\x00\xff", b"\x00\xff"),
        (bytearray(b"abc"), b"abc"),
        (memoryview(b"abcdef")[::2], b"ace"),
        (memoryview(array.array("H", [1, 2])), array.array("H", [1, 2]).tobytes()),
        (array.array("d", [1.5]), array.array("d", [1.5]).tobytes()),
        (memoryview(bytes(6)).cast("B", (2, 3)), bytes(6)),
    ],
)
async def test_what_is_sent_arrives(echoing: Served, data: Any, arrives: str | bytes) -> None:
    socket = await opened(WebSocket(echoing.url))
    record = Record(socket)
    socket.addEventListener("message", lambda event: socket.close())
    socket.send(data)
    await socket.wait_closed()
    assert record.messages == [arrives]
    assert type(record.messages[0]) is type(arrives)


@pytest.mark.parametrize("data", [None, 1, 1.5, ["x"], {"a": 1}, object()])
async def test_other_types_are_a_type_error_and_nothing_is_sent(echoing: Served, data: Any) -> None:
    socket = await opened(WebSocket(echoing.url))
    with pytest.raises(TypeError, match="bytes-like"):
        socket.send(data)
    assert socket.bufferedAmount == 0
    assert socket.readyState == WebSocket.OPEN
    await socket.close()


async def test_a_buffer_that_changes_after_send_arrives_as_it_was(echoing: Served) -> None:
    socket = await opened(WebSocket(echoing.url))
    record = Record(socket)
    socket.onmessage = lambda event: socket.close()
    data = bytearray(b"before")
    socket.send(data)
    data[:] = b"after!"
    await socket.wait_closed()
    assert record.messages == [b"before"]


@pytest.mark.parametrize(("data", "size"), [("abc", 3), ("é€", 5), ("\ud800", 3), (b"12345", 5), ("x" * 70000, 70000)])
async def test_buffered_amount_grows_by_the_utf8_bytes_of_what_was_sent_in_this_task(
    echoing: Served, data: str | bytes, size: int
) -> None:
    socket = await opened(WebSocket(echoing.url))
    socket.send(data)
    socket.send(data)
    assert socket.bufferedAmount == 2 * size
    await until(lambda: socket.bufferedAmount == 0, "all to leave")
    await socket.close()


async def test_send_after_close_is_silent_and_counts_for_ever(echoing: Served) -> None:
    socket = await opened(WebSocket(echoing.url))
    socket.close()
    socket.send("é")
    socket.send(b"123")
    assert socket.bufferedAmount == 5
    await socket.wait_closed()
    assert socket.bufferedAmount == 5
    socket.send("x")
    assert socket.bufferedAmount == 6


async def test_an_awaited_send_after_close_raises_connection_closed(echoing: Served) -> None:
    socket = await opened(WebSocket(echoing.url))
    socket.close()
    with pytest.raises(wasclean.ConnectionClosed):
        await socket.send("x")
    event = await socket.wait_closed()
    with pytest.raises(wasclean.ConnectionClosed) as error:
        await socket.send("x")
    assert error.value.event is event


# Messages.


async def test_binary_messages_are_bytes_or_a_bytearray_as_binary_type_says(echoing: Served) -> None:
    socket = await opened(WebSocket(echoing.url))
    record = Record(socket)
    socket.send(b"1")
    socket.onmessage = lambda event: socket.close() if socket.binaryType == "arraybuffer" else switch()

    def switch() -> None:
        socket.binaryType = "arraybuffer"
        socket.send(b"2")

    await socket.wait_closed()
    assert [type(data) for data in record.messages] == [bytes, bytearray]


async def test_an_unknown_binary_type_is_ignored(echoing: Served) -> None:
    socket = WebSocket(echoing.url)
    socket.binaryType = "notBlobOrArrayBuffer"  # type: ignore[assignment]
    assert socket.binaryType == "blob"
    await socket.close()


async def test_a_message_event_has_the_standards_attributes(echoing: Served) -> None:
    socket = await opened(WebSocket(echoing.url + "path?query"))
    events: list[MessageEvent] = []
    socket.onmessage = events.append
    socket.addEventListener("message", lambda event: socket.close())
    socket.send("x")
    await socket.wait_closed()
    (event,) = events
    assert isinstance(event, MessageEvent)
    assert event.type == "message"
    assert event.data == "x"
    assert event.origin == echoing.url.rstrip("/")
    assert event.target is socket
    assert event.isTrusted
    assert (event.lastEventId, event.source, event.ports) == ("", None, ())
    assert not event.bubbles
    assert not event.cancelable


async def test_no_message_events_fire_once_close_was_called() -> None:
    async def flood(socket: WebSocket) -> None:
        for i in range(100):
            socket.send(str(i))
        async for _ in socket:
            pass

    async with served(flood) as server:
        socket = WebSocket(server.url)
        record = Record(socket)
        socket.addEventListener("message", lambda event: event.data == "3" and socket.close(1000))
        await socket.wait_closed()
        assert record.messages == ["0", "1", "2", "3"]
        assert record.close.wasClean


async def test_2000_messages_and_a_close_in_one_burst_arrive_in_order_and_before_the_close() -> None:
    async def script(raw: Raw) -> None:
        for i in range(2000):
            raw.send_frame(1, str(i).encode())
        raw.send_close(1000, "bye")
        raw.shutdown()
        await raw.rest()

    async with raw_server(script) as url:
        socket = WebSocket(url)
        record = Record(socket)
        await socket.wait_closed()
        assert record.messages == [str(i) for i in range(2000)]
        assert (record.types[0], record.types[-1]) == ("open", "close")
        assert (record.close.code, record.close.reason, record.close.wasClean) == (1000, "bye", True)


async def test_handlers_set_in_onopen_see_what_came_with_the_handshake() -> None:
    async def script(raw: Raw) -> None:
        await raw.rest()

    def answer(head: bytes) -> bytes:
        from tests.raw import accept, encode

        return accept(head) + encode(1, b"first") + encode(CLOSE, close_payload(3001))

    async with raw_server(script, answer=answer) as url:
        socket = WebSocket(url)
        seen: list[Any] = []

        def on_open(event: Event) -> None:
            socket.onmessage = lambda event: seen.append(event.data)
            socket.onclose = lambda event: seen.append(event.code)

        socket.onopen = on_open
        await socket.wait_closed()
        assert seen == ["first", 3001]


# Closing.


@pytest.mark.parametrize("code", [0, 1, 999, 1001, 1002, 1004, 1005, 1006, 1015, 2000, 2999, 5000, 65536 + 1000, -1])
async def test_a_code_that_a_page_may_not_send_is_an_invalid_access_error_and_changes_nothing(
    echoing: Served, code: int
) -> None:
    socket = await opened(WebSocket(echoing.url))
    with pytest.raises(wasclean.InvalidAccessError) as error:
        socket.close(code, "x" * 200)  # the code is checked first
    assert error.value.name == "InvalidAccessError"
    assert socket.readyState == WebSocket.OPEN
    socket.onmessage = lambda event: socket.close(1000, event.data)
    socket.send("still open")
    assert (await socket.wait_closed()).reason == "still open"


@pytest.mark.parametrize("reason", ["x" * 124, "é" * 62, "€" * 42])
async def test_a_reason_over_123_bytes_is_a_syntax_error_and_changes_nothing(echoing: Served, reason: str) -> None:
    socket = await opened(WebSocket(echoing.url))
    with pytest.raises(wasclean.SyntaxError, match="123 bytes"):
        socket.close(1000, reason)
    assert socket.readyState == WebSocket.OPEN
    await socket.close()


@pytest.mark.parametrize(("code", "reason"), [("1000", ""), (1000.0, ""), (True, ""), (1000, b"x"), (1000, 5)])
async def test_codes_and_reasons_of_other_types_are_a_type_error(echoing: Served, code: Any, reason: Any) -> None:
    socket = await opened(WebSocket(echoing.url))
    with pytest.raises(TypeError):
        socket.close(code, reason)
    assert socket.readyState == WebSocket.OPEN
    await socket.close()


@pytest.mark.parametrize(
    ("arguments", "payload", "code", "reason"),
    [
        ((), b"", 1005, ""),
        ((1000,), b"\x03\xe8", 1000, ""),
        ((1000, "bye"), b"\x03\xe8bye", 1000, "bye"),
        ((CloseCode.NORMAL_CLOSURE,), b"\x03\xe8", 1000, ""),
        ((3000, "é" * 61), close_payload(3000, "é" * 61), 3000, "é" * 61),
        ((4999, "x" * 123), close_payload(4999, "x" * 123), 4999, "x" * 123),
        ((1000, "\ud807"), close_payload(1000, "�"), 1000, "�"),
        ((None, "why"), b"\x03\xe8why", 1000, "why"),
    ],
)
async def test_close_sends_just_what_it_was_given(
    arguments: tuple[Any, ...], payload: bytes, code: int, reason: str
) -> None:
    frames: list[tuple[int, bytes]] = []

    async def script(raw: Raw) -> None:
        frame = await raw.frame()
        frames.append((frame.opcode, frame.payload))
        raw.send_frame(CLOSE, frame.payload)
        raw.shutdown()
        assert await raw.rest() == b""

    async with raw_server(script) as url:
        socket = await opened(WebSocket(url))
        record = Record(socket)
        socket.close(*arguments)
        assert socket.readyState == WebSocket.CLOSING
        await socket.wait_closed()
        assert socket.readyState == WebSocket.CLOSED
        assert frames == [(CLOSE, payload)]
        assert record.types == ["close"]
        event = record.close
        assert (event.code, event.reason, event.wasClean, event.initiator) == (code, reason, True, "local")


async def test_close_while_connecting_fires_error_and_close_1006_in_a_later_task(echoing: Served) -> None:
    socket = WebSocket(echoing.url)
    record = Record(socket)
    socket.close(1000, "early")
    assert socket.readyState == WebSocket.CLOSING
    assert record.events == []
    await socket.wait_closed()
    assert record.types == ["error", "close"]
    event = record.close
    assert (event.code, event.reason, event.wasClean, event.initiator) == (1006, "", False, "local")
    assert (event.sent, event.received) == (None, None)


async def test_the_articles_example_closes_while_connecting(echoing: Served) -> None:
    lines: list[str] = []
    socket = WebSocket(echoing.url)
    socket.onopen = lambda event: socket.send("Hello Server!")
    socket.onclose = lambda event: lines.append(f"WebSocket closed: {event.code} {event.reason}")
    socket.close()
    await socket.wait_closed()
    assert lines == ["WebSocket closed: 1006 "]


async def test_a_second_close_changes_nothing_and_returns_the_same_event(echoing: Served) -> None:
    socket = await opened(WebSocket(echoing.url))
    first = socket.close(3000, "first")
    assert socket.close(3001, "second") is first
    event = await first
    assert (event.code, event.reason) == (3000, "first")
    assert await first is event
    assert await socket.close() is event


@pytest.mark.parametrize("handler", ["onmessage", "onclose", "onerror"])
async def test_close_may_be_called_in_every_handler(echoing: Served, handler: str) -> None:
    socket = WebSocket(echoing.url)
    record = Record(socket)
    setattr(socket, handler, lambda event: socket.close(1000))
    socket.onopen = lambda event: (socket.send("x"), None if handler == "onmessage" else socket.close())
    await socket.wait_closed()
    assert record.types.count("close") == 1


async def test_no_event_fires_from_inside_a_call(echoing: Served) -> None:
    socket = await opened(WebSocket(echoing.url))
    record = Record(socket)
    socket.send("x")
    socket.close()
    socket.terminate()
    assert record.events == []
    await turn()
    assert record.types == ["close"]


async def test_terminate_ends_without_a_handshake_and_without_an_error_event(echoing: Served) -> None:
    socket = await opened(WebSocket(echoing.url))
    record = Record(socket)
    socket.terminate()
    socket.terminate()
    assert socket.readyState == WebSocket.CLOSING
    await turn()
    assert socket.readyState == WebSocket.CLOSED
    assert record.types == ["close"]
    event = record.close
    assert (event.code, event.reason, event.wasClean, event.initiator) == (1006, "", False, "local")
    assert event.sent is None


async def test_terminate_with_reset_sends_a_rst() -> None:
    ended: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

    async def script(raw: Raw) -> None:
        try:
            await raw.frame()
        except Exception as error:
            ended.set_result(error)

    async with raw_server(script) as url:
        socket = await opened(WebSocket(url))
        socket.terminate(reset=True)
        assert isinstance(await ended, ConnectionResetError)


async def test_a_close_event_is_told_to_all_at_last(echoing: Served) -> None:
    socket = await opened(WebSocket(echoing.url))
    order: list[str] = []
    socket.onclose = lambda event: order.append("event")

    async def wait() -> None:
        await socket.wait_closed()
        order.append("wait_closed")

    task = asyncio.create_task(wait())
    await turn()
    event = await socket.close(1000)
    order.append("close")
    await task
    assert order[0] == "event"
    assert sorted(order[1:]) == ["close", "wait_closed"]
    assert isinstance(event, CloseEvent)
    assert event.ok


async def test_a_connection_that_cannot_be_made_is_an_error_and_a_close_1006(unused_tcp_port: int) -> None:
    socket = WebSocket(f"ws://127.0.0.1:{unused_tcp_port}/")
    record = Record(socket)
    event = await socket.wait_closed()
    assert record.types == ["error", "close"]
    assert isinstance(record.events[0], ErrorEvent)
    assert isinstance(record.events[0].error, ConnectionRefusedError)
    assert (event.code, event.wasClean, event.initiator) == (1006, False, "network")
    assert isinstance(event.exception, ConnectionRefusedError)


async def test_a_closed_socket_is_opened_again_by_making_a_new_one(echoing: Served) -> None:
    for _ in range(2):
        socket = await opened(WebSocket(echoing.url))
        assert (await socket.close(1000)).wasClean


# Listeners.


async def test_exceptions_in_handlers_are_reported_and_break_nothing(echoing: Served) -> None:
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
    socket = WebSocket(echoing.url)
    record = Record(socket)

    def fail(event: Event) -> None:
        raise RuntimeError(f"in {event.type}")

    socket.onopen = fail
    socket.onmessage = fail
    socket.onclose = fail
    await opened(socket)
    socket.send("1")
    socket.addEventListener("message", lambda event: socket.close(1000))
    await socket.wait_closed()
    assert record.types == ["open", "message", "close"]
    assert [str(context["exception"]) for context in reported] == ["in open", "in message", "in close"]
    assert "message listener" in reported[1]["message"]


async def test_a_listener_may_be_a_coroutine_function_whose_errors_are_reported(echoing: Served) -> None:
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
    socket = WebSocket(echoing.url)
    done = asyncio.Event()

    async def on_open(event: Event) -> None:
        await asyncio.sleep(0)
        done.set()
        raise RuntimeError("late")

    socket.onopen = on_open
    await done.wait()
    await turn()
    assert [str(context["exception"]) for context in reported] == ["late"]
    assert socket.readyState == WebSocket.OPEN
    await socket.close()


@pytest.mark.parametrize("error", [asyncio.CancelledError, GeneratorExit])
async def test_a_listener_that_raises_what_is_no_exception_is_reported_and_the_next_is_called(
    echoing: Served, error: type[BaseException]
) -> None:
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
    socket = WebSocket(echoing.url)
    record = Record(socket)

    def on_message(event: Event) -> None:
        raise error("in message")

    await opened(socket)
    socket.onmessage = on_message
    socket.send("1")
    socket.addEventListener("message", lambda event: socket.close(1000))
    assert (await socket.wait_closed()).ok
    assert record.types == ["open", "message", "close"]
    assert [type(context["exception"]) for context in reported] == [error]


class Awaited:
    """What can be awaited and is neither a coroutine nor a future."""

    def __init__(self, done: asyncio.Event) -> None:
        self._done = done

    def __await__(self) -> Iterator[None]:
        self._done.set()
        return iter(())


async def test_what_a_listener_returns_is_awaited_and_a_future_is_left_alone(echoing: Served) -> None:
    socket = WebSocket(echoing.url)
    done = asyncio.Event()
    future = asyncio.get_running_loop().create_future()
    socket.onopen = lambda event: Awaited(done)
    socket.addEventListener("open", lambda event: future)
    async with asyncio.timeout(PATIENCE):
        await done.wait()
    await turn()
    await socket.close()
    assert not future.done()


def generates(event: Event) -> Iterator[None]:
    yield


async def generates_later(event: Event) -> AsyncIterator[None]:
    yield


class Handles:
    """An object with a method ``handleEvent``, as in the DOM."""

    async def handleEvent(self, event: Event) -> AsyncIterator[None]:
        yield


@pytest.mark.parametrize("callback", [generates, generates_later, Handles(), Handles().handleEvent])
async def test_a_listener_with_a_yield_is_refused_at_once(echoing: Served, callback: Any) -> None:
    socket = WebSocket(echoing.url)
    with pytest.raises(TypeError, match=r"onmessage must be .*, not a generator function: .* has a yield"):
        socket.onmessage = callback
    with pytest.raises(TypeError, match=r"a listener must be .*, not a generator function: .* has a yield"):
        socket.addEventListener("message", callback)
    await socket.close()


@pytest.mark.parametrize("function", [generates, generates_later])
async def test_a_listener_that_returns_a_generator_is_reported(echoing: Served, function: Any) -> None:
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
    socket = WebSocket(echoing.url)
    made: list[Any] = []

    def on_open(event: Event) -> Any:
        made.append(function(event))
        return made[0]

    socket.onopen = on_open
    await opened(socket)
    await socket.close()
    assert ["of which nothing runs" in str(context["exception"]) for context in reported] == [True]


async def test_a_handler_attribute_keeps_its_place_when_it_is_replaced(echoing: Served) -> None:
    socket = WebSocket(echoing.url)
    order: list[str] = []
    socket.onopen = lambda event: order.append("old")
    socket.addEventListener("open", lambda event: order.append("listener"))
    socket.onopen = lambda event: order.append("new")
    await opened(socket)
    assert order == ["new", "listener"]
    socket.onclose = lambda event: order.append("handler")
    socket.addEventListener("close", lambda event: order.append("listener"))
    socket.onclose = None
    assert socket.onclose is None
    socket.onclose = lambda event: order.append("handler")
    order.clear()
    await socket.close()
    assert order == ["listener", "handler"]


@pytest.mark.parametrize("value", [1, "print", object()])
async def test_a_handler_that_cannot_be_called_is_a_type_error(echoing: Served, value: Any) -> None:
    socket = WebSocket(echoing.url)
    with pytest.raises(TypeError, match="onopen must be callable"):
        socket.onopen = value
    assert socket.onopen is None
    await socket.close()


async def test_a_lambda_that_returns_what_send_returns_is_no_coroutine(echoing: Served) -> None:
    tasks = len(asyncio.all_tasks())
    socket = await opened(WebSocket(echoing.url))
    socket.onmessage = lambda event: socket.send("y") if event.data == "x" else socket.close()
    socket.send("x")
    await socket.wait_closed()
    await turn()
    assert len(asyncio.all_tasks()) <= tasks + 1  # the server's handler may be ending


# Ping, from Node's ws.


async def test_ping_returns_the_seconds_of_the_round_trip(echoing: Served) -> None:
    socket = await opened(WebSocket(echoing.url))
    seconds = await socket.ping()
    assert 0 < seconds < 5
    assert 0 < await socket.ping("data") < 5
    await socket.close()


@pytest.mark.parametrize(("data", "error"), [(5, TypeError), (1 << 30, TypeError), (b"x" * 126, ValueError)])
async def test_ping_takes_at_most_125_bytes(echoing: Served, data: Any, error: type[Exception]) -> None:
    socket = await opened(WebSocket(echoing.url))
    with pytest.raises(error):
        socket.ping(data)
    await socket.close()


async def test_a_ping_that_gets_no_pong_raises_when_the_connection_ends(echoing: Served) -> None:
    socket = await opened(WebSocket(echoing.url))
    ping = socket.ping()
    socket.terminate()
    with pytest.raises(wasclean.ConnectionClosed):
        await ping
    with pytest.raises(wasclean.ConnectionClosed):
        await socket.ping()


async def test_ping_while_connecting_is_an_invalid_state_error(echoing: Served) -> None:
    socket = WebSocket(echoing.url)
    with pytest.raises(wasclean.InvalidStateError, match="this socket is still connecting"):
        socket.ping()
    for call in (socket.drain(), socket.check_alive(1)):
        with pytest.raises(wasclean.InvalidStateError, match="this socket is still connecting"):
            await call
    await socket.close()


async def test_a_cancelled_ping_and_its_late_pong_disturb_nobody() -> None:
    go_on = asyncio.Event()

    async def script(raw: Raw) -> None:
        frame = await raw.frame()
        await go_on.wait()
        raw.send_frame(0xA, frame.payload)
        raw.send_frame(1, b"done")
        await raw.rest()

    async with raw_server(script) as url:
        socket = await opened(WebSocket(url))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.ping(), 0.01)
        messages: list[str] = []
        socket.onmessage = lambda event: messages.append(event.data)
        socket.addEventListener("message", lambda event: socket.terminate())
        go_on.set()
        await socket.wait_closed()
        assert messages == ["done"]


# Subclasses and the rest.


async def test_a_subclass_may_have_what_it_likes(echoing: Served) -> None:
    class Chat(WebSocket):
        def __init__(self, url: str, name: str) -> None:
            super().__init__(url)
            self.name = name

    socket = await opened(Chat(echoing.url, "me"))
    assert isinstance(socket, Chat)
    assert socket.name == "me"
    await socket.close()


async def test_repr_says_where_and_how_it_stands_and_no_secret() -> None:
    async with served(echo) as server:
        socket = WebSocket(server.url.replace("ws://", "ws://user:secret@"))
        assert "CONNECTING" in repr(socket)
        assert "secret" not in repr(socket)
        await opened(socket)
        await socket.close()
        assert "CLOSED" in repr(socket)


@pytest.mark.parametrize("timeout", [float("inf"), float("nan"), -1, 2**63])
async def test_a_timeout_beyond_reason_is_an_error_before_anything_changes(echoing: Served, timeout: float) -> None:
    socket = await opened(WebSocket(echoing.url))
    with pytest.raises(ValueError, match="timeout"):
        socket.close(timeout=timeout)
    assert socket.readyState == WebSocket.OPEN
    assert (await socket.close()).wasClean


def test_a_socket_that_was_never_made_is_an_attribute_error_and_no_crash() -> None:
    with pytest.raises(AttributeError):
        _ = WebSocket.__new__(WebSocket).readyState
