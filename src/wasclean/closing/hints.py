"""Guesses at the reason behind the end of a connection. Each names something that the reader can check or change."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from itertools import pairwise

from ..model.registry import CloseCode, Opcode
from ..model.violations import Violation
from ..model.wording import bytes_text, listed, say, seconds_text, text_of
from .intermediaries import Ending, Kind, Limit, matching
from .outcome import Cause, FrameNote, Outcome, Phase, Stats, body_text

PAUSE = 2.0  # seconds of silence before the end from which an unknown idle timeout is guessed
LARGE = 32 << 10  # bytes of a message from which a size limit is guessed; 32 KiB is a common low limit
SOON = 2.0  # seconds between such a message and the end, at most

#: Guess by the status of the server's response to the opening handshake.
_STATUSES = {
    200: "the URL is that of a page and not of a WebSocket; check its path",
    401: "the server wants to know who asks: a password or token is missing, wrong or out of date",
    403: "the server does not admit this Origin, or these credentials; see origin= here and the list of origins there",
    404: "the path of the URL is wrong, or a proxy in front of the server does not know it",
    407: "the proxy wants a user name and a password",
    426: "the server wants another version of the protocol, or a proxy before it does not pass the Upgrade header on",
    429: "these were too many attempts or connections; wait before the next, and longer after each",
    500: "the server met an error of its own; its log may tell",
    502: "a gateway gave the answer, and the server behind it is down",
    503: "the server is overloaded, starting or shutting down; try again later",
    504: "a gateway gave the answer, and the server behind it is down or too slow",
    **dict.fromkeys((301, 302, 303, 307, 308), "the server wants another URL; the answer's header Location gives it"),
    400: "a proxy before the server does not pass the Upgrade header on, or the server does not speak WebSocket",
}

#: Guess by the status of a proxy's response.
_PROXY_STATUSES = {
    403: "the proxy does not let this program connect to that host and port",
    407: "the proxy wants a user name and a password: write them into its URL, http://user:password@host:port",
    **dict.fromkeys((502, 503, 504), "the proxy found no way to the server, which may be down or unknown to it"),
    **dict.fromkeys((400, 404, 405, 501), "what is at that address is no proxy, or makes no tunnels (CONNECT)"),
}

#: Texts in the response of nginx, Go and Apache to a request without TLS on a TLS port, in lower case.
_WANTS_TLS = ("sent to https port", "http request to an https server", "speaking plain http to an ssl-enabled")

_TLS_PORT = "the port speaks TLS, so the URL has to begin with wss: instead of ws:"

#: Guess by a part of the error message, for an invalid response to the opening handshake.
_ANSWERS = {
    "it is TLS, not HTTP": _TLS_PORT,
    "so it is not HTTP but ": "another kind of server listens on that port; check the port",
    "picked none of the subprotocols": "the server speaks none of these, or its program does not name them "
    "(subprotocols=, if it is this library); offer one that it speaks, or none",
    "subprotocol that was not offered": "the server always speaks that one; offer it, with subprotocols=",
    "Sec-WebSocket-Accept": "a cache or another server gave the answer, or the server's library has an error",
    "extension": "the server's library has an error, or something on the way changes what passes",
}

_NO_NAME = "the name is misspelt, or the network's name server does not know it"
_NO_WAY = "this machine has no way to that address: there is no network, or a VPN or IPv6 is missing"

_DESERTED = (
    "the port speaks TLS and the URL begins with ws: where it has to be wss:, or the program there is no WebSocket "
    "server, does not take connections from here, or ended"
)

#: Guess by a part of the text of an error; the first match counts.
_SIGNS = {
    f"[Errno {errno.ECONNREFUSED}]": "nothing listens on that port; check the port, and whether the server runs",
    f"[Errno {errno.ENOENT}]": "there is no socket at that path; check the path, and whether the server runs",
    f"[Errno {errno.EHOSTUNREACH}]": _NO_WAY,
    f"[Errno {errno.ENETUNREACH}]": _NO_WAY,
    f"[Errno {errno.ETIMEDOUT}]": "packets got no answer: a firewall drops them, or no machine has that address now",
    f"[Errno {errno.EMFILE}]": "the program has too many sockets or files open; raise its limit (ulimit -n)",
    "Name or service not known": _NO_NAME,
    "nodename nor servname": _NO_NAME,
    "Temporary failure in name resolution": "this machine has no network, or its name server is down",
    "WRONG_VERSION_NUMBER": "the port does not speak TLS; if it is not meant to, the URL begins with ws: and not wss:",
    "HTTP_REQUEST": "the client does not speak TLS; its URL begins with ws: where it has to be wss:",
    "has expired": "the certificate has not been renewed in time, or the clock of this machine is wrong",
    "signed certificate": "the server or its owner has made the certificate; give ssl= a context that trusts it",
    "local issuer": "the server leaves a certificate out of its chain, or this machine does not know its root",
    "mismatch": "the certificate is another name's; use the name that it was issued for, or set server_hostname",
    "HANDSHAKE_FAILURE": "the two sides have no cipher in common, or the server wants a certificate of the client",
    "PROTOCOL_VERSION": "the two sides have no version of TLS in common",
    "EOF occurred": "the port does not speak TLS, or something on the way forbids it",
    "in the handshake of TLS": "the port does not speak TLS, or something on the way forbids it",
    "before it had answered": _DESERTED,
}

#: Guess by phase, for an opening that took too long.
_DELAYS = {
    Phase.DNS: "the network's name server does not answer",
    Phase.TCP: "a firewall drops what is sent there, or no machine has that address",
    Phase.PROXY: "the proxy does not answer, or finds no way to the server",
    Phase.TLS: "the port does not speak TLS, or the server is overloaded",
}

#: Guess by violation; _GUESSES has one for all others.
_BREACHES = {
    Violation.RESERVED_BITS: "{peer} compresses messages although that was not agreed on, what it sends is no "
    "WebSocket frame, or something on the way changes what passes",
    Violation.CLOSE_CODE_RESERVED: "the program of {peer} gave its library a code that only an event may have, such as "
    "1005 or 1006",
    Violation.CLOSE_REASON_NOT_UTF8: "the program of {peer} cut a long reason inside a character, or did not encode it "
    "as UTF-8",
    Violation.FRAME_NOT_MASKED: "{peer} is no WebSocket client, or its library has an error",
    Violation.FRAME_MASKED: "{peer} is no WebSocket server, or its library has an error",
}

#: Guess by a part of the text of an error, for a proxy that could not be reached.
_PROXY_SIGNS = {
    f"[Errno {errno.ECONNREFUSED}]": "the proxy does not run, or its address is another one",
    f"[Errno {errno.ETIMEDOUT}]": "the proxy does not run, or its address is another one",
    "before it had answered": "what is at that address is no proxy, or does not serve this program",
    **dict.fromkeys(("Name or service not known", "nodename nor servname"), "the name of the proxy is misspelt"),
}

#: Guess by the close code that the peer sent.
_CODES: dict[int, str] = {
    CloseCode.PROTOCOL_ERROR: "one of the two libraries has an error, or something on the way changes what passes",
    CloseCode.UNSUPPORTED_DATA: "{peer} takes only text, or only binary; send it the other kind",
    CloseCode.INVALID_FRAME_PAYLOAD_DATA: "{peer} could not read a message, such as JSON that is not well-formed",
    CloseCode.POLICY_VIOLATION: "{peer} wants a login, or a limit was exceeded there; its log may tell",
    CloseCode.MESSAGE_TOO_BIG: "{us} sent a message larger than {peer} takes; send less at once, or raise its limit",
    CloseCode.INTERNAL_ERROR: "the program of {peer} raised an exception; its log may tell",
}

#: Codes that a connection may have if a proxy ended it.
_UNSPECIFIC = {CloseCode.GOING_AWAY, CloseCode.NO_STATUS_RCVD, CloseCode.ABNORMAL_CLOSURE}

#: Cause -> the behaviours of an intermediary's limit that would lead to it.
_ENDINGS = {
    Cause.TCP_FIN: {Ending.CLOSES, Ending.UNKNOWN},
    Cause.TLS_TRUNCATED: {Ending.CLOSES, Ending.UNKNOWN},
    Cause.TCP_RESET: {Ending.CLOSES, Ending.RESETS, Ending.FORGETS, Ending.UNKNOWN},
    Cause.PEER_CLOSE: {Ending.UNKNOWN},
    Cause.PING_TIMEOUT: {Ending.FORGETS},
}


def _guess_limit(outcome: Outcome) -> str:
    """Guess at an idle timeout or a maximum age of a known intermediary."""
    stats, endings = outcome.stats, _ENDINGS[outcome.cause]
    if stats.age is None or outcome.code not in _UNSPECIFIC:
        return ""
    silence = _silence(stats)
    if found := matching(Kind.IDLE, silence, endings - {Ending.FORGETS}):
        after = f"a proxy on the way ended the connection after {seconds_text(silence)} of silence"
        return f"{after}: {_name(found)}; set ping_interval below that"
    if found := matching(Kind.LIFETIME, stats.age, endings):
        after = f"a proxy on the way ended the connection after {seconds_text(stats.age)} of life"
        return f"{after}: {_name(found)}, however much passes; be ready to connect again"
    if found := matching(Kind.IDLE, _pause(outcome.frames), endings & {Ending.FORGETS}):
        who = {limit.seconds: f"{limit.who} after {seconds_text(limit.seconds)}" for limit in reversed(found)}
        names = listed([who[seconds] for seconds in sorted(who)[:3]]).replace(" after", " does after", 1)
        return f"something on the way forgot the silent connection, as {names}; set ping_interval below that"
    return ""


def _silence(stats: Stats) -> float:
    """Return the time before the end in which no byte was sent or received, in seconds."""
    return min((age for age in (stats.last_received, stats.last_sent, stats.age) if age is not None), default=0.0)


def _guess_silence(outcome: Outcome) -> str:
    """Guess at an unknown idle timeout, if the silence before the end was the longest."""
    silence, frames = _silence(outcome.stats), outcome.frames
    if silence < max(PAUSE, *(before.age - after.age for before, after in pairwise(frames)), 0.0):
        return ""
    return say(
        outcome.role,
        "{peer} or something on the way may end connections that are silent for {silence}, so set ping_interval "
        "below that; or the program of {peer}, or a proxy on the way, ended or was restarted",
        silence=seconds_text(silence),
    )


def _pause(frames: Sequence[FrameNote]) -> float:
    """Return the longest time between two frames since the last frame that was received, in seconds."""
    last = max((place for place, frame in enumerate(frames) if not frame.sent), default=0)
    return max((before.age - after.age for before, after in pairwise(frames[last:])), default=0.0)


def _guess_size(outcome: Outcome) -> str:
    """Guess at a size limit, if the last message sent was large."""
    size, age = 0, SOON
    for frame in outcome.frames:
        if frame.sent and frame.opcode < Opcode.CLOSE:
            size, age = frame.size + (size if frame.opcode is Opcode.CONTINUATION else 0), frame.age
    if size < LARGE or age >= SOON:
        return ""
    return say(
        outcome.role,
        "{peer}, or something on the way, does not take messages as large as the last one, of which {size} was sent; "
        "send less at once, or raise the limit there",
        size=bytes_text(size),
    )


def _guess_error(outcome: Outcome) -> str:
    return _SIGNS.get(_sign(outcome), "")


def _sign(outcome: Outcome) -> str:
    text = outcome.detail + ("" if outcome.exception is None else text_of(outcome.exception))
    return next((sign for sign in _SIGNS if sign in text), "")


def _guess_desertion(outcome: Outcome) -> str:
    return _DESERTED if outcome.phase is Phase.HTTP else ""


def _guess_answer(outcome: Outcome) -> str:
    return next((guess for sign, guess in _ANSWERS.items() if sign in outcome.detail), "")


def _guess_status(outcome: Outcome) -> str:
    response = outcome.response
    if response is None:
        return ""
    said = body_text(response).lower()
    return _TLS_PORT if any(words in said for words in _WANTS_TLS) else _STATUSES.get(response.status, "")


def _guess_proxy(outcome: Outcome) -> str:
    """Guess at a fault of the proxy; if it comes from the environment, add how to bypass it."""
    status = 0 if outcome.response is None else outcome.response.status
    guess = _PROXY_STATUSES.get(status) or _PROXY_SIGNS.get(_sign(outcome)) or _guess_error(outcome)
    if guess and "in the environment" in outcome.detail:
        guess += "; proxy=None, or an entry in no_proxy, goes past it"
    return guess


def _guess_delay(outcome: Outcome) -> str:
    if outcome.exception is not None and "the backlog of the Unix socket was full" in text_of(outcome.exception):
        return "the server has stopped accepting connections, or accepts them too slowly"
    return "" if outcome.phase is None else _DELAYS.get(outcome.phase, "")


def _guess_breach(outcome: Outcome) -> str:
    return "" if outcome.violation is None else say(outcome.role, _BREACHES.get(outcome.violation, ""))


def _guess_code(outcome: Outcome) -> str:
    return say(outcome.role, _CODES.get(int(outcome.code), ""))


_BLOCKED = "the program of {peer} is blocked or does not read, or the network on the way is gone"

#: Cause -> guesses, or functions that return one or an empty str; the first that is not empty counts.
_GUESSES: dict[Cause, tuple[str | Callable[[Outcome], str], ...]] = {
    Cause.PEER_CLOSE: (_guess_limit, _guess_code),
    Cause.PEER_REPORTED_ERROR: (_guess_code,),
    Cause.CONNECT_FAILED: (_guess_error, _guess_desertion),
    Cause.PROXY_FAILED: (_guess_proxy,),
    Cause.TLS_FAILED: (_guess_error,),
    Cause.OPEN_TIMEOUT: (
        _guess_delay,
        "{peer} does not speak WebSocket or is overloaded, or a firewall drops what is sent to it",
    ),
    Cause.HANDSHAKE_REJECTED: (_guess_status,),
    Cause.HANDSHAKE_INVALID: (
        _guess_answer,
        "{peer} is not made for WebSockets, or a proxy on the way changes what passes",
    ),
    Cause.TCP_FIN: (
        _guess_size,
        _guess_limit,
        _guess_silence,
        "the program of {peer} or a proxy on the way ended or was restarted",
    ),
    Cause.TCP_FIN_MID_FRAME: (
        _guess_size,
        "the program of {peer}, or a proxy on the way, crashed or was killed while it was sending",
    ),
    Cause.TCP_RESET: (
        _guess_size,
        _guess_limit,
        _guess_error,
        _guess_silence,
        "the program of {peer}, or a proxy on the way, crashed or was killed, or ended TCP while there was something "
        "that it had not read",
    ),
    Cause.TLS_TRUNCATED: (
        _guess_size,
        _guess_limit,
        _guess_silence,
        "nobody meant harm: many programs and proxies end TCP like that",
    ),
    Cause.PING_TIMEOUT: (
        _guess_limit,
        "the network on the way is gone, the machine of {peer} is off or asleep, or its program is blocked",
    ),
    Cause.CLOSE_TIMEOUT: (_BLOCKED,),
    Cause.WRITE_TIMEOUT: (_BLOCKED,),
    Cause.LOOP_STALLED: (
        "something in this program blocks the event loop, such as time.sleep(), the package requests or a long "
        "computation; use asyncio.sleep() or an asynchronous package, or run it in a thread with asyncio.to_thread()",
    ),
    Cause.SUSPENDED: ("the network forgot the connection, or this machine is in another network now; connect again",),
    Cause.PROTOCOL_ERROR: (
        _guess_breach,
        "the WebSocket library of {peer} has an error, or something on the way changes what passes",
    ),
    Cause.INVALID_UTF8: (
        _guess_breach,
        "{peer} sends binary data, or text in another encoding, as text; let it send that as a binary message, or as "
        "UTF-8",
    ),
    Cause.MESSAGE_TOO_BIG: ("if such messages are meant to be, max_message_size is too low for them",),
    Cause.POLICY: ("{peer} sends more than it should, or the limit is too low for what it has to send",),
    Cause.SLOW_CONSUMER: (
        "the program of {peer} is blocked, or it or the network is too slow; await send(), which waits, or send less",
    ),
    Cause.INTERNAL_ERROR: (
        "unless memory ran out, this is an error of the library; please report it, with what the log says",
    ),
}


def guess(outcome: Outcome) -> str:
    """Return a guess at the reason behind the end, a clause without a full stop; empty if there is none."""
    for hint in _GUESSES.get(outcome.cause, ()):
        if text := say(outcome.role, hint) if isinstance(hint, str) else hint(outcome):
            return text
    return ""


def _name(limits: list[Limit]) -> str:
    """Return a clause that names limits, all of which have the same number of seconds."""
    names = [f"{limit.who}'s {limit.setting}" for limit in limits]
    shown = listed(names) if len(names) <= 3 else f"{listed(names[:2])}, among others,"
    return f"{shown} {'is' if len(names) == 1 else 'are'} {seconds_text(limits[0].seconds)}"
