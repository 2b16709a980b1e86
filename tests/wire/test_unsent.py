"""The messages that have not left, from the frames that the transport still holds."""

from __future__ import annotations

import pytest

from tests.protocol_pair import BINARY, CONTINUATION, PING, TEXT, frame
from wasclean.model.registry import Role
from wasclean.wire.unsent import Message, Written, read_back, unsent_messages

both_roles = pytest.mark.parametrize("role", Role)

NOTHING = Written(b"", ())
CUT: Message = (TEXT, "a message that was cut")


def other(role: Role) -> Role:
    return Role.SERVER if role is Role.CLIENT else Role.CLIENT


@both_roles
@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_frames_are_read_back(role: Role, size: int) -> None:
    data = frame(other(role), BINARY, b"x" * size)
    assert list(read_back(Written(data * 2, ()))) == [
        (len(data), 0x80 | BINARY, b"x" * size),
        (2 * len(data), 0x80 | BINARY, b"x" * size),
    ]


@both_roles
def test_a_message_of_which_one_byte_is_held_has_not_left(role: Role) -> None:
    first, second = frame(other(role), TEXT, b"first"), frame(other(role), TEXT, b"second")
    given = Written(first + second, ())
    expected = {0: [], 1: ["second"], len(second): ["second"], len(second) + 1: ["first", "second"]}
    for held, messages in expected.items():
        assert unsent_messages(given, held, NOTHING, None, ()) == messages


@both_roles
def test_fragments_stand_for_the_message_that_they_were_cut_from_once(role: Role) -> None:
    parts = [frame(other(role), TEXT, b"a", fin=False), frame(other(role), CONTINUATION, b"b", fin=False)]
    given, staged = Written(parts[0], ()), Written(parts[1], ())
    assert unsent_messages(given, 1, staged, CUT, [CUT, (BINARY, b"next")]) == [CUT[1], b"next"]


@both_roles
def test_control_frames_are_no_messages(role: Role) -> None:
    ping = frame(other(role), PING, b"?")
    assert unsent_messages(Written(ping, ()), len(ping), Written(ping, ()), None, [(PING, b"")]) == []


@both_roles
def test_a_compressed_message_is_given_back_as_it_was_sent(role: Role) -> None:
    data = frame(other(role), TEXT, b"\x01\x02", rsv=0x40) + frame(other(role), BINARY, b"plain")
    given = Written(data, [(TEXT, b"as it was sent")])
    assert unsent_messages(given, len(data), NOTHING, None, ()) == ["as it was sent", b"plain"]
