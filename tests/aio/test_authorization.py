"""basic_auth(): who may open a connection."""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.endpoints import served
from wasclean import HandshakeError, Request, WebSocket, basic_auth, connect

DOCUMENTATION = Path(__file__).parents[2] / "docs/hooks.md"

USERS = {"ann": "s3cret", "bob": "pass:word", "Zoë": "pässword", "eve": ""}


def basic(text: str | bytes) -> str:
    data = text.encode() if isinstance(text, str) else text
    return f"Basic {b64encode(data).decode()}"


def asking(*values: str) -> Request:
    return Request("GET", "/", [("Host", "localhost"), *(("Authorization", value) for value in values)])


async def told(user: str, password: str) -> bool:
    await asyncio.sleep(0)
    return USERS.get(user) == password


CREDENTIALS = pytest.mark.parametrize(
    "credentials", [USERS, lambda user, password: USERS.get(user) == password, told], ids=["dict", "sync", "async"]
)


@CREDENTIALS
@pytest.mark.parametrize("user", list(USERS))
async def test_the_right_password_goes_on_as_its_user(credentials: Any, user: str) -> None:
    request = asking(basic(f"{user}:{USERS[user]}"))
    assert await basic_auth(credentials)(request) is None
    assert request.user == user


@pytest.mark.parametrize("scheme", ["basic", "BASIC", "Basic "])
async def test_the_scheme_has_no_case_and_may_be_followed_by_spaces(scheme: str) -> None:
    assert await basic_auth(USERS)(asking(basic("ann:s3cret").replace("Basic", scheme))) is None


@CREDENTIALS
@pytest.mark.parametrize(
    "values",
    [
        [],
        [""],
        ["Basic"],
        ["Basic "],
        [basic("ann:wrong")],
        [basic("ann:s3cret ")],
        [basic("ann:")],
        [basic("ann")],
        [basic("Ann:s3cret")],
        [basic("mallory:s3cret")],
        [basic("mallory:")],
        [basic("bob:pass")],
        [basic(":")],
        [basic(":s3cret")],
        [basic("ann:s3cret\0")],
        [basic("ann\r\n:s3cret")],
        [basic("Zoë:pässword".encode("latin-1"))],
        ["Basic ann:s3cret"],
        [basic("ann:s3cret").rstrip("=")[:-1]],
        [basic("ann:s3cret") + "=="],
        [basic("ann:s3cret").replace("Basic ", "Basic !")],
        [basic("ann:s3cret") + " x"],
        [basic("ann:s3cret") + "\xff"],
        [basic("ann:s3cret").replace("Basic", "Bearer")],
        [basic("ann:s3cret").replace("Basic ", "Basic")],
        [basic("ann:s3cret"), basic("ann:s3cret")],
        [basic("ann:s3cret") + ", " + basic("ann:s3cret")],
    ],
)
async def test_all_else_is_answered_401_with_a_challenge(credentials: Any, values: list[str]) -> None:
    request = asking(*values)
    response = await basic_auth(credentials, realm="the chat")(request)
    assert response is not None
    assert response.status == 401
    assert response.headers.getall("WWW-Authenticate") == ['Basic realm="the chat", charset="UTF-8"']
    assert response.body == b"a user and a password are required\n"
    assert request.user is None


@pytest.mark.parametrize("user", ["ann", "mallory"])
async def test_a_password_is_compared_in_constant_time_also_for_a_user_who_is_not_there(
    user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = []

    def compare(known: bytes, given: bytes) -> bool:
        compared.append(given)
        return known == given

    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert await basic_auth(USERS)(asking(basic(f"{user}:guess"))) is not None
    assert compared == [b"guess"]


async def test_the_passwords_are_those_of_the_time_when_the_hook_was_made() -> None:
    users = {"ann": "old"}
    hook = basic_auth(users)
    users["ann"] = "new"
    assert await hook(asking(basic("ann:old"))) is None


@pytest.mark.parametrize(
    ("credentials", "options", "error"),
    [
        ("ann:s3cret", {}, TypeError),
        ([("ann", "s3cret")], {}, TypeError),
        (None, {}, TypeError),
        ({"ann": None}, {}, TypeError),
        ({"ann": b"s3cret"}, {}, TypeError),
        ({b"ann": "s3cret"}, {}, TypeError),
        ({"a:b": "s3cret"}, {}, ValueError),
        ({"ann\n": "s3cret"}, {}, ValueError),
        ({"ann": "s3cret\x7f"}, {}, ValueError),
        ({"ann": "\ud800"}, {}, ValueError),
        ({"\ud800": "s3cret"}, {}, ValueError),
        (USERS, {"realm": b"chat"}, TypeError),
        (USERS, {"realm": 'a"b'}, ValueError),
        (USERS, {"realm": "a\\b"}, ValueError),
        (USERS, {"realm": "a\r\nX: y"}, ValueError),
        (USERS, {"realm": "caffè"}, ValueError),
    ],
)
def test_what_can_not_be_meant_is_refused_at_once(
    credentials: Any, options: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        basic_auth(credentials, **options)
    assert "s3cret" not in str(caught.value)


# In a server.


async def whoami(socket: WebSocket) -> None:
    assert socket.request is not None
    await socket.send(str(socket.request.user))


@CREDENTIALS
async def test_a_client_with_the_right_credentials_in_its_url_connects_as_its_user(credentials: Any) -> None:
    async with served(whoami, on_request=basic_auth(credentials)) as server:
        url = server.url.replace("ws://", "ws://Zo%C3%AB:p%C3%A4ssword@")
        async with connect(url) as socket:
            assert await socket.recv() == "Zoë"


@pytest.mark.parametrize("user", ["", "ann:wrong@", "mallory:s3cret@"])
async def test_a_client_without_them_gets_401_before_any_handler_runs(user: str) -> None:
    async with served(whoami, on_request=basic_auth(USERS)) as server:
        with pytest.raises(HandshakeError) as caught:
            await connect(server.url.replace("ws://", f"ws://{user}"))
        assert caught.value.status == 401
        assert caught.value.response is not None
        assert caught.value.response.headers["WWW-Authenticate"].startswith("Basic ")
        assert server.sockets.empty()


async def test_a_function_that_raises_lets_nobody_in_and_is_logged_without_the_password(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def check(user: str, password: str) -> bool:
        raise RuntimeError("the database is away")

    async with served(whoami, on_request=basic_auth(check)) as server:
        with pytest.raises(HandshakeError) as caught:
            await connect(server.url.replace("ws://", "ws://ann:s3cret@"))
        assert caught.value.status == 500
        assert server.sockets.empty()
    (record,) = (record for record in caplog.records if record.levelno == logging.ERROR)
    assert "the database is away" in str(record.exc_info)
    assert "s3cret" not in caplog.text.replace(__file__, "")


def generates(user: str, password: str) -> Iterator[bool]:
    yield False


async def generates_later(user: str, password: str) -> AsyncIterator[bool]:
    yield False


@pytest.mark.parametrize("function", [generates, generates_later])
async def test_a_function_with_a_yield_is_refused_and_what_returns_a_generator_lets_nobody_in(function: Any) -> None:
    with pytest.raises(TypeError, match="has a yield"):
        basic_auth(function)

    def hiding(user: str, password: str) -> Any:
        return function(user, password)

    request = asking(basic("ann:s3cret"))
    with pytest.raises(TypeError, match="of which nothing runs"):
        await basic_auth(hiding)(request)
    assert request.user is None


async def test_a_hook_may_await_another_as_the_documentation_does() -> None:
    example = re.findall(r"```python\n(.*?)```", DOCUMENTATION.read_text(), re.DOTALL)[1]
    names: dict[str, Any] = {"sessions": {"5e55": "zed"}}
    exec(example, names)
    async with served(whoami, on_request=names["on_request"]) as server:
        for path, status in (("health", 200), ("admin/", 401), ("", 401)):
            with pytest.raises(HandshakeError) as caught:
                await connect(server.url + path)
            assert caught.value.status == status
        async with connect(f"{server.url}admin/".replace("ws://", "ws://ann:correct%20horse@")) as socket:
            assert await socket.recv() == "ann"
        async with connect(server.url, headers={"Cookie": "a=b; session=5e55"}) as socket:
            assert await socket.recv() == "zed"
