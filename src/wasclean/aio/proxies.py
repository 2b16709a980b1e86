"""The way through a proxy: a tunnel by CONNECT (RFC 9110 section 9.3.6), or a connection by SOCKS."""

from __future__ import annotations

from asyncio import AbstractEventLoop, BaseEventLoop, BaseProtocol, Future, Protocol
from asyncio import Transport as AsyncioTransport
from collections.abc import Callable
from socket import socket as Socket  # noqa: N812 - here a socket is a WebSocket
from typing import TYPE_CHECKING, Any

from ..protocol.errors import HandshakeError
from ..protocol.http import Response, ResponseReader
from ..protocol.proxies import ProxyURL, connect_request
from ..protocol.registry import LINGER
from ..protocol.urls import URLRecord

if TYPE_CHECKING:
    from ssl import SSLContext


async def adopt(
    loop: AbstractEventLoop, connection: Socket, protocol: Callable[[], BaseProtocol], tls: dict[str, Any]
) -> Any:
    """The loop's create_connection() for a connection that there is; when it fails, the loop closes that.

    Returns:
        The transport.

    Raises:
        OSError: TLS failed, or the connection broke.
    """
    try:
        transport, _ = await loop.create_connection(protocol, sock=connection, **tls)
    except BaseException:
        if not isinstance(loop, BaseEventLoop):
            connection.detach()  # uvloop closes the number, which may be another file's a moment later
        raise
    return transport


async def open_tunnel(
    loop: AbstractEventLoop, connection: Socket, proxy: ProxyURL, url: URLRecord, context: SSLContext | None
) -> Any:
    """A tunnel to the URL's host and port.

    Args:
        loop: the running one.
        connection: to the proxy.
        proxy: an HTTP proxy.
        url: where to.
        context: for TLS to an ``https:`` proxy; the system's trust by default.

    Returns:
        The transport that the tunnel is. It does not read until its next protocol makes it.

    Raises:
        HandshakeError: the proxy refused, broke the rules or left; with its ``status`` and ``response`` if it has one.
        OSError: TLS to the proxy failed, or the connection broke.
    """
    tls: dict[str, Any] = {}
    if proxy.scheme == "https":
        if context is None:
            from ssl import create_default_context

            context = create_default_context()
        tls = {"ssl": context, "server_hostname": proxy.host, "ssl_shutdown_timeout": LINGER}
    negotiation = _Negotiation(loop)
    try:
        transport: Any = await adopt(loop, connection, lambda: negotiation, tls)
        transport.write(connect_request(proxy, url))
        await negotiation.over
        negotiation.check()
    except BaseException:
        negotiation.abort()
        raise
    if tls and isinstance(loop, BaseEventLoop):
        # TLS inside TLS that fails calls this, and in some versions of Python it raises a TypeError.
        transport._force_close = lambda error: transport.abort()
    return transport


class _Negotiation(Protocol):
    """Reads a proxy's answer to CONNECT, and not a byte more if it can be helped.

    Attributes:
        over: done when there is an answer, or there will be none.
    """

    def __init__(self, loop: AbstractEventLoop) -> None:
        self.over: Future[None] = loop.create_future()
        self._reader = ResponseReader(from_proxy=True)
        self._response: Response | None = None
        self._error: BaseException | None = None
        self._transport: AsyncioTransport | None = None

    def abort(self) -> None:
        """Ends the connection to the proxy, if there is one."""
        if self._transport is not None:
            self._transport.abort()

    def check(self) -> None:
        """Raises what keeps the tunnel from being one."""
        response = self._response
        if self._error is not None:
            raise self._error
        assert response is not None
        if not 200 <= response.status <= 299:
            reason = f" {response.reason!a}" if response.reason else ""
            raise HandshakeError(
                f"the proxy answered {response.status}{reason}", status=response.status, response=response
            )
        # A WebSocket server says nothing before it is asked: somebody wants to mislead us.
        if self._reader.rest:
            raise HandshakeError(f"{len(self._reader.rest)} bytes came behind the proxy's answer, before any request")

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self.over.done():  # it was on its way when we said that we read no more
            self._reader.rest += data
            return
        try:
            self._response = self._reader.feed(data)
        except HandshakeError as error:
            self._end(error)
        else:
            if self._response is not None:
                assert self._transport is not None
                self._transport.pause_reading()
                self._end(None)

    def eof_received(self) -> None:
        self._end(HandshakeError("the proxy closed the connection before it had answered"))

    def connection_lost(self, error: BaseException | None) -> None:
        self._end(error or HandshakeError("the proxy closed the connection"))

    def _end(self, error: BaseException | None) -> None:
        if self._error is None:
            self._error = error
        if not self.over.done():
            self.over.set_result(None)


async def connect_by_socks(proxy: ProxyURL, url: URLRecord, timeout: float) -> Socket:
    """A connection to the URL's host and port.

    Args:
        proxy: a SOCKS proxy. ``socks4a`` and ``socks5h`` look the host up, for ``socks4`` and ``socks5`` we do.
        url: where to.
        timeout: seconds for all of it.

    Raises:
        ImportError: the extra ``proxy`` is not installed.
        OSError: there is no connection to the proxy, it refused, or it broke the rules.
    """
    try:
        from python_socks import ProxyType
        from python_socks.async_.asyncio import Proxy
    except ImportError as error:
        raise ImportError("a SOCKS proxy needs python-socks: pip install 'wasclean[proxy]'") from error

    kind = ProxyType.SOCKS4 if proxy.scheme.startswith("socks4") else ProxyType.SOCKS5
    by_name = proxy.scheme in ("socks4a", "socks5h")
    way = Proxy(kind, proxy.host, proxy.port, proxy.username, proxy.password, rdns=by_name)
    try:
        return await way.connect(url.host, url.port, timeout=timeout)
    except OSError:
        raise
    except Exception as error:  # of many classes, for a proxy may say anything
        raise ConnectionError(f"the SOCKS proxy made no connection: {error or type(error).__name__}") from None
