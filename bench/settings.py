"""The settings that the benchmark passes to servers and clients."""

from __future__ import annotations

from dataclasses import dataclass

HOST = "127.0.0.1"
#: zlib's level and memory level, equal for all contestants. The window bits are in the settings.
LEVEL = 6
MEM_LEVEL = 5


@dataclass(frozen=True)
class Settings:
    """The first argument of a server or client, as JSON.

    Attributes:
        mode: ``echo``, or ``broadcast`` to send each message to all clients.
        port, connections: for a client, the port to connect to, and the number of connections.
        certificate, key: for a server with TLS, paths of files.
        authority: for a client with TLS, the path of a file.
        deflate: the window bits of permessage-deflate; 0 for no compression.
        zlib_ng: True if wasclean may use zlib-ng, which it prefers to zlib.
        level, mem_level: zlib's level and memory level.
    """

    mode: str = "echo"
    port: int = 0
    connections: int = 1
    certificate: str = ""
    key: str = ""
    authority: str = ""
    deflate: int = 0
    zlib_ng: bool = False
    level: int = LEVEL
    mem_level: int = MEM_LEVEL

    @property
    def url(self) -> str:
        """The URL for a client to connect to."""
        return f"{'wss' if self.authority else 'ws'}://{HOST}:{self.port}/"
