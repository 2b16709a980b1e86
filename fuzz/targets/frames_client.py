"""The frames that a server sends to a client."""

from fuzz.streams import check_stream
from wasclean.model.registry import Role


def fuzz_one(data: bytes) -> None:
    """Run an input: two bytes of options, and a stream of frames."""
    check_stream(Role.CLIENT, data)
