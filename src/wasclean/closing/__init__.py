"""How a connection ends (RFC 6455 section 7): the closing handshake, and what is told of it."""
