"""Writes fuzz/seeds: small files, one for each feature that a target should start with.

``python -m fuzz.write_seeds``. Inputs that were found later can be kept in the same folders, with other names.
"""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.protocol_pair import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_payload, frame
from wasclean.model.registry import Role
from wasclean.opening.head_reader import MAX_LINE

SEEDS = Path(__file__).parent / "seeds"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 section 1.3, with its answer
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
UPGRADE = ("Upgrade: websocket", "Connection: Upgrade")
ASKED = ("GET /chat?a=1 HTTP/1.1", "Host: example.com", *UPGRADE, f"Sec-WebSocket-Key: {KEY}")
VERSION = "Sec-WebSocket-Version: 13"
ANSWERED = ("HTTP/1.1 101 Switching Protocols", *UPGRADE, f"Sec-WebSocket-Accept: {ACCEPT}")


def head(*lines: str) -> bytes:
    """Return an HTTP head."""
    return "\r\n".join((*lines, "", "")).encode("latin-1")


def streams(role: Role) -> dict[str, bytes]:
    """Return streams of frames; their masking keys are zero, so that changing a byte changes the payload directly."""
    mask = bytes(4) if role is Role.SERVER else b""

    def one(opcode: int, payload: bytes = b"", **options: Any) -> bytes:
        return frame(role, opcode, payload, mask=mask, **options)

    text = "aä€𝄞".encode()
    close = one(CLOSE, close_payload(1000, "bye"))
    return {
        "text": one(TEXT, b"Hello") + one(TEXT, text),
        "masked": frame(role, TEXT, b"Hello") + frame(role, BINARY, bytes(range(200))),
        "binary": one(BINARY, bytes(126)) + one(BINARY),
        "fragments": one(TEXT, text[:4], fin=False) + one(PING, b"?") + one(CONTINUATION, text[4:]),
        "empty_fragments": one(TEXT, fin=False) + one(CONTINUATION, fin=False) * 3 + one(CONTINUATION),
        "pings": one(PING, b"1") + one(PING, b"2") + one(PONG, b"3") + one(PING),
        "close": one(TEXT, b"last") + close + one(TEXT, b"too late"),
        "empty_close": one(CLOSE),
        "short_close": one(CLOSE, b"\3"),
        "reserved_close": one(CLOSE, close_payload(1005)),
        "close_not_utf8": one(CLOSE, b"\x03\xe8\xff"),
        "ping_close": one(PING, b"?") + close,
        "not_utf8": one(TEXT, b"a\xff"),
        "half_a_character": one(TEXT, b"\xe2\x82"),
        "not_utf8_begun": one(TEXT, b"a\xff", declared=10),
        "surrogate_begun": one(TEXT, b"\xed\xa0", declared=10),
        "surrogate": one(TEXT, b"\xed", fin=False) + one(CONTINUATION, b"\xa0\x80"),
        "length_16": one(BINARY, bytes(300)),
        "length_not_minimal": one(BINARY, b"five.", form=16),
        "length_65535_in_64": one(BINARY, form=64, declared=65535),
        "length_64": one(BINARY, b"x", form=64, declared=1 << 40),
        "length_out_of_range": one(BINARY, b"x", form=64, declared=1 << 63),
        "length_wraps": one(BINARY, b"x", fin=False) + one(CONTINUATION, b"x", form=64, declared=(1 << 63) - 1),
        "reserved_bit": one(TEXT, b"x", rsv=0x40),
        "reserved_opcode": one(3, b"x"),
        "nothing_to_continue": one(CONTINUATION, b"x"),
        "message_unfinished": one(TEXT, b"x", fin=False) + one(BINARY, b"x"),
        "control_fragmented": one(PING, b"x", fin=False),
        "control_too_long": one(PING, bytes(126)),
        "wrong_mask": frame(role, TEXT, b"x", mask=b"" if mask else b"\1\2\3\4"),
        "cut": one(TEXT, b"Hello")[:-2],
    }


def frames(role: Role) -> Iterator[tuple[str, bytes]]:
    """Yield each stream as a whole and byte by byte, and some of them with all options."""
    found = streams(role)
    for name, stream in found.items():
        yield name, b"\x00\xff" + stream
        yield f"{name}_bytewise", b"\x00\x00" + stream
    yield "too_many_fragments", b"\x04\xff" + found["empty_fragments"]
    for flags in range(4, 128, 4):
        name = ("fragments", "ping_close", "pings", "close", "not_utf8")[flags // 4 % 5]
        yield f"options_{flags:02x}", bytes((flags, flags % 7)) + found[name]


def large_messages() -> Iterator[tuple[str, bytes]]:
    """Yield messages of 64 KiB and more."""
    for flags in range(8):
        for size in (b"\x20\x00", b"\x40\x01", b"\xff\xff"):
            unit = b"\xe2\x82" if flags & 4 else "aä€𝄞".encode()
            yield f"options_{flags}_{size.hex()}", bytes((flags, *size, 9, 2, 3, 4)) + unit


def request() -> Iterator[tuple[str, bytes]]:
    """Yield valid and invalid requests."""
    heads = {
        "plain": head(*ASKED, VERSION),
        "full": head(
            *ASKED,
            VERSION,
            "Origin: http://example.com",
            "Sec-WebSocket-Protocol: chat, superchat",
            'Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x; y="z"',
            "Cookie: a=b",
        )
        + frame(Role.SERVER, TEXT, b"Hello"),
        "foreign": head(*ASKED, VERSION, "Origin: https://example.org"),
        "allowed": head(*ASKED, VERSION, "Origin: null"),
        "absolute": head("GET http://example.com/chat HTTP/1.1", *ASKED[1:], VERSION),
        "old": head("GET / HTTP/1.0", "Host: localhost:8080", *UPGRADE),
        "page": head("GET /index.html HTTP/1.1", "Host: [::1]:80", "Accept: */*"),
        "post": head("POST / HTTP/1.1", "Host: a", "Content-Length: 5") + b"Hello",
        "chunked": head("GET / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked") + b"5\r\nHello\r\n0\r\n\r\n",
        "smuggled": head("GET / HTTP/1.1", "Host: a", "Content-Length: 5", "Transfer-Encoding: chunked"),
        "wrong_version": head(*ASKED, "Sec-WebSocket-Version: 8"),
        "short_key": head(*ASKED[:-1], "Sec-WebSocket-Key: YQ==", VERSION),
        "folded": head(*ASKED, VERSION, "X: a", " b"),
        "bare_lf": head(*ASKED, VERSION).replace(b"\r\n", b"\n"),
        "space_before_colon": head(*ASKED, "X : y", VERSION),
        "latin_1": head(*ASKED, VERSION, "X: \xe4"),
        "tls": bytes.fromhex("16030100c8010000c40303"),
        "http_2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "long_target": head(f"GET /{'a' * (MAX_LINE - 15)} HTTP/1.1"),
        "longest_target": head(f"GET /{'a' * (MAX_LINE - 16)} HTTP/1.1"),
        "white_space": head(*ASKED, VERSION, "X: y ", "Z:\t"),
        "long_head": head(*ASKED, VERSION, *(f"X: {'y' * (MAX_LINE - 10)}" for _ in range(4))),
        "many_headers": head(*ASKED, VERSION, *("X: y" for _ in range(100))),
        "empty_lines": b"\r\n" * 4 + head(*ASKED, VERSION),
        "too_many_empty_lines": b"\r\n" * 5 + head(*ASKED, VERSION),
    }
    for i, (name, data) in enumerate(heads.items()):
        yield name, bytes((3 * i + i % 3,)) + data
    yield "full_any", b"\x01" + heads["full"]
    yield "full_listed", b"\x02" + heads["full"]


def response() -> Iterator[tuple[str, bytes]]:
    """Yield valid and invalid responses."""
    hints = head("HTTP/1.1 103 Early Hints", "Link: </a>")
    heads = {
        "plain": head(*ANSWERED) + frame(Role.CLIENT, TEXT, b"Hello"),
        "subprotocol": head(*ANSWERED, "Sec-WebSocket-Protocol: chat"),
        "two_subprotocols": head(*ANSWERED, "Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Protocol: superchat"),
        "extension": head(*ANSWERED, "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=7"),
        "wrong_accept": head(*ANSWERED[:-1], "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        "no_upgrade": head(ANSWERED[0]),
        "old": head("HTTP/1.0 101 Switching Protocols", *UPGRADE),
        "refusal": head("HTTP/1.1 403 Forbidden", "Content-Length: 5") + b"Hello, and more",
        "names_in_any_case": head("HTTP/1.1 403 Forbidden", "CONTENT-length: 1", "CONNECTION: x") + b"y",
        "to_the_end": head("HTTP/1.1 404 Not Found") + b"Hello",
        "chunked": head("HTTP/1.1 500 ", "Transfer-Encoding: chunked") + b"5;x=y\r\nHello\r\n0\r\nX: y\r\n\r\n",
        "bad_chunk": head("HTTP/1.1 500 No", "Transfer-Encoding: chunked") + b"5\r\nHello\r\nz\r\n",
        "no_content": head("HTTP/1.1 204 No Content"),
        "informational": hints * 2 + head(*ANSWERED),
        "too_informational": hints * 6 + head(*ANSWERED),
        "space_behind_reason": head("HTTP/1.1 404 Not Found ", "Content-Length: 0"),
        "space_before_reason": head("HTTP/1.1 404  Not Found", "Content-Length: 0"),
        "many_headers": head("HTTP/1.1 403 Forbidden", *["X: y"] * 100),
        "leading_zero": head("HTTP/1.1 099 No Status"),
        "redirect_with_password": head("HTTP/1.1 302 Found", "Location: wss://a:b@example.org/", "Content-Length: 0"),
        "redirect": head("HTTP/1.1 302 Found", "Location: wss://example.org/x#y", "Content-Length: 0"),
        "relative_redirect": head("HTTP/1.1 307 Temporary Redirect", "Location: ../x?y", "Content-Length: 0"),
        "downgrade": head("HTTP/1.1 301 Moved Permanently", "Location: http://example.com/", "Content-Length: 0"),
        "no_location": head("HTTP/1.1 308 Permanent Redirect", "Content-Length: 0"),
        "latin_1": head("HTTP/1.1 400 \xe4", "X: \xe4"),
        "bare_lf": head(*ANSWERED).replace(b"\r\n", b"\n"),
        "not_http": b"SSH-2.0-OpenSSH_9.2\r\n",
        "cut": head(*ANSWERED)[:-2],
        "folded": head(*ANSWERED, "X: a", " b", "\tc", "Y:", "  "),
        "folded_at_the_start": head(ANSWERED[0], " X: a", *ANSWERED[1:]),
    }
    for i, (name, data) in enumerate(heads.items()):
        yield name, bytes((i % 5,)) + data


def headers() -> Iterator[tuple[str, bytes]]:
    """Yield values of headers."""
    yield "deflate", b"permessage-deflate; client_max_window_bits; server_max_window_bits=10, permessage-deflate"
    yield "quoted", b'a; b="c"; d = "\\e" ,, f'
    yield "quoted_space", b'a; b="c d"'
    yield "unfinished", b'a; b="c\\'
    yield "empty", b""
    yield "commas", b" , ,\t,"
    yield "subprotocols", b"chat, superchat\nother"
    yield "twice", b"chat, chat"
    yield "many", b"a;" * 200 + b"b"
    yield "latin_1", b"\xe4"


def urls() -> Iterator[tuple[str, bytes]]:
    """Yield URLs and origins."""
    for name, text in {
        "plain": "ws://localhost:8080",
        "full": "wss://user:p%40ss@example.com:444/a/b;c?d=e&f",
        "https": "HTTPS://EXAMPLE.com:443/%7E",
        "ipv6": "ws://[2001:db8::1]:80/",
        "ipv4": "ws://0x7f.1",
        "name": "ws://bücher.example/ä?ö",
        "fragment": "ws://example.com/#",
        "relative": "../x?y",
        "other_scheme": "ftp://example.com",
        "no_host": "ws://",
        "port": "ws://example.com:65536",
        "two_ats": "ws://a:b@c@d/",
        "backslash": "ws:\\\\example.com\\x",
        "control": "ws://exa\tmple.com/\0",
        "origin": "https://example.com",
        "subdomains": "https://*.example.com:8443",
        "null": "null",
        "any": "*",
        "extension": "chrome-extension://abcdefgh",
        "file": "file:///x",
        "host": "example.com:80",
        "token": "v1.chat",
    }.items():
        yield name, text.encode()
    yield "not_utf8", b"ws://example.com/\xff"


def deflate() -> Iterator[tuple[str, bytes]]:
    """Yield payloads of compressed messages, in the forms of RFC 7692 section 7.2.3, and invalid ones."""
    stream = zlib.compressobj(9, wbits=-15)
    payloads = {
        "hello": bytes.fromhex("f248cdc9c90700"),
        "again": bytes.fromhex("f200110000"),
        "stored": bytes.fromhex("000500faff48656c6c6f00"),
        "final": bytes.fromhex("f348cdc9c9070000"),
        "two_blocks": bytes.fromhex("f248050000 00ffffcac9c90700"),
        "empty": b"\x00",
        "nothing": b"",
        "reserved_block": b"\xff",
        "wrong_length": b"\x00\x05\x00\x00\x00hello",
        "many_final": b"\x03\x00" * 20,
        "bomb": stream.compress(bytes(2 << 20)) + stream.flush(zlib.Z_SYNC_FLUSH),
        "text": b"what is compressed, is compressed again: compressed compression compresses",
    }
    for i, (name, payload) in enumerate(payloads.items()):
        for flags in (0, 0x0F):
            yield f"{name}_{flags:02x}", bytes((flags | i << 4 & 0x70, 20 * i)) + payload


def main() -> None:
    """Write all files."""
    targets = {
        "frames_server": frames(Role.SERVER),
        "frames_client": frames(Role.CLIENT),
        "large_messages": large_messages(),
        "request": request(),
        "response": response(),
        "headers": headers(),
        "urls": urls(),
        "deflate": deflate(),
    }
    for target, seeds in targets.items():
        folder = SEEDS / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in seeds:
            (folder / name).write_bytes(data)


main()
