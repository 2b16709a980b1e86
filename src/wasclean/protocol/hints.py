"""Guesses at what is behind the end of a connection; each says something that one can check or change."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from itertools import pairwise

from .intermediaries import Ending, Kind, Limit, matching
from .outcome import Cause, FrameNote, Outcome
from .registry import CloseCode, Opcode
from .wording import bytes_text, listed, say, seconds_text, text_of

LARGE = 32 << 10  # bytes of a message that some limit on the way may refuse; a common low one is 32 KiB
SOON = 2.0  # seconds within which such a limit would strike

#: What the status of an answer to the opening handshake suggests.
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

_NO_NAME = "the name is misspelt, or the network's name server does not know it"
_NO_WAY = "this machine has no way to that address: there is no network, or a VPN or IPv6 is missing"

#: What the text of an error suggests: the first of these that occurs in it counts.
_SIGNS = {
    f"[Errno {errno.ECONNREFUSED}]": "nothing listens on that port; check the port, and whether the server runs",
    f"[Errno {errno.ENOENT}]": "there is no socket at that path; check the path, and whether the server runs",
    f"[Errno {errno.EHOSTUNREACH}]": _NO_WAY,
    f"[Errno {errno.ENETUNREACH}]": _NO_WAY,
    f"[Errno {errno.ETIMEDOUT}]": "packets got no answer: a firewall drops them, or nobody has that address any more",
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
}

#: What the code of the peer's Close frame suggests.
_CODES: dict[int, str] = {
    CloseCode.PROTOCOL_ERROR: "one of the two libraries has an error, or something on the way changes what passes",
    CloseCode.UNSUPPORTED_DATA: "{peer} takes only text, or only binary; send it the other kind",
    CloseCode.INVALID_FRAME_PAYLOAD_DATA: "{peer} could not read a message, such as JSON that is not well-formed",
    CloseCode.POLICY_VIOLATION: "{peer} wants a login, or a limit was exceeded there; its log may tell",
    CloseCode.MESSAGE_TOO_BIG: "{us} sent a message larger than {peer} takes; send less at once, or raise its limit",
    CloseCode.INTERNAL_ERROR: "the program of {peer} raised an exception; its log may tell",
}

#: Codes with which a proxy may have ended a connection.
_UNSPECIFIC = {CloseCode.GOING_AWAY, CloseCode.NO_STATUS_RCVD, CloseCode.ABNORMAL_CLOSURE}

#: How a limit on the way must have acted to be behind a cause.
_ENDINGS = {
    Cause.TCP_FIN: {Ending.CLOSES, Ending.UNKNOWN},
    Cause.TLS_TRUNCATED: {Ending.CLOSES, Ending.UNKNOWN},
    Cause.TCP_RESET: {Ending.CLOSES, Ending.RESETS, Ending.FORGETS, Ending.UNKNOWN},
    Cause.PEER_CLOSE: {Ending.UNKNOWN},
    Cause.PING_TIMEOUT: {Ending.FORGETS},
}


def _guess_limit(outcome: Outcome) -> str:
    """A limit of silence or of age that something on the way has."""
    stats, endings = outcome.stats, _ENDINGS[outcome.cause]
    if stats.age is None or outcome.code not in _UNSPECIFIC:
        return ""
    silence = min(age for age in (stats.last_received, stats.last_sent, stats.age) if age is not None)
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


def _pause(frames: Sequence[FrameNote]) -> float:
    """Seconds of the longest time between two frames since the last one that arrived."""
    last = max((place for place, frame in enumerate(frames) if not frame.sent), default=0)
    return max((before.age - after.age for before, after in pairwise(frames[last:])), default=0.0)


def _guess_size(outcome: Outcome) -> str:
    """A limit of the size of a message, when the last one was large."""
    size, age = 0, SOON
    for frame in outcome.frames:
        if frame.sent and frame.opcode < Opcode.CLOSE:
            size, age = frame.size + (size if frame.opcode is Opcode.CONTINUATION else 0), frame.age
    if size < LARGE or age >= SOON:
        return ""
    return say(
        outcome,
        "{peer}, or something on the way, does not take messages as large as the last one, of which {size} was sent; "
        "send less at once, or raise the limit there",
        size=bytes_text(size),
    )


def _guess_error(outcome: Outcome) -> str:
    text = outcome.detail + ("" if outcome.exception is None else text_of(outcome.exception))
    return next((guess for sign, guess in _SIGNS.items() if sign in text), "")


def _guess_status(outcome: Outcome) -> str:
    return "" if outcome.response is None else _STATUSES.get(outcome.response.status, "")


def _guess_code(outcome: Outcome) -> str:
    return say(outcome, _CODES.get(int(outcome.code), ""))


_BLOCKED = "the program of {peer} is blocked or does not read, or the network on the way is gone"

#: What may be behind a cause: the first of these that says something counts.
_GUESSES: dict[Cause, tuple[str | Callable[[Outcome], str], ...]] = {
    Cause.PEER_CLOSE: (_guess_limit, _guess_code),
    Cause.PEER_REPORTED_ERROR: (_guess_code,),
    Cause.CONNECT_FAILED: (_guess_error,),
    Cause.PROXY_FAILED: (_guess_status, _guess_error),
    Cause.TLS_FAILED: (_guess_error,),
    Cause.OPEN_TIMEOUT: ("{peer} does not speak WebSocket or is overloaded, or a firewall drops what is sent to it",),
    Cause.HANDSHAKE_REJECTED: (_guess_status,),
    Cause.HANDSHAKE_INVALID: ("{peer} is not made for WebSockets, or a proxy on the way changes what passes",),
    Cause.TCP_FIN: (_guess_size, _guess_limit, "the program of {peer} or a proxy on the way ended or was restarted"),
    Cause.TCP_FIN_MID_FRAME: (_guess_size, "the program of {peer} crashed or was killed while it was sending"),
    Cause.TCP_RESET: (
        *(_guess_size, _guess_limit, _guess_error),
        "the program of {peer} crashed or was killed, or ended TCP while there was something that it had not read",
    ),
    Cause.TLS_TRUNCATED: (_guess_size, _guess_limit, "nobody meant harm: many programs and proxies end TCP like that"),
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
        "the WebSocket library of {peer} has an error, or something on the way changes what passes",
    ),
    Cause.INVALID_UTF8: ("{peer} sends binary data as text; let it send that as a binary message",),
    Cause.MESSAGE_TOO_BIG: ("such messages are meant to be, and max_message_size is too low for them",),
    Cause.POLICY: ("the limit is too low for what {peer} has to send",),
    Cause.SLOW_CONSUMER: (
        "the program of {peer} is blocked, or it or the network is too slow; await send(), which waits, or send less",
    ),
    Cause.INTERNAL_ERROR: (
        "unless memory ran out, this is an error of the library; please report it, with what the log says",
    ),
}


def guess(outcome: Outcome) -> str:
    """What may be behind the end, as a clause without a full stop; empty if there is nothing to be guessed."""
    for hint in _GUESSES.get(outcome.cause, ()):
        if text := say(outcome, hint) if isinstance(hint, str) else hint(outcome):
            return text
    return ""


def _name(limits: list[Limit]) -> str:
    """Those limits, all of the same length, as a clause."""
    names = [f"{limit.who}'s {limit.setting}" for limit in limits]
    shown = listed(names) if len(names) <= 3 else f"{listed(names[:2])}, among others,"
    return f"{shown} {'is' if len(names) == 1 else 'are'} {seconds_text(limits[0].seconds)}"
