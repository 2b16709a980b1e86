"""The classes of vulnerabilities that were published for WebSocket implementations, by row number."""

from __future__ import annotations

from typing import NamedTuple


class Danger(NamedTuple):
    """One class.

    Attributes:
        what: a description of the mistake.
        answer: the behaviour of wasclean.
    """

    what: str
    answer: str


#: Number of the first row -> title of a section.
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

#: Rows without tests, with the reasons.
MISSING = {
    102: "memory errors of native code are found by a build with sanitizers, `make asan`, which these tests do not run",
}

#: Rows that only an application can deal with, with advice for it.
DOCUMENTED = {
    14: "Before decoding untrusted messages (JSON, MessagePack, ...), limit their size with `max_message_size`, and "
    "set the limits of the decoder: a message of 1 MiB can declare arrays of any size.",
    26: "An application protocol that assembles several messages, such as a header that announces attachments, needs "
    "its own limit for the parts that it keeps until they are complete.",
    90: "Compare tokens and passwords with `hmac.compare_digest` on bytes, for unknown users, too, as `basic_auth()` "
    "does.",
    96: "A proxy in front of the server must pass on `Origin` and `Host` unchanged, because `origins=` compares them. "
    "If it replaces the `Host`, use `origins=[...]`. If it removes the `Origin`, all pages can connect.",
}

#: Rows that a test outside tests/security covers: attack, test.
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
_COUNTED = "`max_fragments` counts all, including empty ones: 1008 if they are tiny; a message is one growing buffer"

DANGERS = {
    1: Danger(
        "a counter of remaining bytes overflows", "1009 at the header; lengths are unsigned and at most 2**63 - 1"
    ),
    2: Danger("the top bit of a length is not checked, and a loop never ends", _MINIMAL),
    3: Danger("a 64-bit length becomes an inexact number, and an error ends the process", _MINIMAL),
    4: Danger("a length overflows before the client has been authorized", f"{_MINIMAL}; no other connection notices"),
    5: Danger(
        "a declared length plus the buffered bytes wraps around, in native code only",
        "is compared with the remaining limit",
    ),
    6: Danger("the length of payload plus mask overflows, and writes go beyond a buffer", _MINIMAL),
    7: Danger(
        "memory is allocated for a length that is only declared",
        "buffers have at most twice the size of the received data",
    ),
    8: Danger(
        "the size is checked only when the frame is complete",
        "1009 at the header, before any byte of the payload is stored",
    ),
    9: Danger(
        "the payload of a frame with an unknown opcode is read first",
        "1002 at the first byte; further input is dropped",
    ),
    10: Danger("a draft of the protocol, supported for old clients, has no limits", "426: drafts are not supported"),
    11: Danger(
        "no limit by default, or a limit that is not passed on",
        "`max_message_size` is 1 MiB on servers, 16 MiB on clients",
    ),
    12: Danger("the code for no limit is another path, with defects", "None is a limit of 2**63 - 1 on the same path"),
    13: Danger("malformed frames cause an endless loop", "every byte is parsed once; 1002, 1007, 1008 or 1009"),
    14: Danger("a decoder of the application allocates the size that a message declares", "see below"),
    15: Danger("two parsers read a length in a longer form than necessary differently", _MINIMAL),
    16: Danger("an object for each fragment", _COUNTED),
    17: Danger("fragments below the limit are kept for ever", "only their bytes are kept"),
    18: Danger("empty fragments do not count", _COUNTED),
    19: Danger("the size is limited, but not the number; on clients, too", _COUNTED),
    20: Danger("a limit for each frame, and none for the message", "all fragments count: 1009 at the header"),
    21: Danger("each fragment measures or copies all earlier ones", "linear time"),
    22: Danger("an object for each read while a frame is incomplete", "a frame is one growing buffer"),
    23: Danger("input accumulates after an error", "input is dropped, for at most 1 MiB and 2 s; then a reset"),
    24: Danger("a control frame between fragments is mistaken for one of them", "it is answered at once"),
    25: Danger("a limit is compared without the last fragment", "exact to the byte"),
    26: Danger("parts that a message announces are kept without limit", "see below"),
    27: Danger("a task or a queue entry for each message, without limit", "`max_queue`, then reading pauses; no tasks"),
    28: Danger(
        "decompressed data have no limit",
        "1009, and never more in memory than the limit: 64 KiB are decompressed at a time",
    ),
    29: Danger("the limit is compared with the compressed size", "the limit applies to the decompressed message"),
    30: Danger("a message at the limit is truncated, and delivered", "1009, exact to the byte"),
    31: Danger("a byte or two over the limit are lost inside zlib", "1009, exact to the byte"),
    32: Danger("the window size is not checked, and zlib raises", "the offer is declined, or the handshake fails"),
    33: Danger("a message is decompressed without an agreement on compression", "1002"),
    34: Danger(
        "a control frame between fragments changes the compression state of the message",
        "only data frames change the message",
    ),
    35: Danger(
        "a cancelled send leaves half a message in the compressor",
        "send() has completed when it returns; only the waiting is cancelled",
    ),
    36: Danger("the compression bit is accepted on other frames", "1002"),
    37: Danger("the last message stays in the memory of the compressor", "only zlib's window is kept"),
    38: Danger("zlib can't deflate with a window of 8 bits", "9 bits, of which zlib uses less than 256 bytes"),
    39: Danger(
        "a faster zlib overshoots the limit of a step", "the output of every step is measured, with zlib-ng, too"
    ),
    40: Danger(
        "the compressed length reveals a secret next to known text", "`send(..., compress=False)` for each message"
    ),
    41: Danger("zlib's own exception escapes", "1007, an error event and a close event"),
    42: Danger(
        "automatic pongs accumulate if the peer does not read them", "only the latest of the waiting pings is answered"
    ),
    43: Danger("pongs are written although the transport is full, on clients", "as above"),
    44: Danger("the same with empty pings", "as above"),
    46: Danger(
        "data for a slow reader have no limit", "`await send()` waits; `max_buffered_amount` ends the connection"
    ),
    47: Danger("a number as payload allocates memory, and sends its old contents", "TypeError: str or bytes-like only"),
    48: Danger("memory for unsolicited pongs is not freed", "nothing of them is kept"),
    49: Danger("a ping during a blocked send causes an endless loop", "the pong waits for room, as everything does"),
    50: Danger("a pong whose waiter was cancelled is an error", "it is ignored"),
    51: Danger(
        "incomplete opening handshakes take memory without limit",
        "`max_handshakes`, then 503; 10 s, 8 KiB a line, 100 headers, 32 KiB in all",
    ),
    52: Danger("a slow opening handshake holds a connection for ever", "`open_timeout` is absolute: 408"),
    53: Danger(
        "a malformed control frame ends the connection without a code",
        "1002, which arrives, because TCP is half-closed",
    ),
    54: Danger(
        "a closing handshake that stops halfway keeps the connection for ever", "`close_timeout` is absolute; a reset"
    ),
    55: Danger(
        "a send uses the descriptor after the end, when it belongs to another file", "nothing is written after the end"
    ),
    56: Danger("a part of each connection is never freed", "everything is freed without the garbage collector"),
    57: Danger("a reason of a wrong type sends uninitialized memory", "TypeError; payloads are only copied"),
    58: Danger(
        "the Close frame is written into a TLS session that has ended",
        "first the Close frame, then close_notify, then the end of TCP",
    ),
    59: Danger("a client disconnects during a callback of the handshake", "the handler is not called"),
    60: Danger("a refused handshake leaks memory", "everything is freed"),
    61: Danger("a reset during the handshake raises an unhandled exception", "only that connection ends"),
    62: Danger("connections stay in CLOSE_WAIT", "every end closes the descriptor"),
    63: Danger("close() waits for ever if the peer does not respond", "`close_timeout`"),
    64: Danger("close() waits for ever behind unread messages", "`close_timeout`"),
    65: Danger("each received frame restarts the closing timeout", "`close_timeout` is absolute"),
    66: Danger("TLS waits for a close_notify that never comes", "2 s"),
    67: Danger("no close event after a failed connection attempt", "exactly one, after one error event"),
    68: Danger("the peer closes after the reading task was cancelled", "an ordinary end"),
    69: Danger("reserved close codes are accepted, and echoed", "1002"),
    70: Danger("SIGTERM ends a server without informing its clients", "1001 to all"),
    71: Danger(
        "a revoked session continues to receive messages", "`server.connections` and `close(code)`; `max_lifetime`"
    ),
    72: Danger("a reason writes control characters into a log", "delivered unchanged, escaped in logs and `repr()`"),
    73: Danger("a list of subprotocols takes quadratic time", "each character is parsed once; 8 KiB per line"),
    74: Danger("an unclosed quoted string takes exponential time", "each character is parsed once; 400"),
    75: Danger("an extension has the name of an attribute of an object", "it is declined, like all unknown ones"),
    76: Danger("headers beyond a limit hide the relevant one", "431"),
    77: Danger("a head is parsed again for each byte", "each byte is parsed once; 431"),
    78: Danger(
        "a list of headers, or of responses, has no end", "431; a client fails after 100 headers, or 5 responses"
    ),
    79: Danger("a malformed Host raises an unhandled exception", "400"),
    80: Danger("a byte outside ASCII ends the process", "400"),
    81: Danger("a key of another size overflows a buffer", "400 unless it is the base64 of 16 bytes"),
    82: Danger("the body of an opening handshake is read as a second request", "400, and the connection ends"),
    83: Danger("`notwebsocket` is taken for `websocket`", "tokens of lists are compared, ignoring case"),
    84: Danger(
        "a second request in the same segment is answered",
        "input after a 101 is frames, input after an error is dropped",
    ),
    85: Danger(
        "a proxy takes a refused upgrade for an accepted one", "a real status with `Connection: close`, never a 101"
    ),
    86: Danger("CR, LF or NUL in an argument injects headers", "ValueError before a byte is written; URLs are encoded"),
    87: Danger("contradicting headers", "400; on a client the handshake fails"),
    88: Danger(
        "an error message reads memory beyond a malformed response", "HandshakeError, wherever the response is split"
    ),
    89: Danger("bare LF, folded lines, white space before a colon: two parsers disagree", "400"),
    90: Danger("the time of comparing secrets reveals them", "see below"),
    91: Danger("Sec-WebSocket-Accept is not checked, or only in part", "1006, and no frame is sent"),
    92: Danger("another status than 101, or another version of HTTP, opens a WebSocket", "HTTP/1.1 and 101 only"),
    93: Danger("a request makes the server resolve a name, and wait", "names are never resolved"),
    94: Danger(
        "pages of every origin may connect", "the server's own origin and loopback only; else 403 before the handler"
    ),
    95: Danger("special characters deceive the comparison of origins", "scheme, host and port are compared"),
    96: Danger("a proxy removes the Origin", "see below"),
    97: Danger(
        "credentials follow a redirect to another origin",
        "they are dropped; redirects are disabled by default, and never followed from wss to ws",
    ),
    98: Danger(
        "certificates or names are not checked", "both are checked, against the URL's host, also through a proxy: 1015"
    ),
    99: Danger(
        "masks are fixed, or can be predicted", "each frame has a new one, from the random numbers of the system"
    ),
    100: Danger("a client's frame is not masked, or a server's is", "1002"),
    101: Danger("native code reads beyond a short mask", "masks are integers, and bounds are checked in C, too"),
    102: Danger("native code writes beyond a buffer", "see below"),
    103: Danger("the native and the Python reader differ", "both have one source, and are compared by random streams"),
    104: Danger(
        "a check for requests is skipped for upgrades", "`on_request` gets all requests, before any other check"
    ),
    105: Danger("text that is not UTF-8 is passed on", "1007 at the first invalid byte, also in an incomplete message"),
    106: Danger(
        "ids can be predicted", "keys, masks and pings are random; `socket.id` only numbers the lines of a log"
    ),
}
