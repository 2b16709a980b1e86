"""An Outcome in words, for a person who has never read RFC 6455.

Facts come from the Outcome alone, and what it does not know is not said; a guess is labelled as one. What the peer or
the system wrote is shown escaped, and of a message only its size. Most words are in tables: ``{us}`` is this end and
``{peer}`` the other one there, and a capital letter begins a sentence.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from textwrap import fill

from .intermediaries import Ending, Kind, Limit, matching
from .outcome import Cause, FrameNote, Initiator, Outcome, Phase, count, one_line
from .registry import CloseCode, CloseFrame, Opcode, Role, describe_code

WIDTH = 79  # columns of a line, where words allow
MAX_FRAMES = 8  # of the last frames are listed
MAX_DETAIL = 300  # characters are shown of what others wrote
LARGE = 32 << 10  # bytes of a message that some limit on the way may refuse; a common low one is 32 KiB
SOON = 2.0  # seconds within which such a limit would strike

#: What happened.
_HEADLINES = {
    Cause.LOCAL_CLOSE: "{Us} closed the connection with close().",
    Cause.PEER_CLOSE: "{Peer} closed the connection.",
    Cause.PEER_REPORTED_ERROR: "{Peer} closed the connection because it objected to something that {us} had sent.",
    Cause.TERMINATED: "{Us} dropped the connection with terminate(), which leaves out the closing handshake.",
    Cause.CANCELLED: "The task that the connection belonged to was cancelled, so {us} ended the connection.",
    Cause.HANDLER_RETURNED: "The function that handled the connection returned, so {us} closed the connection.",
    Cause.HANDLER_ERROR: "The function that handled the connection raised an exception, so {us} closed it.",
    Cause.SERVER_SHUTDOWN: "{Server} was shutting down, which ended the connection.",
    Cause.PROCESS_EXIT: "The program, or its event loop, was ending, so {us} ended the connection.",
    Cause.CONNECT_FAILED: "{Us} could not connect to {peer}.",
    Cause.PROXY_FAILED: "The proxy made no connection to {server}.",
    Cause.TLS_FAILED: "TLS, the encryption of a wss: URL, could not be set up with {peer}, so there was no connection.",
    Cause.OPEN_TIMEOUT: "Opening the connection took longer than open_timeout, so {us} gave up.",
    Cause.HANDSHAKE_REJECTED: "{Server} refused the opening handshake, so there was no connection.",
    Cause.HANDSHAKE_INVALID: "What {peer} said in the opening handshake broke the rules, so there was no connection.",
    Cause.TCP_FIN: "{Peer}, or something on the way to it, ended TCP without a farewell.",
    Cause.TCP_FIN_MID_FRAME: "{Peer}, or something on the way to it, ended TCP in the middle of a message.",
    Cause.TCP_RESET: "The connection was broken off: TCP was reset, or the network reported an error.",
    Cause.TLS_TRUNCATED: "TCP ended although TLS had not said that it would, so somebody may have cut the connection.",
    Cause.PING_TIMEOUT: "{Us} sent a ping, and nothing came from {peer} within ping_timeout, so {us} gave up.",
    Cause.CLOSE_TIMEOUT: "The closing handshake was not complete within close_timeout, so {us} ended TCP without it.",
    Cause.WRITE_TIMEOUT: "{Peer} took nothing of what {us} sent for as long as write_timeout, so {us} gave up.",
    Cause.IDLE_TIMEOUT: "No message had passed for as long as idle_timeout, so {us} closed the connection.",
    Cause.MAX_LIFETIME: "The connection had become as old as max_lifetime, so {us} closed it.",
    Cause.LOOP_STALLED: "The event loop of {us} was blocked while the answer to a ping was due, so {us} could not tell "
    "whether {peer} was still there, and ended the connection.",
    Cause.SUSPENDED: "This machine had been asleep, and nothing came from {peer} after it had woken up.",
    Cause.PROTOCOL_ERROR: "{Peer} broke a rule of the WebSocket protocol, so {us} ended the connection.",
    Cause.INVALID_UTF8: "{Peer} sent text that is not UTF-8, so {us} ended the connection.",
    Cause.MESSAGE_TOO_BIG: "{Peer} sent a message larger than max_message_size, so {us} ended the connection.",
    Cause.POLICY: "{Peer} exceeded a limit, so {us} ended the connection.",
    Cause.SLOW_CONSUMER: "{Us} sent faster than {peer} took it, until more than max_buffered_amount was waiting, so "
    "{us} ended the connection.",
    Cause.INTERNAL_ERROR: "{Us} ran out of memory, or met an error inside the library, and ended the connection.",
}

#: The same where the connection was never open.
_HEADLINES_OF_ATTEMPTS = {
    Cause.LOCAL_CLOSE: "{Us} gave up before the connection was open: close() was called.",
    Cause.TERMINATED: "{Us} gave up before the connection was open: terminate() was called.",
    Cause.CANCELLED: "{Us} gave up before the connection was open: the task that was opening it was cancelled.",
    Cause.PROCESS_EXIT: "{Us} gave up before the connection was open: the program, or its event loop, was ending.",
    Cause.TCP_FIN: "{Peer}, or something on the way to it, ended TCP before the connection was open.",
    Cause.TCP_RESET: "TCP was reset, or the network reported an error, before the connection was open.",
    Cause.TLS_TRUNCATED: "TCP ended before the connection was open, although TLS had not said that it would.",
}

#: "That happened while ..."
_PHASES = {
    Phase.DNS: "the name of {server} was being looked up",
    Phase.TCP: "TCP was being connected",
    Phase.PROXY: "the proxy was being asked for a connection",
    Phase.TLS: "TLS was being set up",
    Phase.HTTP: "the opening handshake with {peer} was under way",
}
_PHASE_IS_PLAIN = {Cause.PROXY_FAILED, Cause.TLS_FAILED, Cause.HANDSHAKE_REJECTED, Cause.HANDSHAKE_INVALID}

#: How a clean end went.
_FAREWELLS = {
    Initiator.LOCAL: "{Us}'s Close frame had {sent}, {peer} answered with {received}, and TCP ended: a clean end.",
    Initiator.REMOTE: "{Peer}'s Close frame had {received}, {us} answered with {sent}, and TCP ended: a clean end.",
    Initiator.SIMULTANEOUS: "Each side sent a Close frame before it had seen the other's: {us} one with {sent}, {peer} "
    "one with {received}. Then TCP ended: a clean end.",
}

#: Whom the headline has named.
_SUBJECTS = {Cause.LOCAL_CLOSE: "{Us}", Cause.PEER_CLOSE: "{Peer}", Cause.PEER_REPORTED_ERROR: "{Peer}"}

#: Causes after which this end does not read any more, so that a Close frame may have come or not.
_DEAF = {Cause.PROTOCOL_ERROR, Cause.INVALID_UTF8, Cause.MESSAGE_TOO_BIG, Cause.POLICY, Cause.INTERNAL_ERROR}

#: "Code 1000 means that ..."
_MEANINGS: dict[int, str] = {
    CloseCode.NORMAL_CLOSURE: "the connection had served its purpose",
    CloseCode.GOING_AWAY: "its sender was going away: a server that stops, or a page that is left",
    CloseCode.PROTOCOL_ERROR: "its sender saw a rule of the protocol broken",
    CloseCode.UNSUPPORTED_DATA: "its sender cannot use the kind of message that it got, such as binary instead of text",
    CloseCode.NO_STATUS_RCVD: "the Close frame had no code, which is allowed",
    CloseCode.ABNORMAL_CLOSURE: "no Close frame arrived, as without a connection none can",
    CloseCode.INVALID_FRAME_PAYLOAD_DATA: "its sender got a message that was not what it should be, as broken text is",
    CloseCode.POLICY_VIOLATION: "its sender does not allow something that was done",
    CloseCode.MESSAGE_TOO_BIG: "its sender got a message larger than it takes",
    CloseCode.MANDATORY_EXTENSION: "its sender needs an extension that the server did not agree to",
    CloseCode.INTERNAL_ERROR: "its sender met an error of its own",
    CloseCode.SERVICE_RESTART: "the server was restarting",
    CloseCode.TRY_AGAIN_LATER: "the server could not serve the connection then; later it may",
    CloseCode.BAD_GATEWAY: "the server is a gateway, and the server behind it gave no valid answer",
    CloseCode.TLS_HANDSHAKE: "TLS failed; no Close frame ever has it",
}


def explain(outcome: Outcome) -> str:
    """What happened, who did it, what the code means, what may be lost, a guess at what is behind it, the last frames.

    Returns:
        Lines: a paragraph, maybe one that begins with ``A guess:``, and a table of frames. They have no control
        characters, and never anything of a message but its size.
    """
    steps = (_headline, _particulars, _farewell, _meaning, _history, _loss)
    lines = [_wrap(" ".join(filter(None, (step(outcome) for step in steps))))]
    guess = _guess(outcome)
    if guess:
        lines.append(_wrap(f"A guess: {guess}."))
    return "\n".join(lines + _list_frames(outcome.frames[-MAX_FRAMES:])).replace("\xa0", " ")


# The facts.


def _headline(outcome: Outcome) -> str:
    cause, phase = outcome.cause, outcome.phase
    headline = _HEADLINES[cause]
    if outcome.stats.age is None:
        headline = _HEADLINES_OF_ATTEMPTS.get(cause, headline)
    if phase is not None and cause not in _PHASE_IS_PLAIN:
        headline += f" That happened while {_PHASES[phase]}."
    return _say(outcome, headline)


def _particulars(outcome: Outcome) -> str:
    detail, exception, violation, response = outcome.detail, outcome.exception, outcome.violation, outcome.response
    parts = []
    if violation is not None:
        parts.append(f"What was wrong: {violation}.")
    if detail.strip(" .") and (violation is None or violation.text not in detail):
        parts.append(f"In detail: {_shown(detail)}.")
    elif exception is not None and violation is None:
        # The text only of the system's errors: that of others may quote a message.
        text = f": {_text_of(exception)}" if isinstance(exception, OSError) else ""
        parts.append(f"The error was {_shown(type(exception).__name__ + text.rstrip(': '))}.")
    if response is not None and str(response.status) not in detail:
        parts.append(f"The answer had the HTTP status {response.status}.")
    return " ".join(parts)


def _farewell(outcome: Outcome) -> str:
    sent, received, initiator = outcome.sent, outcome.received, outcome.initiator
    text = "Both sides sent a Close frame, and TCP ended: a clean end."
    if outcome.was_clean:
        if sent is not None and received is not None:
            text = _FAREWELLS.get(initiator, text)
    elif received is not None:
        text = "{Peer} had sent a Close frame with {received}, but no answer to it left: the end was not clean."
        if sent is not None:
            text = "{Us} had sent a Close frame with {sent} and {peer} one with {received}, yet the end was not clean."
    elif outcome.stats.age is None:
        return ""
    else:
        text, so = "No Close frame, the goodbye of a WebSocket, came from {peer}", "that is what code 1006 means"
        if sent is not None and outcome.cause in _DEAF:
            text, so = "{Us} had sent a Close frame with {sent}, and did not wait for another", "hence the code 1006"
        elif sent is not None:
            text = "{Us} had sent a Close frame with {sent}, but none came from {peer}"
        text += f": {so}, and" if outcome.code == CloseCode.ABNORMAL_CLOSURE else ":"
        text += " the end was not clean."
    subject = _SUBJECTS.get(outcome.cause)
    if subject is not None and not _particulars(outcome):
        text = re.sub(f"^{re.escape(subject)}'?", "It", text)
    answer = outcome.was_clean and initiator  # whose initiative one of the frames answers, and so may not repeat
    return _say(
        outcome,
        text,
        sent=_content(sent, received if answer is Initiator.REMOTE else None),
        received=_content(received, sent if answer is Initiator.LOCAL else None),
    )


def _content(frame: CloseFrame | None, first: CloseFrame | None) -> str:
    """What a Close frame has in it, which may be the answer to another one."""
    if frame is not None and frame == first:
        return "the same"
    if frame is None or frame.code is None:
        return "no code"
    if first is not None and frame == (first.code, ""):
        return "the same code"
    reason = f" and the reason {frame.reason!r}" if frame.reason else ""
    return f"code {int(frame.code)} ({describe_code(frame.code)}){reason}"


def _meaning(outcome: Outcome) -> str:
    code = int(outcome.code)
    if code == CloseCode.ABNORMAL_CLOSURE and outcome.stats.age is not None:
        return ""  # the farewell has said it
    if code in _MEANINGS:
        return f"Code {code} means that {_MEANINGS[code]}."
    if 3000 <= code <= 3999:
        return f"Code {code} is one that a library or framework has defined."
    return f"Code {code} is the application's own: its authors know what it means." if 4000 <= code <= 4999 else ""


def _history(outcome: Outcome) -> str:
    stats = outcome.stats
    if stats.age is None:
        return ""
    sent = count(stats.messages_sent, "message") if stats.messages_sent else "no messages"
    received = f"{stats.messages_received:,}" if stats.messages_received else "none"
    text = f"The connection was open for {_seconds(stats.age)}, in which {{us}} sent {sent} and received {received}"
    arrived, left = stats.last_received, stats.last_sent
    if not outcome.was_clean and arrived is not None and left is not None:
        if abs(arrived - left) <= 0.05 * (arrived + left):
            text += f"; nothing passed in the last {_seconds(min(arrived, left))}"
        else:
            text += (
                f"; the last byte came in {_seconds(arrived)} before the end, the last went out {_seconds(left)} before"
            )
    return _say(outcome, f"{text}.")


def _loss(outcome: Outcome) -> str:
    stats, unsent, held, dropped = outcome.stats, len(outcome.unsent), outcome.unflushed_bytes, outcome.discarded
    parts = []
    if unsent:
        them = "it" if unsent == 1 else "them"
        whole = "completely sent" if outcome.cause is Cause.TCP_RESET else "sent"
        size = f" ({_bytes(stats.buffered)})" if stats.buffered else ""
        parts.append(f"{count(unsent, 'message')}{size} {_was(unsent)} not {whole}; the attribute unsent holds {them}.")
    if held:
        parts.append(f"{_bytes(held)} had left the program but may not have reached {{peer}}.")
    if dropped:
        parts.append(f"{_bytes(dropped)} of messages arrived and {_was(dropped)} not delivered.")
    if not parts and outcome.was_clean and outcome.initiator is Initiator.LOCAL:
        parts.append("Nothing is lost: what either side had sent has arrived.")
    elif not parts and outcome.was_clean:
        parts.append("Nothing is lost of what {peer} sent, and {us} has sent all that it had.")
    elif not parts and stats.age is None:
        parts.append("No message is lost, for none had been sent.")
    elif not outcome.was_clean and stats.age is not None:
        doubts = ["whether {peer} got the last of what {us} sent"] if stats.messages_sent else []
        doubts += ["whether all that {peer} sent has arrived"] if outcome.received is None else []
        parts += [f"It is not known {', or '.join(doubts)}."] if doubts else []
    return _say(outcome, " ".join(parts))


def _list_frames(frames: Sequence[FrameNote]) -> list[str]:
    if not frames:
        return []
    kinds, sizes = [_kind(frame) for frame in frames], [count(frame.size, "byte") for frame in frames]
    width, end = max(map(len, kinds)), max(map(len, sizes))
    lines = ["The last frame:" if len(frames) == 1 else f"The last {len(frames)} frames:"]
    for frame, kind, size in zip(frames, kinds, sizes, strict=True):
        way = "sent" if frame.sent else "received"
        lines.append(f"  {way:8}  {kind:{width}}  {size:>{end}}  {_seconds(frame.age)} before the end")
    return lines


def _kind(frame: FrameNote) -> str:
    if frame.opcode is Opcode.CONTINUATION:
        return "last part" if frame.fin else "next part"
    return frame.opcode.name.lower() + ("" if frame.fin else ", first part")


# The guesses.

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
        after = f"a proxy on the way ended the connection after {_seconds(silence)} of silence"
        return f"{after}: {_name(found)}; set ping_interval below that"
    if found := matching(Kind.LIFETIME, stats.age, endings):
        after = f"a proxy on the way ended the connection after {_seconds(stats.age)} of life"
        return f"{after}: {_name(found)}, however much passes; be ready to connect again"
    if found := matching(Kind.IDLE, _pause(outcome.frames), endings & {Ending.FORGETS}):
        who = {limit.seconds: f"{limit.who} after {_seconds(limit.seconds)}" for limit in reversed(found)}
        names = _list([who[seconds] for seconds in sorted(who)[:3]]).replace(" after", " does after", 1)
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
    return _say(
        outcome,
        "{peer}, or something on the way, does not take messages as large as the last one, of which {size} was sent; "
        "send less at once, or raise the limit there",
        size=_bytes(size),
    )


def _guess_error(outcome: Outcome) -> str:
    text = outcome.detail + ("" if outcome.exception is None else _text_of(outcome.exception))
    return next((guess for sign, guess in _SIGNS.items() if sign in text), "")


def _guess_status(outcome: Outcome) -> str:
    return "" if outcome.response is None else _STATUSES.get(outcome.response.status, "")


def _guess_code(outcome: Outcome) -> str:
    return _say(outcome, _CODES.get(int(outcome.code), ""))


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


def _guess(outcome: Outcome) -> str:
    for guess in _GUESSES.get(outcome.cause, ()):
        if text := _say(outcome, guess) if isinstance(guess, str) else guess(outcome):
            return text
    return ""


# The words.


def _say(outcome: Outcome, template: str, **values: str) -> str:
    us, peer = ("this client", "the server") if outcome.role is Role.CLIENT else ("this server", "the client")
    names = {"us": us, "peer": peer, "server": us if outcome.role is Role.SERVER else peer}
    return template.format(**names, **{key.capitalize(): name.capitalize() for key, name in names.items()}, **values)


def _wrap(text: str) -> str:
    return fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def _shown(text: str) -> str:
    """What others wrote: not at length, and without its full stop."""
    text = one_line(text).strip(" .")
    return text if len(text) <= MAX_DETAIL else text[:MAX_DETAIL] + "..."


def _text_of(exception: BaseException) -> str:
    try:
        return str(exception)
    except Exception:  # somebody's class
        return ""


def _name(limits: list[Limit]) -> str:
    """Those limits, all of the same length, as a clause."""
    names = [f"{limit.who}'s {limit.setting}" for limit in limits]
    shown = _list(names) if len(names) <= 3 else f"{_list(names[:2])}, among others,"
    return f"{shown} {'is' if len(names) == 1 else 'are'} {_seconds(limits[0].seconds)}"


def _list(words: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


# A line does not end between a number and its unit: there is a no-break space until the lines have been made.


def _seconds(seconds: float) -> str:
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f}\xa0ms" if seconds >= 0.0005 else "less than 1\xa0ms"
    if seconds < 600:
        return f"{seconds:.1f}".removesuffix(".0") + "\xa0s"
    if seconds < 7200:
        return f"{seconds / 60:.0f}\xa0min"
    if seconds < 172_800:
        return f"{seconds / 3600:.1f}".removesuffix(".0") + "\xa0h"
    return f"{seconds / 86_400:,.0f}\xa0days"


def _bytes(number: int) -> str:
    if number < 10_000:
        return count(number, "byte")
    amount, unit = (number / 1000, "KB") if number < 999_950 else (number / 1_000_000, "MB")
    return f"{amount:,.1f}".removesuffix(".0") + f"\xa0{unit}"


def _was(number: int) -> str:
    return "was" if number == 1 else "were"
