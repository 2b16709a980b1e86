"""The frame codec (RFC 6455 section 5.2): reading headers here, writing frames in octets. And the last frames' log."""

from __future__ import annotations

from itertools import chain

from ..model.errors import RemoteProtocolError
from ..model.registry import CloseFrame, Opcode, Role, may_be_sent
from ..model.violations import Violation
from ..model.wording import listed, not_utf8
from .octets import get_note, put_note

FIN = 0x80
RSV = 0x70
RSV1 = 0x40
TEXT = int(Opcode.TEXT)
BINARY = int(Opcode.BINARY)
MASKED = 0x80
OPCODE = 0x0F
CONTROL = 0x08  # the bit that tells control opcodes from data opcodes

SENT = 0x10  # in a FrameLog, the bit that tells our frames from the peer's
NOTES = 32  # frames that a FrameLog holds
NOTE_SIZE = 16  # bytes of an entry
MAX_NOTED = (1 << 32) - 1  # bytes: what is noted of a larger frame

_OPCODES = {int(opcode): opcode for opcode in Opcode}  # a call of the Enum takes ten times as long as this
_KNOWN_OPCODES = sum(1 << opcode for opcode in (0x0, 0x1, 0x2, 0x8, 0x9, 0xA))


class FrameReader:
    """Reads frame headers, and holds the latest of them.

    Args:
        role: which end we are.
        inflates: whether permessage-deflate is in use.

    Attributes:
        fin: whether the frame is the last of its message.
        compressed: whether it begins a compressed message (RSV1, RFC 7692 section 6).
        opcode: a number of registry.Opcode.
        length: the payload's size in bytes, at most 2**63 - 1.
        mask: the masking key, lowest byte first; 0 on a client, where nothing is masked.
    """

    __slots__ = ("_expects_mask", "_inflates", "compressed", "fin", "length", "mask", "opcode")

    def __init__(self, role: Role, inflates: bool = False) -> None:
        self._expects_mask = role is Role.SERVER
        self._inflates = inflates
        self.fin = True
        self.compressed = False
        self.opcode = 0
        self.length = 0
        self.mask = 0

    def read_header(self, buffer: bytearray, at: int, end: int) -> int:
        """Read the header that begins at ``buffer[at]``, of which ``end - at`` bytes are there.

        Returns:
            The size of the header, 2 to 14 bytes; or 0 if more bytes are needed.

        Raises:
            RemoteProtocolError: the bytes that are there already break a rule.
        """
        available = end - at
        if available < 1:
            return 0
        first = buffer[at]
        opcode = first & OPCODE
        if first & RSV and not (self._inflates and first & RSV == RSV1 and opcode in (TEXT, BINARY)):
            raise RemoteProtocolError(Violation.RESERVED_BITS, _describe_bits(first))
        if not _KNOWN_OPCODES >> opcode & 1:
            raise RemoteProtocolError(Violation.RESERVED_OPCODE, _describe(first))
        if opcode & CONTROL and not first & FIN:
            raise RemoteProtocolError(Violation.CONTROL_FRAGMENTED, _describe(first))
        if available < 2:
            return 0
        second = buffer[at + 1]
        if self._expects_mask:
            if not second & MASKED:
                raise RemoteProtocolError(Violation.FRAME_NOT_MASKED, _describe(first, second))
        elif second & MASKED:
            raise RemoteProtocolError(Violation.FRAME_MASKED, _describe(first, second))
        length = second & 0x7F
        size = 2
        if length >= 126:
            if opcode & CONTROL:
                raise RemoteProtocolError(Violation.CONTROL_TOO_LONG, _describe(first, second))
            size = 4 if length == 126 else 10
            if size == 10 and available > 2 and buffer[at + 2] & 0x80:
                raise RemoteProtocolError(
                    Violation.LENGTH_OUT_OF_RANGE, f"the length's first byte is 0x{buffer[at + 2]:02x}"
                )
            if available < size:
                return 0
            shortest = 126 if size == 4 else 1 << 16
            length = 0
            for i in range(at + 2, at + size):
                length = length << 8 | buffer[i]
            if length < shortest:
                raise RemoteProtocolError(Violation.LENGTH_NOT_MINIMAL, f"{length:,} in {size - 2} bytes")
        if self._expects_mask:
            if available < size + 4:
                return 0
            at += size
            self.mask = buffer[at] | buffer[at + 1] << 8 | buffer[at + 2] << 16 | buffer[at + 3] << 24
            size += 4
        self.fin = first & FIN != 0
        self.compressed = first & RSV1 != 0
        self.opcode = opcode
        self.length = length
        return size


def _describe(*octets: int) -> str:
    """A frame, from the first bytes of its header; only these, so that it does not matter how the bytes are cut."""
    opcode = octets[0] & OPCODE
    kind = f"a {_OPCODES[opcode].name.lower()} frame" if opcode in _OPCODES else f"opcode 0x{opcode:x}"
    return f"{kind}, whose header begins with {bytes(octets).hex(' ')}"


def _describe_bits(first: int) -> str:
    return f"{listed([f'RSV{i}' for i in (1, 2, 3) if first & MASKED >> i])} of {_describe(first)}"


def encode_close(frame: CloseFrame) -> bytes:
    """Return the payload of a Close frame; its code and reason must be valid."""
    if frame.code is None:
        return b""
    return frame.code.to_bytes(2, "big") + frame.reason.encode()


def decode_close(payload: bytes) -> CloseFrame:
    """Parse the payload of a Close frame.

    Raises:
        RemoteProtocolError: the payload is invalid.
    """
    if not payload:
        return CloseFrame(None, "")
    # Section 5.5.1: "If there is a body, the first two bytes of the body MUST be a 2-byte unsigned integer".
    if len(payload) == 1:
        raise RemoteProtocolError(Violation.CLOSE_TOO_SHORT, f"it is {payload.hex()}")
    code = int.from_bytes(payload[:2], "big")
    # Section 7.4.1, of 1005, 1006 and 1015: "MUST NOT be set as a status code in a Close control frame".
    if not may_be_sent(code):
        reason = payload[2:].decode(errors="backslashreplace")
        detail = f"code {code}" + (f" with the reason {reason!r}" if reason else "")
        raise RemoteProtocolError(Violation.CLOSE_CODE_RESERVED, detail)
    # Section 5.5.1: "Following the 2-byte integer, the body MAY contain UTF-8-encoded data".
    try:
        return CloseFrame(code, payload[2:].decode())
    except UnicodeDecodeError as error:
        detail = f"code {code}, and in the reason {not_utf8(error, len(payload) - 2)}"
        raise RemoteProtocolError(Violation.CLOSE_REASON_NOT_UTF8, detail) from None


class FrameLog:
    """The last frames that passed, both ways; never their payload.

    Attributes:
        now: the time that the next notes get, and more than 0; whoever feeds the connection keeps it up to date.
    """

    __slots__ = ("_at", "_notes", "now")

    def __init__(self, now: float) -> None:
        self.now = now
        self._notes = bytearray()  # a ring, which gets its memory with the first note
        self._at = -1  # where the next note goes; before the first, nowhere

    def note(self, kind: int, size: int) -> None:
        """Take note of a frame: FIN, RSV1, SENT if it is ours, and opcode; its payload's size, at most MAX_NOTED."""
        at = self._at
        if at < 0:
            self._notes = bytearray(NOTES * NOTE_SIZE)
            self._at = at = 0
        put_note(self._notes, at, self.now, size, kind)
        self._at = at + NOTE_SIZE if at < (NOTES - 1) * NOTE_SIZE else 0

    def last_sent(self) -> tuple[str, int, float]:
        """The last message of ours: ``text`` or ``binary``, its size in bytes, and when the last of it was framed.

        An empty kind if there is none; of a message in more fragments than the log holds, what those have.
        """
        kind, size, at = "", 0, 0.0
        for sent, opcode, _, length, time, _ in self.entries():
            if sent and opcode < Opcode.CLOSE:
                if opcode is not Opcode.CONTINUATION:
                    kind, size = opcode.name.lower(), 0
                size += length
                at = time
        return kind, size, at

    def entries(self) -> list[tuple[bool, Opcode, bool, int, float, bool]]:
        """The frames, the oldest first: whether ours, opcode, FIN, size in bytes, the time, and RSV1."""
        notes = self._notes
        at = self._at
        # If the ring is full, the oldest is where the next will go.
        older = range(at, len(notes), NOTE_SIZE) if notes and get_note(notes, at)[0] else ()
        found = []
        for place in chain(older, range(0, at, NOTE_SIZE)):
            time, size, kind = get_note(notes, place)
            opcode = _OPCODES[kind & OPCODE]
            found.append((kind & SENT != 0, opcode, kind & FIN != 0, size, time, kind & RSV1 != 0))
        return found
