"""The protocol core: bytes and times in, bytes and events out.

No sockets, no clock, no threads. Files are listed, and may import one another, in the order of ARCHITECTURE.md.
"""
