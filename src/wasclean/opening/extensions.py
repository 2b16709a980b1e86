"""The negotiation of permessage-deflate (RFC 7692 section 7.1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ..closing.errors import HandshakeError
from ..model.registry import Role
from ..model.wording import excerpt
from ..wire.deflate import MAX_WINDOW_BITS, NAME, WINDOW_BITS, Deflate, Deflater, Inflater

#: An element of Sec-WebSocket-Extensions: its name, and its parameters; the value of one without a value is None.
Extension = tuple[str, list[tuple[str, str | None]]]


class Agreed(NamedTuple):
    """The agreed parameters (RFC 7692 section 7.1), and the local settings for compressing."""

    parameters: Parameters
    deflate: Deflate

    def deflater(self, role: Role) -> Deflater:
        """Return the compressor for messages sent by this role."""
        bits, alone = self.parameters.of(role)
        if role is Role.CLIENT:  # it may use a smaller window than agreed; a server's is in the parameters
            bits = min(bits, self.deflate.client_max_window_bits or WINDOW_BITS)
        return Deflater(self.deflate, bits, not alone)

    def inflater(self, role: Role) -> Inflater:
        """Return the decompressor for messages received by this role."""
        bits, alone = self.parameters.of(Role.CLIENT if role is Role.SERVER else Role.SERVER)
        return Inflater(bits, not alone)


class Agreement(NamedTuple):
    """The result of an opening handshake."""

    subprotocol: str = ""  # empty for none
    deflate: Agreed | None = None

    @property
    def extensions(self) -> str:
        """The Sec-WebSocket-Extensions of the answer; empty for none."""
        return "" if self.deflate is None else str(self.deflate.parameters)


class Parameters(NamedTuple):
    """The parameters of an offer or of a response; window bits are None if absent, and 0 if they have no value."""

    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False
    server_max_window_bits: int | None = None
    client_max_window_bits: int | None = None

    def of(self, role: Role) -> tuple[int, bool]:
        """Return the window bits that this role compresses with, and True if it has no context takeover."""
        if role is Role.SERVER:
            return self.server_max_window_bits or MAX_WINDOW_BITS, self.server_no_context_takeover
        return self.client_max_window_bits or MAX_WINDOW_BITS, self.client_no_context_takeover

    def __str__(self) -> str:
        """The extension's name and its parameters, as an element of the header."""
        words = [NAME]
        for name, value in zip(self._fields, self, strict=True):
            if value is True or (value == 0 and value is not False):
                words.append(name)
            elif value:
                words.append(f"{name}={value}")
        return "; ".join(words)


def offer(deflates: Sequence[Deflate]) -> str:
    """Return a client's Sec-WebSocket-Extensions header, in order of preference."""
    return ", ".join(str(_offered(deflate)) for deflate in deflates)


def accept(extensions: Iterable[Extension], deflate: Deflate) -> Agreed | None:
    """Agree, as a server, to the first acceptable offer of a client; return None if there is none.

    An offer that breaks a rule is declined.

    Args:
        extensions: the offers.
        deflate: the settings of the server.

    Source: RFC 7692 sections 5.1, 7.1 and 7.1.1 to 7.1.2.
    """
    for name, items in extensions:
        offered = _read(items, answer=False) if name == NAME else None
        if offered is None:
            continue
        # "A server MUST NOT include client_max_window_bits if the offer has not."
        client_bits = None
        if offered.client_max_window_bits is not None:
            client_bits = min(
                deflate.client_max_window_bits or WINDOW_BITS, offered.client_max_window_bits or MAX_WINDOW_BITS
            )
        server_bits = min(deflate.server_max_window_bits or WINDOW_BITS, offered.of(Role.SERVER)[0])
        parameters = Parameters(
            offered.server_no_context_takeover or deflate.server_no_context_takeover,
            offered.client_no_context_takeover or deflate.client_no_context_takeover,
            server_bits,
            client_bits,
        )
        return Agreed(parameters, deflate)
    return None


def confirm(extensions: Sequence[Extension], deflates: Sequence[Deflate]) -> Agreed | None:
    """Check, as a client, the server's response to the offers; return None if it contains no extension.

    Raises:
        HandshakeError: the response breaks a rule, or exceeds every offer.

    Source: RFC 7692 sections 5.1, 7.1 and 7.1.1 to 7.1.2.
    """
    if not extensions:
        return None
    for name, _ in extensions:
        if name != NAME or not deflates:
            raise HandshakeError(f"the server uses an extension that was not offered: {excerpt(name)}")
    if len(extensions) > 1:
        raise HandshakeError(f"the server uses the extension {NAME} {len(extensions)} times")
    items = extensions[0][1]
    answer = _read(items, answer=True)
    if answer is not None:
        for deflate in deflates:
            if _matches(answer, _offered(deflate)):
                return Agreed(answer, deflate)
    said = "; ".join(name if value is None else f"{name}={value}" for name, value in items) or "none"
    fault = "not valid" if answer is None else f"beyond what was offered ({offer(deflates)})"
    raise HandshakeError(f"the server's parameters of {NAME} are {fault}: {excerpt(said)}")


def _offered(deflate: Deflate) -> Parameters:
    return Parameters(
        deflate.server_no_context_takeover,
        deflate.client_no_context_takeover,
        deflate.server_max_window_bits,
        deflate.client_max_window_bits or 0,
    )


def _matches(answer: Parameters, offered: Parameters) -> bool:
    """True if a server may send this response to this offer."""
    if offered.server_no_context_takeover and not answer.server_no_context_takeover:
        return False
    if answer.of(Role.SERVER)[0] > offered.of(Role.SERVER)[0]:
        return False
    return (answer.client_max_window_bits or 0) <= offered.of(Role.CLIENT)[0]


def _read(items: Sequence[tuple[str, str | None]], *, answer: bool) -> Parameters | None:
    """Parse the parameters; return None if one is unknown, repeated, or has an invalid value (RFC 7692 section 7.1)."""
    values: dict[str, Any] = {}
    for name, text in items:
        value: bool | int | None = None
        if name in ("server_no_context_takeover", "client_no_context_takeover"):
            value = True if text is None else None
        elif name in ("server_max_window_bits", "client_max_window_bits"):
            if text is not None:
                value = _BITS.get(text)
            elif name == "client_max_window_bits" and not answer:
                value = 0
        if value is None or name in values:
            return None
        values[name] = value
    return Parameters(**values)


#: "a decimal integer value without leading zeroes between 8 to 15, inclusive"
_BITS = {str(bits): bits for bits in range(8, 16)}
