"""Frames (RFC 6455 section 5.2): headers, payloads of Close frames, and a log. octets.py writes frames."""

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

SENT = 0x10  # in a FrameLog: the frame is one of this end
NOTES = 32  # frames that a FrameLog holds
NOTE_SIZE = 16  # bytes of an entry of a FrameLog
MAX_NOTED = (1 << 32) - 1  # bytes; the size that is noted for a larger frame

_OPCODES = {int(opcode): opcode for opcode in Opcode}  # a lookup takes a tenth of the time of Opcode(...)
_KNOWN_OPCODES = sum(1 << opcode for opcode in (0x0, 0x1, 0x2, 0x8, 0x9, 0xA))


class FrameReader:
    """Parses frame headers; its attributes are the fields of the latest one.

    Args:
        role: the end that reads them.
        inflates: True if permessage-deflate is in use.

    Attributes:
        fin: True if the frame is the last of its message.
        compressed: True if it begins a compressed message (RSV1, RFC 7692 section 6).
        opcode: a value of Opcode.
        length: the size of the payload in bytes, at most 2**63 - 1.
        mask: the masking key, its first byte lowest; 0 on a client, which receives no masked frames.
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
        """Parse the header that begins at ``buffer[at]``, of which ``end - at`` bytes have arrived.

        Returns:
            The size of the header, 2 to 14 bytes; or 0 if more bytes are needed.

        Raises:
            RemoteProtocolError: the header is invalid, as far as it has arrived.
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
    """Describe a frame by the first bytes of its header; only these, so that the cuts between reads do not matter."""
    opcode = octets[0] & OPCODE
    kind = f"a {_OPCODES[opcode].name.lower()} frame" if opcode in _OPCODES else f"opcode 0x{opcode:x}"
    return f"{kind}, whose header begins with {bytes(octets).hex(' ')}"


def _describe_bits(first: int) -> str:
    """Describe the reserved bits of a frame."""
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
    """A record of the latest NOTES frames in both directions, without their payload.

    Attributes:
        now: the time that is noted for further frames, more than 0; Connection keeps it up to date.
    """

    __slots__ = ("_at", "_notes", "now")

    def __init__(self, now: float) -> None:
        self.now = now
        self._notes = bytearray()  # a ring buffer, allocated for the first frame
        self._at = -1  # offset of the next entry; -1 before the first

    def note(self, kind: int, size: int) -> None:
        """Add a frame.

        Args:
            kind: its opcode, with FIN, RSV1, and SENT.
            size: the size of its payload in bytes, at most MAX_NOTED.
        """
        at = self._at
        if at < 0:
            self._notes = bytearray(NOTES * NOTE_SIZE)
            self._at = at = 0
        put_note(self._notes, at, self.now, size, kind)
        self._at = at + NOTE_SIZE if at < (NOTES - 1) * NOTE_SIZE else 0

    def last_sent(self) -> tuple[str, int, float]:
        """Return the latest message of this end: ``text`` or ``binary``, its size in bytes, and its time.

        The kind is empty if there is none. Of a message in more fragments than the log holds, only those count.
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
        """Return the frames, the oldest first: SENT, opcode, FIN, size in bytes, time, and RSV1 of each."""
        notes = self._notes
        at = self._at
        # In a full ring the oldest entry is the one to be overwritten next.
        older = range(at, len(notes), NOTE_SIZE) if notes and get_note(notes, at)[0] else ()
        found = []
        for place in chain(older, range(0, at, NOTE_SIZE)):
            time, size, kind = get_note(notes, place)
            opcode = _OPCODES[kind & OPCODE]
            found.append((kind & SENT != 0, opcode, kind & FIN != 0, size, time, kind & RSV1 != 0))
        return found
