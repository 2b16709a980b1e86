"""The end of a connection (RFC 6455 section 7): the closing handshake, liveness, and the report of the outcome."""
