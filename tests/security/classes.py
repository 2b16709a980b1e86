"""The classes of vulnerabilities that were published for WebSocket implementations, by the row's number."""

from __future__ import annotations

from typing import NamedTuple


class Danger(NamedTuple):
    """One class.

    Attributes:
        what: the mistake, in words.
        answer: what wasclean does.
    """

    what: str
    answer: str


#: The parts, and the number of each one's first row.
PARTS = {
    1: "Lengths, integers, allocation",
    16: "Fragments, chunks, tiny frames",
    28: "Compression",
    42: "Control frames, the write side, floods",
    54: "Closing and the life of a connection",
    73: "The opening handshake, HTTP, injection",
    94: "Origins, credentials, TLS, masking, native code",
}

NUMBERS = [number for number in range(1, 107) if number != 45]  # there is no row 45

#: What is not shown yet, and why.
MISSING = {
    102: "memory errors of native code show in a build with a sanitizer, which these tests do not make",
}

#: What is not the library's to do, and what an application should know.
DOCUMENTED = {
    14: "Decode what a stranger sent (JSON, MessagePack, ...) only behind `max_message_size`, and with the decoder's "
    "own limits: a message of 1 MiB can declare arrays of any size.",
    26: "A protocol of yours that puts several messages together, such as a header that announces attachments, needs a "
    "limit of its own for what it keeps until they are complete.",
    90: "The library compares no secrets. Compare tokens and passwords with `hmac.compare_digest` on bytes, also for a "
    "user that does not exist.",
    96: "A proxy in front must pass on `Origin` and `Host` as they came: `origins=` compares them. One that replaces "
    "the `Host` needs `origins=[...]`; one that drops the `Origin` lets every page in.",
}

#: Rows of which another test asserts the very same, by attack and test.
ELSEWHERE = {
    24: (
        "a ping between two fragments, split at every place",
        "tests/wire/test_messages.py::test_pings_between_fragments_are_answered_at_once_wherever_the_bytes_are_split",
    ),
    30: (
        "messages of the limit, and of some bytes more, at many limits",
        "tests/wire/test_deflate.py::test_the_limit_is_exact_to_the_byte_and_nothing_is_cut_off",
    ),
    31: (
        "one byte and two over the limit",
        "tests/wire/test_deflate.py::test_the_limit_is_exact_to_the_byte_and_nothing_is_cut_off",
    ),
    32: (
        "windows of 7 and 16 bits, of none, and with a leading zero",
        "tests/wire/test_deflate.py::test_a_client_refuses_an_answer_that_breaks_a_rule",
    ),
    33: (
        "a compressed message where that was not agreed on",
        "tests/wire/test_deflate.py::test_a_compressed_message_is_1002_unless_that_was_agreed",
    ),
    34: (
        "a ping between the fragments of compressed messages",
        "tests/wire/test_deflate.py::test_what_is_sent_in_any_pieces_arrives",
    ),
    36: (
        "the bit on a continuation and on control frames",
        "tests/wire/test_deflate.py::test_a_reserved_bit_in_the_wrong_place_is_1002",
    ),
    38: (
        "windows of 8 bits on either side",
        "tests/wire/test_deflate.py::test_both_ends_understand_each_other",
    ),
    39: (
        "a bomb in pieces, with zlib and with zlib-ng",
        "tests/wire/test_deflate.py::test_a_bomb_is_inflated_no_further_than_the_limit",
    ),
    41: (
        "blocks that are none",
        "tests/wire/test_deflate.py::test_what_is_not_deflated_is_1007_and_is_not_blamed_on_utf8",
    ),
    56: (
        "10,000 connections, and memory, descriptors, tasks and references afterwards",
        "tests/faults/test_many.py::test_10000_connections_end_once_each_and_leave_nothing",
    ),
    66: (
        "a peer that never sends its close_notify",
        "tests/faults/test_rows_transport.py::test_the_peer_ignores_our_close_notify",
    ),
    103: (
        "random streams and calls, on both builds",
        "tests/wire/test_builds.py::test_both_builds_read_any_stream_the_same",
    ),
}

_MINIMAL = "1002 at the header"
_COUNTED = "`max_fragments` counts all, also empty ones: 1008 if they are tiny; a message is one growing buffer"

DANGERS = {
    1: Danger(
        "a counter of remaining bytes overflows", "1009 at the header; lengths are unsigned and at most 2**63 - 1"
    ),
    2: Danger("the top bit of a length is not checked, and a loop never ends", _MINIMAL),
    3: Danger("a 64-bit length becomes an inexact number, and an error ends the process", _MINIMAL),
    4: Danger("a length overflows before anybody has been authorized", f"{_MINIMAL}; no other connection notices"),
    5: Danger(
        "a declared length plus what is buffered wraps around, in native code only", "compares with what is left"
    ),
    6: Danger("a length plus the mask's overflows, and writes beyond a buffer", _MINIMAL),
    7: Danger("memory is allocated for a length that was only declared", "buffers have twice what has arrived at most"),
    8: Danger(
        "a size is checked when the frame is complete", "1009 at the header, before a byte of the payload is kept"
    ),
    9: Danger("the payload of an unknown opcode is read first", "1002 at the first byte; what follows is dropped"),
    10: Danger("a draft of the protocol, kept for old clients, has no limits", "426: there is no draft"),
    11: Danger(
        "no limit by default, or one that is not passed on", "`max_message_size` is 1 MiB on servers, 16 MiB on clients"
    ),
    12: Danger("the way without a limit is another one, and wrong", "None is a limit of 2**63 - 1 on the same way"),
    13: Danger("malformed frames make an endless loop", "every byte is looked at once; 1002, 1007, 1008 or 1009"),
    14: Danger("a decoder behind the library allocates what a message declares", "see below"),
    15: Danger("a length that is not minimal is read differently by two parsers", _MINIMAL),
    16: Danger("an object for each fragment", _COUNTED),
    17: Danger("fragments below the limit are held for ever", "what is held is the bytes themselves"),
    18: Danger("empty fragments do not count", _COUNTED),
    19: Danger("the size is limited, the count is not; on clients, too", _COUNTED),
    20: Danger("a limit for each frame and none for the message", "all fragments count: 1009 at the header"),
    21: Danger("each fragment measures or copies all that came before", "linear time"),
    22: Danger("an object for each read while a frame is incomplete", "a frame is one growing buffer"),
    23: Danger("input piles up behind an error", "is dropped, at most 1 MiB and 2 s of it; then a reset"),
    24: Danger("a control frame between fragments is mistaken for one of them", "is answered at once"),
    25: Danger("a limit is compared without the last fragment", "exact to the byte"),
    26: Danger("parts that a message announces are kept without limit", "see below"),
    27: Danger("a task or a queue entry for each message, without limit", "`max_queue`, then reading pauses; no tasks"),
    28: Danger(
        "what is inflated has no limit", "1009, and never more in memory than the limit: 64 KiB are inflated at a time"
    ),
    29: Danger("the limit is compared with the compressed size", "the limit is one on the message, compressed or not"),
    30: Danger("a message at the limit is cut short, and delivered", "1009, exact to the byte"),
    31: Danger("a byte or two over the limit are lost inside zlib", "1009, exact to the byte"),
    32: Danger("a window's size is not checked, and zlib raises", "the offer is declined, or the handshake fails"),
    33: Danger("what was not agreed on is inflated", "1002"),
    34: Danger("a control frame between fragments is taken for the message's", "only data frames change the message"),
    35: Danger("a cancelled send leaves half a message in the compressor", "send() is done when it returns"),
    36: Danger("the bit of a compressed message is accepted on other frames", "1002"),
    37: Danger("the last message lives on in the compressor", "only zlib's window is kept"),
    38: Danger("zlib can't deflate with a window of 8 bits", "9 bits, of which it uses less than 8 allow"),
    39: Danger("a faster zlib overshoots the limit of a step", "every step is measured, with zlib-ng too"),
    40: Danger("a length tells what a secret beside known text is", "`send(..., compress=False)` for each message"),
    41: Danger("zlib's own exception escapes", "1007, an error event and a close event"),
    42: Danger("automatic pongs pile up when nobody reads them", "only the newest ping that waits is answered"),
    43: Danger("pongs are written although the transport is full; on clients", "as above"),
    44: Danger("the same with empty pings", "as above"),
    46: Danger(
        "what waits for a slow reader has no limit", "`await send()` waits; `max_buffered_amount` ends the connection"
    ),
    47: Danger("a number as payload allocates memory, and sends what was in it", "TypeError: str or bytes-like only"),
    48: Danger("memory for pongs that nobody asked for is not freed", "nothing is kept of them"),
    49: Danger("a ping during a blocked send makes an endless loop", "the pong waits for room, as everything does"),
    50: Danger("a pong whose waiter was cancelled is an error", "is none"),
    51: Danger(
        "openings that never finish take memory without limit",
        "`max_handshakes`, then 503; 10 s, 8 KiB a line, 100 headers, 32 KiB in all",
    ),
    52: Danger("a slow opening handshake holds a connection for ever", "`open_timeout` is absolute: 408"),
    53: Danger(
        "a malformed control frame ends the connection without a code", "1002, and it arrives: TCP is half-closed"
    ),
    54: Danger(
        "a closing that stops in the middle keeps the connection for ever", "`close_timeout` is absolute; a reset"
    ),
    55: Danger(
        "a send uses the descriptor after its end, which is another's by then", "nothing is written after the end"
    ),
    56: Danger("something of each connection is never freed", "all is freed without the garbage collector"),
    57: Danger(
        "a reason of a wrong type sends memory that was never written", "TypeError; payloads are copied as they are"
    ),
    58: Danger("the Close frame is written into a TLS session that is gone", "Close frame, close_notify, end of TCP"),
    59: Danger("a client that goes inside a callback of the handshake", "the handler is not called"),
    60: Danger("a handshake that is refused leaves something behind", "leaves nothing"),
    61: Danger(
        "a reset during the handshake is an error that nobody handles", "is the end of that attempt, and no more"
    ),
    62: Danger("connections stay in CLOSE_WAIT", "every end closes the descriptor"),
    63: Danger("close() waits for ever when nobody is there", "`close_timeout`"),
    64: Danger("close() waits for ever behind messages that nobody reads", "`close_timeout`"),
    65: Danger("each frame that arrives starts the closing's timer anew", "`close_timeout` is absolute"),
    66: Danger("TLS waits for a close_notify that never comes", "2 s"),
    67: Danger("no close event after an attempt that failed", "exactly one, after one error event"),
    68: Danger("the peer closes what a cancelled reader has left", "an ordinary end"),
    69: Danger("reserved close codes are accepted, and echoed", "1002"),
    70: Danger("SIGTERM ends a server without a word to its clients", "1001 to all"),
    71: Danger(
        "a session that was revoked goes on receiving", "`server.connections` and `close(code)`; `max_lifetime`"
    ),
    72: Danger("a reason writes control characters into a log", "delivered as it is, escaped in logs and `repr()`"),
    73: Danger("a list of subprotocols takes quadratic time", "each character is looked at once; 8 KiB a line"),
    74: Danger("an unclosed quoted string takes exponential time", "each character is looked at once: 400"),
    75: Danger("an extension has the name of an attribute", "is declined, as every unknown one"),
    76: Danger("a limit of headers hides the one that counts", "431"),
    77: Danger("a head is parsed anew with each byte", "each byte is checked once; 431"),
    78: Danger("a list of headers, or of answers, has no end", "431; a client fails after 100, or 5 answers"),
    79: Danger("a malformed Host is an error that nobody handles", "400"),
    80: Danger("a byte outside ASCII ends the process", "400"),
    81: Danger("a key of another size overflows a buffer", "400 unless it is the base64 of 16 bytes"),
    82: Danger("the body of an opening handshake is read as a second request", "400, and the end"),
    83: Danger("`notwebsocket` is taken for `websocket`", "compares tokens of lists, in any case"),
    84: Danger("a second request in the same segment is answered", "frames after a 101, nothing after an error"),
    85: Danger(
        "a proxy believes in an upgrade that was refused", "a real status with `Connection: close`, never a 101"
    ),
    86: Danger("CR, LF or NUL in an argument makes headers", "ValueError before a byte is written; URLs are encoded"),
    87: Danger("two headers that disagree", "400; on a client the handshake fails"),
    88: Danger("an error message reads beyond a malformed answer", "HandshakeError, wherever it is cut"),
    89: Danger("bare LF, folded lines, white space before a colon: two parsers disagree", "400"),
    90: Danger("secrets are compared in a time that tells", "see below"),
    91: Danger("Sec-WebSocket-Accept is not, or not wholly, checked", "1006, and no frame is sent"),
    92: Danger("another answer than a 101, or another HTTP, opens a WebSocket", "HTTP/1.1 and 101 only"),
    93: Danger("a request makes the server look up a name, and wait", "no name is ever looked up"),
    94: Danger(
        "pages of every origin may connect", "the server's own origin and loopback only; else 403 before the handler"
    ),
    95: Danger("a comparison of origins is fooled by special characters", "compares scheme, host and port"),
    96: Danger("a proxy drops the Origin", "see below"),
    97: Danger(
        "credentials follow a redirect to another origin",
        "are dropped; redirects are off, and never lead from wss to ws",
    ),
    98: Danger("certificates or names are not checked", "both are, with the URL's host, also through a proxy: 1015"),
    99: Danger("masks are fixed, or can be predicted", "each frame's is new, from the system's random numbers"),
    100: Danger("a client's frame is not masked, or a server's is", "1002"),
    101: Danger("native code reads beyond a short mask", "masks are numbers, and bounds are checked in C, too"),
    102: Danger("native code writes beyond a buffer", "see below"),
    103: Danger("the native and the Python reader differ", "one source for both; random streams compare them"),
    104: Danger("a check for requests is skipped for upgrades", "`on_request` sees all, before anything else"),
    105: Danger("text that is not UTF-8 is passed on", "1007 at the first bad byte, also of an unfinished message"),
    106: Danger(
        "ids can be predicted", "keys, masks and pings are random; `socket.id` only numbers the lines of a log"
    ),
}
