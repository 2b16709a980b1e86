"""Helpers for tests of the protocol core: one end, two ends with a link in memory, a codec, and a reference.

Nothing here reads or writes frames with the code under test.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from hypothesis import settings
from hypothesis import strategies as st

from tests.builds import Build
from wasclean.closing.table import State
from wasclean.connection import Application, Connection
from wasclean.model.registry import CloseFrame, Role
from wasclean.model.violations import Violation
from wasclean.opening.extensions import Agreed
from wasclean.wire.receiver import ReadBuffer

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
MASK = b"\x37\xfa\x21\x3d"  # RFC 6455 section 5.7
START = 100.0  # when every connection of these tests begins: its clock is a plain number
MIB = 1 << 20

few = settings(max_examples=60)
many = settings(max_examples=200)


class Frame(NamedTuple):
    """A frame on the wire, with its payload unmasked."""

    first: int  # FIN, reserved bits and opcode
    payload: bytes
    masked: bool = False


def unmask(payload: bytes, mask: bytes) -> bytes:
    """Unmask as RFC 6455 section 5.3 describes it (j = i MOD 4); long payloads in one step."""
    if len(payload) < 1000:
        return bytes(octet ^ mask[i % 4] for i, octet in enumerate(payload))
    keys = (mask * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(keys, "little")).to_bytes(len(payload), "little")


def frame(
    role: Role,
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bytes | None = None,
    form: int = 0,
    declared: int | None = None,
) -> bytes:
    """Return a frame of the peer of ``role``.

    Args:
        role: the role of the end that receives the frame.
        opcode: the opcode.
        payload: the payload, unmasked.
        fin: the FIN bit.
        rsv: the reserved bits.
        mask: the masking key, or b"" for none; by default as the role requires.
        form: the bits of the length field: 7, 16 or 64; by default the shortest form.
        declared: a length to declare instead of the actual one.
    """
    masked = role is Role.SERVER if mask is None else bool(mask)
    size = len(payload) if declared is None else declared
    bit = 0x80 if masked else 0
    form = form or (7 if size < 126 else 16 if size < 1 << 16 else 64)
    length = bytes([bit | size])[:1] if form == 7 else bytes([bit | (126 if form == 16 else 127)])
    extended = b"" if form == 7 else size.to_bytes(form // 8, "big")
    header = bytes([(0x80 if fin else 0) | rsv | opcode]) + length + extended
    if not masked:
        return header + payload
    key = mask or MASK
    return header + key + unmask(payload, key)


def close_payload(code: int | None = None, reason: str = "") -> bytes:
    """Return the payload of a Close frame."""
    return b"" if code is None else code.to_bytes(2, "big") + reason.encode()


def read_frames(data: bytes) -> list[Frame]:
    """Parse the output of a connection, which must consist of whole frames."""
    frames, at = [], 0
    while at < len(data):
        first, size, at = data[at], data[at + 1], at + 2
        masked, size = bool(size & 0x80), size & 0x7F
        if size >= 126:
            wide = 2 if size == 126 else 8
            size, at = int.from_bytes(data[at : at + wide], "big"), at + wide
        mask = bytes(4)
        if masked:
            mask, at = data[at : at + 4], at + 4
        payload, at = data[at : at + size], at + size
        assert len(payload) == size, "a frame is cut short"
        frames.append(Frame(first, unmask(payload, mask) if masked else payload, masked))
    return frames


def whole_messages(frames: Iterable[Frame]) -> list[tuple[int, bytes]]:
    """The messages that the frames make up, of which the last may be unfinished and is then left out."""
    messages: list[tuple[int, bytes]] = []
    opcode, fragments = 0, list[bytes]()
    for seen in frames:
        assert not seen.first & 0x70, "a reserved bit is set"
        if seen.first & 0x08:
            assert seen.first & 0x80, "a control frame is fragmented"
            continue
        assert bool(seen.first & 0x0F) == (opcode == 0), "a message starts inside another, or continues none"
        opcode = opcode or seen.first & 0x0F
        fragments.append(seen.payload)
        if seen.first & 0x80:
            messages.append((opcode, b"".join(fragments)))
            opcode, fragments = 0, []
    return messages


class Recorder(Application):
    """Records all calls of a connection."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.states: list[State] = []
        self.connection: Connection | None = None

    def message_received(self, message: str | bytes) -> None:
        self.events.append(("message", message))

    def pong_received(self, payload: bytes) -> None:
        self.events.append(("pong", payload))

    def state_changed(self) -> None:
        assert self.connection is not None
        self.states.append(self.connection.closing.state)


class End:
    """A connection with a number as its clock and a bytearray as its transport.

    ``wire`` has everything that was written. ``capacity`` is the number of bytes that the transport accepts before it
    calls pause_writing(). ``build`` is the build of the connection, by default the one that is running.
    """

    def __init__(
        self,
        role: Role,
        *,
        established: bool = True,
        deflate: Agreed | None = None,
        build: Build | None = None,
        **options: Any,
    ) -> None:
        options.setdefault("max_message_size", MIB)
        self.role = role
        self.now = START
        self.application = options.pop("application", None) or Recorder()
        kind = Connection if build is None else build.connection.Connection
        buffer = ReadBuffer() if build is None else build.receiver.ReadBuffer()
        self.connection = kind(role, self.application, buffer, self.now, **options)
        self.application.connection = self.connection
        self.wire = bytearray()
        self.taken = 0  # of the wire, by take()
        self.capacity: int | None = None
        if established:
            self.connection.established(self.now, deflate=deflate)

    @property
    def events(self) -> list[tuple[Any, ...]]:
        return self.application.events

    @property
    def state(self) -> State:
        return self.connection.closing.state

    def feed(self, data: bytes, cuts: Iterable[int] = ()) -> End:
        """Feed bytes to the connection, split at ``cuts``, and flush its output after each part."""
        before = 0
        for cut in sorted({cut for cut in cuts if 0 < cut < len(data)} | {len(data)}):
            self.connection.receive_data(data[before:cut], self.now)
            self.flush()
            before = cut
        return self

    def arrive(self, opcode: int, payload: bytes = b"", **options: Any) -> End:
        """Feed a frame of the peer to the connection."""
        return self.feed(frame(self.role, opcode, payload, **options))

    def flush(self) -> None:
        """Write the output of the connection, as a host does after each call."""
        while self.connection.fill():
            data = self.connection.data_to_send()
            parts = [data] if isinstance(data, bytes) else data
            for part in parts:
                self.wire += part
                if self.capacity is not None:
                    self.capacity -= len(part)
            if self.capacity is not None and self.capacity < 0:
                self.connection.pause_writing(self.now)

    def congest(self, backlog: int = 0) -> None:
        """Make the transport accept nothing more; ``backlog`` is the number of bytes that it holds."""
        self.connection.pause_writing(self.now, backlog)

    def relieve(self) -> None:
        """Make the transport accept everything again."""
        self.capacity = None
        self.connection.resume_writing()
        self.flush()

    def close(self, code: int | None = None, reason: str = "", timeout: float | None = None) -> End:
        """Start the closing handshake."""
        self.connection.send_close(code, reason, self.now, timeout)
        self.flush()
        return self

    def take(self) -> bytes:
        """Return the output since the last call."""
        data = bytes(self.wire[self.taken :])
        self.taken = len(self.wire)
        return data

    def frames(self) -> list[Frame]:
        """Return all written frames, which must be whole, and masked as the role requires."""
        frames = read_frames(bytes(self.wire))
        assert all(seen.masked == (self.role is Role.CLIENT) for seen in frames)
        return frames

    def written(self) -> list[tuple[int, bytes]]:
        """Return opcode and payload of each written frame; all must have FIN and no reserved bits."""
        assert all(seen.first & 0xF0 == 0x80 for seen in self.frames())
        return [(seen.first & 0x0F, seen.payload) for seen in self.frames()]

    def controls(self) -> list[tuple[int, bytes]]:
        """Return opcode and payload of each written control frame."""
        return [(seen.first & 0x0F, seen.payload) for seen in self.frames() if seen.first & 0x08]

    def written_messages(self) -> list[tuple[int, bytes]]:
        """Return opcode and payload of each message that was written as a whole, in one frame or in fragments."""
        return whole_messages(self.frames())

    def closes(self) -> list[bytes]:
        """Return the payloads of the written Close frames; nothing may follow the first."""
        opcodes = [seen.first & 0x0F for seen in self.frames()]
        assert CLOSE not in opcodes[:-1], f"something follows a Close frame: {opcodes}"
        return [payload for opcode, payload in self.controls() if opcode == CLOSE]

    def messages(self) -> list[Any]:
        """Return the messages that were delivered."""
        return [event[1] for event in self.events if event[0] == "message"]

    def outcome(self) -> tuple[Any, ...]:
        """Return everything that is visible from outside, except for the masking keys."""
        c = self.connection
        return (
            *(
                self.events,
                self.application.states,
                c.closing.state,
                c.closing.ending,
                c.closing.violation,
                c.closing.failed,
                c.closing.initiator,
            ),
            *(
                c.closing.received,
                c.closing.sent,
                c.closing.was_clean,
                c.is_flushed,
                c.buffered_amount(),
                c.next_deadline(),
                self.frames(),
            ),
            *(c.closing.cause, c.closing.detail, c.frames(self.now), c.stats(self.now)),
        )


class Pair:
    """A client and a server, connected by a link that delivers on command."""

    def __init__(self, **options: Any) -> None:
        self.client = End(Role.CLIENT, **options)
        self.server = End(Role.SERVER, **options)
        self.ends = (self.client, self.server)

    def other(self, end: End) -> End:
        return self.server if end is self.client else self.client

    def deliver(self, end: End, size: int | None = None) -> bool:
        """Deliver the output of ``end``, or ``size`` bytes of it, to the other end; return False if there is none."""
        end.flush()
        data = bytes(end.wire[end.taken :][:size])
        end.taken += len(data)
        self.other(end).feed(data)
        return bool(data)

    def settle(self) -> None:
        """Deliver until neither end has more output."""
        while self.deliver(self.client) | self.deliver(self.server):
            pass

    def lose(self) -> None:
        """End the transport of both ends."""
        for end in self.ends:
            end.connection.connection_lost(end.now)


# The reference: RFC 6455 section 5 read octet by octet, with nothing fast about it.

_TAIL = (0x80, 0xBF)
_UTF8 = [  # RFC 3629 section 4: the first octet's range, and those of the others
    *(((0x00, 0x7F),), ((0xC2, 0xDF), _TAIL), ((0xE0, 0xE0), (0xA0, 0xBF), _TAIL), ((0xE1, 0xEC), _TAIL, _TAIL)),
    *(((0xED, 0xED), (0x80, 0x9F), _TAIL), ((0xEE, 0xEF), _TAIL, _TAIL), ((0xF0, 0xF0), (0x90, 0xBF), _TAIL, _TAIL)),
    *(((0xF1, 0xF3), _TAIL, _TAIL, _TAIL), ((0xF4, 0xF4), (0x80, 0x8F), _TAIL, _TAIL)),
]


class Utf8:
    """A UTF-8 decoder that reports for each octet if the input so far can still become valid."""

    def __init__(self) -> None:
        self.expected: list[tuple[int, int]] = []

    def takes(self, octet: int) -> bool:
        if not self.expected:
            for (low, high), *rest in _UTF8:
                if low <= octet <= high:
                    self.expected = list(rest)
                    return True
            return False
        low, high = self.expected.pop(0)
        return low <= octet <= high

    @property
    def is_complete(self) -> bool:
        return not self.expected


class _Broken(Exception):
    def __init__(self, violation: Violation) -> None:
        self.violation = violation


def _require(condition: bool, violation: Violation) -> None:
    if not condition:
        raise _Broken(violation)


class Reference:
    """A reference implementation that reads a stream: ``events``, with pings and the end, after ``used`` octets.

    ``discarded`` is the number of payload octets of messages that are not delivered, and of all octets after the end.
    """

    def __init__(self, role: Role, data: bytes, max_size: int = MIB, max_fragments: int = 1 << 30) -> None:
        self.role, self.max_size, self.max_fragments = role, max_size, max_fragments
        self.data, self.used = data, 0
        self.events: list[tuple[Any, ...]] = []
        self.message, self.opcode, self.fragments, self.utf8 = bytearray(), 0, 0, Utf8()
        self.start = self.body = self.before = 0  # of the present frame: its place, its payload's, and what was before
        try:
            while not self.events or self.events[-1][0] != "close":
                self.read_frame()
            self.discarded = len(self.message) + len(data) - self.used
        except _Broken as broken:
            self.events.append(("fail", broken.violation))
            bad_text = broken.violation is Violation.TEXT_NOT_UTF8
            self.discarded = self.before + len(data) - (self.body if bad_text else self.start)
        except EOFError:
            self.discarded = len(self.message)

    def next(self) -> int:
        if self.used == len(self.data):
            raise EOFError
        self.used += 1
        return self.data[self.used - 1]

    def read_frame(self) -> None:
        self.start, self.before = self.used, len(self.message)
        first = self.next()
        opcode, fin = first & 0x0F, bool(first & 0x80)
        _require(not first & 0x70, Violation.RESERVED_BITS)
        _require(opcode in (0, 1, 2, 8, 9, 10), Violation.RESERVED_OPCODE)
        control = opcode >= 8
        _require(fin or not control, Violation.CONTROL_FRAGMENTED)
        second = self.next()
        masked, length = bool(second & 0x80), second & 0x7F
        _require(masked or self.role is not Role.SERVER, Violation.FRAME_NOT_MASKED)
        _require(not masked or self.role is not Role.CLIENT, Violation.FRAME_MASKED)
        _require(length < 126 or not control, Violation.CONTROL_TOO_LONG)
        if length == 126:
            length = self.next() << 8 | self.next()
            _require(length > 125, Violation.LENGTH_NOT_MINIMAL)
        elif length == 127:
            length = self.next()
            _require(length < 0x80, Violation.LENGTH_OUT_OF_RANGE)
            for _ in range(7):
                length = length << 8 | self.next()
            _require(length > 0xFFFF, Violation.LENGTH_NOT_MINIMAL)
        mask = bytes(self.next() for _ in range(4)) if masked else bytes(4)
        if control:
            payload = bytes(self.next() ^ mask[i % 4] for i in range(length))
            self.start = self.used  # a control frame is read, whatever it says
            self.events.append(read_close(payload) if opcode == 8 else ("ping" if opcode == 9 else "pong", payload))
            return
        _require(opcode != 0 or self.opcode != 0, Violation.NOTHING_TO_CONTINUE)
        _require(opcode == 0 or self.opcode == 0, Violation.MESSAGE_UNFINISHED)
        self.opcode = opcode or self.opcode
        _require(len(self.message) + length <= self.max_size, Violation.MESSAGE_TOO_BIG)
        few, large = self.fragments < self.max_fragments, len(self.message) + length >= 16 * self.fragments
        _require(few or large, Violation.TOO_MANY_FRAGMENTS)
        self.fragments += 1
        self.body = self.used
        for i in range(length):
            octet = self.next() ^ mask[i % 4]
            _require(self.opcode != 1 or self.utf8.takes(octet), Violation.TEXT_NOT_UTF8)
            self.message.append(octet)
        if fin:
            _require(self.opcode != 1 or self.utf8.is_complete, Violation.TEXT_NOT_UTF8)
            self.events.append(("message", self.message.decode() if self.opcode == 1 else bytes(self.message)))
            self.message, self.opcode, self.fragments = bytearray(), 0, 0

    def answers(self) -> list[tuple[int, bytes]]:
        """Return the frames that the connection must send: a pong for each ping, and one Close frame at the end."""
        written = []
        for event in self.events:
            if event[0] == "ping":
                written.append((PONG, event[1]))
            elif event[0] == "close":
                written.append((CLOSE, close_payload(*event[1])))
            elif event[0] == "fail":
                written.append((CLOSE, close_payload(event[1].code, event[1].text)))
        return written

    def seen(self) -> list[tuple[Any, ...]]:
        """Return the events that the application must receive."""
        return [event for event in self.events if event[0] in ("message", "pong")]


def read_close(payload: bytes) -> tuple[str, CloseFrame]:
    """Parse the payload of a Close frame (RFC 6455 sections 5.5.1 and 7.4)."""
    if not payload:
        return "close", CloseFrame(None, "")
    _require(len(payload) > 1, Violation.CLOSE_TOO_SHORT)
    code, utf8 = payload[0] << 8 | payload[1], Utf8()
    _require(code in (1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)), Violation.CLOSE_CODE_RESERVED)
    _require(all(map(utf8.takes, payload[2:])) and utf8.is_complete, Violation.CLOSE_REASON_NOT_UTF8)
    return "close", CloseFrame(code, payload[2:].decode())


# Streams for Hypothesis: mostly right, because a stream that is wrong at once shows little.

sizes = st.sampled_from([0, 1, 2, 3, 4, 5, 7, 8, 9, 31, 124, 125, 126, 127, 128, 300])
scripts = st.sampled_from(["a", "ä", "€", "𝄞", "\0", "aä€𝄞"])
texts = st.builds(lambda script, size: script * size, scripts, st.integers(0, 60)) | st.text(max_size=20)
payloads = st.builds(lambda size, octet: bytes((octet + i) % 256 for i in range(size)), sizes, st.integers(0, 255))
codes = st.sampled_from([1000, 1001, 1002, 1003, 1007, 1011, 1014, 2999, 3000, 4999, 5000, 0, 999, 1004, 1005, 1015])
bad_utf8 = st.sampled_from([b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xff", b"a\x80", b"\xe2\x82", b"\xf8"])


@st.composite
def fragmented(draw: st.DrawFn, role: Role) -> bytes:
    """A message in fragments, with text split anywhere, and control frames between them."""
    text = draw(st.booleans())
    whole = draw(texts).encode() if text else draw(payloads)
    cuts = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=4)))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    data = b""
    for i, piece in enumerate(pieces):
        opcode = CONTINUATION if i else TEXT if text else BINARY
        data += frame(role, opcode, piece, fin=i == len(pieces) - 1, mask=draw(masks(role)))
        if draw(st.integers(0, 3)) == 0:
            data += frame(role, draw(st.sampled_from([PING, PONG])), draw(payloads)[:125])
    return data


def masks(role: Role) -> st.SearchStrategy[bytes]:
    """Masking keys for frames to a server; none for frames to a client."""
    return st.binary(min_size=4, max_size=4) if role is Role.SERVER else st.just(b"")


@st.composite
def any_frame(draw: st.DrawFn, role: Role) -> bytes:
    """A frame that may break any rule, but usually breaks none or one."""
    opcode = draw(st.sampled_from([TEXT, BINARY, PING, PONG, CONTINUATION, CLOSE]))
    payload = draw(payloads)
    if opcode == TEXT:
        payload = draw(texts).encode()
    elif opcode == CLOSE:
        payload = draw(st.sampled_from([b"", b"\x03"]) | st.builds(close_payload, codes, st.just("so long")))
    options: dict[str, Any] = {"mask": draw(masks(role))}
    whim = draw(st.integers(0, 24))
    if whim == 0:
        options["rsv"] = draw(st.sampled_from([0x40, 0x20, 0x10]))
    elif whim == 1:
        opcode = draw(st.integers(0, 15))
    elif whim == 2:
        options["fin"] = False
    elif whim == 3:
        options["mask"] = b"" if role is Role.SERVER else MASK
    elif whim == 4:
        options["form"] = 16
    elif whim == 5:
        options["form"] = 64
    elif whim == 6:
        options["declared"], options["form"] = draw(st.integers(0, (1 << 64) - 1)), 64
    elif whim == 7:
        payload = draw(bad_utf8) if opcode != CLOSE else b"\x03\xe8" + draw(bad_utf8)
    elif whim == 8:
        payload = draw(st.binary(max_size=400))
    if opcode >= 8 and whim != 8:
        payload = payload[:125]
    return frame(role, opcode, payload, **options)


@st.composite
def streams(draw: st.DrawFn, role: Role) -> bytes:
    """A stream of a peer, valid or not."""
    pieces = st.one_of(any_frame(role), any_frame(role), fragmented(role), st.binary(max_size=3))
    return b"".join(draw(st.lists(pieces, max_size=8)))


cut_places = st.lists(st.integers(0, 600), max_size=12)
