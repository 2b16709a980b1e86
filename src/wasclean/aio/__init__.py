"""The asyncio host: the same connection over TCP, TLS and Unix sockets, on any event loop."""
