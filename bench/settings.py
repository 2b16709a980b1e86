"""What the benchmark tells the servers and clients that it starts."""

from __future__ import annotations

from dataclasses import dataclass

HOST = "127.0.0.1"
#: For all who compress, so that they do the same work. The window's bits are in the settings.
LEVEL = 6
MEM_LEVEL = 5


@dataclass(frozen=True)
class Settings:
    """The first argument of a server or client, as JSON.

    Attributes:
        mode: what a server does with a message: ``echo``, or ``broadcast`` to everybody.
        port, connections: of a client: where to, and how many.
        certificate, key: files, of a server with TLS.
        authority: a file, of a client with TLS.
        deflate: the window bits of permessage-deflate; 0 for none.
        zlib_ng: whether wasclean may use zlib-ng, which it prefers to zlib.
        level, mem_level: zlib's, for all who compress.
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
        """Where a client connects to."""
        return f"{'wss' if self.authority else 'ws'}://{HOST}:{self.port}/"
