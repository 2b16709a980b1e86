"""Connections through a proxy: a tunnel by CONNECT (RFC 9110 section 9.3.6), or a connection by SOCKS."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable
from socket import AF_INET, EAI_NONAME, gaierror
from socket import socket as Socket  # noqa: N812 - here a socket is a WebSocket
from typing import TYPE_CHECKING

from ..closing.errors import HandshakeError
from ..opening.proxies import ProxyURL, connect_request
from ..opening.readers import ResponseReader
from ..opening.urls import URLRecord
from .driver import Driver
from .opening import Inquiry, Opening
from .resolver import resolve

if TYPE_CHECKING:
    from ssl import SSLContext


class Tunnel(Inquiry):
    """Asks an HTTP proxy for a tunnel to the URL's host and port, and reads its answer.

    Args:
        loop: the running one.
        driver: of the connection to the proxy.
        proxy: what it is.
        url: where to.
        context: for TLS to the proxy; None for none.
        late: what to do at the deadline if the proxy has not refused.
        outer: the opening that wants the tunnel.
    """

    __slots__ = ("_context", "_late", "_outer", "_proxy", "_url")

    def __init__(
        self,
        loop: AbstractEventLoop,
        driver: Driver,
        proxy: ProxyURL,
        url: URLRecord,
        context: SSLContext | None,
        late: Callable[[], object],
        outer: Opening,
    ) -> None:
        self._context = context
        self._late = late
        self._outer = outer
        self.driver = driver
        self._proxy = proxy
        self._url = url
        self._expect(loop, ResponseReader(from_proxy=True))

    async def wait(self) -> None:
        """Wait until there is a tunnel.

        Raises:
            HandshakeError: the proxy refused, broke the rules or left; with its ``status`` and ``response`` if it has
                one.
            OSError: TLS to the proxy failed, or the connection broke.
        """
        response = await self._head()
        if not 200 <= response.status <= 299:
            await self._read_body()
            reason = f" {response.reason!a}" if response.reason else ""
            raise HandshakeError(
                f"the proxy answered {response.status}{reason}", status=response.status, response=response
            )
        if self._error is not None:
            raise self._error
        # A WebSocket server says nothing before it is asked, so these bytes are meant to mislead.
        if self._reader.rest:
            raise HandshakeError(f"{len(self._reader.rest)} bytes came behind the proxy's answer, before any request")

    def begin(self) -> None:
        """Begin TLS with the proxy, or ask it at once."""
        if self._context is None:
            self.ready()
        else:
            self._secure(self._context, self._proxy.host)

    def ready(self) -> None:
        """Ask the proxy."""
        self.driver.write(connect_request(self._proxy, self._url))

    def data_received(self, data: bytes) -> None:
        """Process a part of the answer; a proxy that keeps to the rules sends not a byte more."""
        if self._whole.done():
            self._reader.rest += data
        else:
            Inquiry.data_received(self, data)

    def ended(self) -> None:
        """Give up: the proxy ends TCP."""
        self._end(HandshakeError("the proxy closed the connection before it had answered"))

    def lost(self, error: BaseException | None) -> None:
        """Give up: the connection is gone, or TLS has failed."""
        self._end(error or HandshakeError("the proxy closed the connection"))

    def disown(self) -> None:
        """End the opening that wants the tunnel."""
        self._outer.disown()

    def time_is_up(self) -> None:
        """Let a refusal count whose head is here; otherwise the opening's deadline has come."""
        if self._answer.done():
            self._end(None)
        else:
            self._late()


async def connect_by_socks(
    loop: AbstractEventLoop, proxy: ProxyURL, url: URLRecord, timeout: float, note: Callable[[str], object]
) -> Socket:
    """Return a connection to the URL's host and port.

    Args:
        loop: the running one.
        proxy: a SOCKS proxy. ``socks4a`` and ``socks5h`` resolve the host themselves; for the others it is done here.
        url: where to.
        timeout: seconds for each of the proxy's addresses.
        note: called with the error of each address that has failed.

    Raises:
        ImportError: the extra ``proxy`` is not installed.
        OSError: there is no connection to the proxy, it refused, or it broke the rules.
    """
    try:
        from python_socks import ProxyError, ProxyType
        from python_socks.async_.asyncio import Proxy
    except ImportError as error:
        raise ImportError("a SOCKS proxy needs python-socks: pip install 'wasclean[proxy]'") from error

    is_4 = proxy.scheme.startswith("socks4")
    kind = ProxyType.SOCKS4 if is_4 else ProxyType.SOCKS5
    host = url.host
    if proxy.scheme in ("socks4", "socks5"):
        (host, *_) = await _addresses(loop, host, url.port, AF_INET if is_4 else None)
    failure: OSError | None = None
    # Addresses, for python-socks would look names up by the loop's executor.
    for address in await _addresses(loop, proxy.host, proxy.port):
        way = Proxy(kind, address, proxy.port, proxy.username, proxy.password, rdns=True)
        try:
            return await way.connect(host, url.port, timeout=timeout)
        except OSError as error:
            note(str(error))
            failure = failure or error
        except (ProxyError, ValueError) as error:  # it refused, broke the rules, or the host is no name
            raise ConnectionError(f"the SOCKS proxy made no connection: {error or type(error).__name__}") from error
    assert failure is not None
    raise failure


async def _addresses(loop: AbstractEventLoop, host: str, port: int, family: int | None = None) -> list[str]:
    """Return the addresses of a host, IPv4 first, otherwise in the resolver's order; with a family, only its own.

    Raises:
        OSError: there is none.
    """
    found = [info for info in await resolve(loop, host, port) if family in (None, info[0])]
    if not found:
        raise gaierror(EAI_NONAME, f"{host!a} has no IPv4 address, and SOCKS 4 takes no other")
    return [info[4][0] for info in sorted(found, key=lambda info: info[0] != AF_INET)]
