"""Explains an Outcome in words, for readers who do not know RFC 6455.

The text states only facts that are in the Outcome; a guess (hints.py) is labelled as one. Text of the peer or of the
system is escaped. Messages are never quoted, except for bytes that are not UTF-8. Most of the wording is in tables,
whose placeholders are those of wording.say().
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..model.registry import CloseCode, CloseFrame, Opcode, describe_code
from ..model.wording import bytes_text, count, say, seconds_text, shown, text_of, wrap
from .hints import guess
from .outcome import Cause, FrameNote, Initiator, Outcome, Phase, body_text

MAX_FRAMES = 8  # frames in the list at the end

#: First sentence, by cause.
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
    Cause.TLS_FAILED: "What came from {peer}, or from something on the way, broke the rules of TLS, the encryption.",
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

#: First sentence for a connection that was never open, where it differs.
_HEADLINES_OF_ATTEMPTS = {
    Cause.LOCAL_CLOSE: "{Us} gave up before the connection was open: close() was called.",
    Cause.TERMINATED: "{Us} gave up before the connection was open: terminate() was called.",
    Cause.CANCELLED: "{Us} gave up before the connection was open: the task that was opening it was cancelled.",
    Cause.PROCESS_EXIT: "{Us} gave up before the connection was open: the program, or its event loop, was ending.",
    Cause.TCP_FIN: "{Peer}, or something on the way to it, ended TCP before the connection was open.",
    Cause.TCP_RESET: "TCP was reset, or the network reported an error, before the connection was open.",
    Cause.TLS_FAILED: "TLS, the encryption of a wss: URL, could not be set up with {peer}, so there was no connection.",
    Cause.TLS_TRUNCATED: "TCP ended before the connection was open, although TLS had not said that it would.",
}

#: "That happened while ..."
_PHASES = {
    Phase.QUEUED: "{us} was waiting for another connection to the same host and port to be opened first",
    Phase.DNS: "the name of {server} was being looked up",
    Phase.TCP: "TCP was being connected",
    Phase.PROXY: "the proxy was being asked for a connection",
    Phase.TLS: "TLS was being set up",
    Phase.HTTP: "the opening handshake with {peer} was under way",
}
_PHASE_IS_PLAIN = {Cause.PROXY_FAILED, Cause.TLS_FAILED, Cause.HANDSHAKE_REJECTED, Cause.HANDSHAKE_INVALID}

#: The sentence about the Close frames of a clean end, by initiator.
_FAREWELLS = {
    Initiator.LOCAL: "{Us}'s Close frame had {sent}, {peer} answered with {received}, and TCP ended: a clean end.",
    Initiator.REMOTE: "{Peer}'s Close frame had {received}, {us} answered with {sent}, and TCP ended: a clean end.",
    Initiator.SIMULTANEOUS: "Each side sent a Close frame before it had seen the other's: {us} one with {sent}, {peer} "
    "one with {received}. Then TCP ended: a clean end.",
}

#: The subject of a headline that a following sentence may refer to as "It".
_SUBJECTS = {Cause.LOCAL_CLOSE: "{Us}", Cause.PEER_CLOSE: "{Peer}", Cause.PEER_REPORTED_ERROR: "{Peer}"}

#: Causes after which this end stops reading, so it is unknown whether the peer sent a Close frame.
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
    """Explain the end of a connection: the event, its initiator, the close code, possible losses, the last frames.

    Returns:
        Lines without control characters: a paragraph, optionally one that begins with ``A guess:``, and a list of
        frames.
    """
    steps = (_headline, _particulars, _farewell, _meaning, _history, _loss)
    lines = [wrap(" ".join(filter(None, (step(outcome) for step in steps))))]
    if hint := guess(outcome):
        lines.append(wrap(f"A guess: {hint}."))
    return "\n".join(lines + _list_frames(outcome.frames[-MAX_FRAMES:])).replace("\xa0", " ")


# The facts.


def _headline(outcome: Outcome) -> str:
    cause, phase = outcome.cause, outcome.phase
    headline = _HEADLINES[cause]
    if outcome.stats.age is None:
        headline = _HEADLINES_OF_ATTEMPTS.get(cause, headline)
    if phase is not None and cause not in _PHASE_IS_PLAIN:
        headline += f" That happened while {_PHASES[phase]}."
    return say(outcome.role, headline)


def _particulars(outcome: Outcome) -> str:
    detail, exception, violation, response = outcome.detail, outcome.exception, outcome.violation, outcome.response
    parts = []
    if violation is not None:
        said = violation.text in detail  # the usual case: the detail is the text plus what the peer sent
        parts.append(f"What was wrong: {shown(detail) if said else violation}.")
        detail = "" if said else detail
    if detail.strip(" ."):
        parts.append(f"In detail: {shown(detail)}.")
    elif exception is not None and violation is None:
        # The text is shown for errors of the system only, because that of other exceptions may quote a message.
        text = f": {text_of(exception)}" if isinstance(exception, OSError) else ""
        parts.append(f"The error was {shown(type(exception).__name__ + text.rstrip(': '))}.")
    if response is not None and str(response.status) not in detail:
        parts.append(f"The answer had the HTTP status {response.status}.")
    if response is not None and (body := body_text(response)):
        parts.append(f"It said: {shown(body)}.")
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
    answer = outcome.was_clean and initiator  # the initiator, if the other end's frame is an answer to its frame
    return say(
        outcome.role,
        text,
        sent=_content(sent, received if answer is Initiator.REMOTE else None),
        received=_content(received, sent if answer is Initiator.LOCAL else None),
    )


def _content(frame: CloseFrame | None, first: CloseFrame | None) -> str:
    """Describe the content of a Close frame; ``first`` is the frame that it answers, if any."""
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
        return ""  # _farewell() explains 1006
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
    text = f"The connection was open for {seconds_text(stats.age)}, in which {{us}} sent {sent} and received {received}"
    arrived, left = stats.last_received, stats.last_sent
    if not outcome.was_clean and arrived is not None and left is not None:
        if abs(arrived - left) <= 0.05 * (arrived + left):
            text += f"; nothing passed in the last {seconds_text(min(arrived, left))}"
        else:
            came, went = seconds_text(arrived), seconds_text(left)
            text += f"; the last byte came in {came} before the end, the last went out {went} before"
    return say(outcome.role, f"{text}.")


def _loss(outcome: Outcome) -> str:
    stats, unsent, held, dropped = outcome.stats, len(outcome.unsent), outcome.unflushed_bytes, outcome.discarded
    parts = []
    if unsent:
        them = "it" if unsent == 1 else "them"
        whole = "completely sent" if outcome.cause is Cause.TCP_RESET else "sent"
        size = f" ({bytes_text(stats.buffered)})" if stats.buffered else ""
        parts.append(f"{count(unsent, 'message')}{size} {_was(unsent)} not {whole}; the attribute unsent holds {them}.")
    if held:
        parts.append(f"{bytes_text(held)} had left the program but may not have reached {{peer}}.")
    if dropped:
        parts.append(f"{bytes_text(dropped)} of messages arrived and {_was(dropped)} not delivered.")
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
    return say(outcome.role, " ".join(parts))


def _list_frames(frames: Sequence[FrameNote]) -> list[str]:
    if not frames:
        return []
    kinds, sizes = [_kind(frame) for frame in frames], [count(frame.size, "byte") for frame in frames]
    notes = [", compressed" if frame.compressed else "" for frame in frames]
    width, end, rest = (max(map(len, column)) for column in (kinds, sizes, notes))
    lines = ["The last frame:" if len(frames) == 1 else f"The last {len(frames)} frames:"]
    for frame, kind, size, note in zip(frames, kinds, sizes, notes, strict=True):
        way = "sent" if frame.sent else "received"
        lines.append(f"  {way:8}  {kind:{width}}  {size:>{end}}{note:{rest}}  {seconds_text(frame.age)} before the end")
    return lines


def _kind(frame: FrameNote) -> str:
    if frame.opcode is Opcode.CONTINUATION:
        return "last part" if frame.fin else "next part"
    return frame.opcode.name.lower() + ("" if frame.fin else ", first part")


def _was(number: int) -> str:
    return "was" if number == 1 else "were"
