"""The opening handshake (RFC 6455 section 4): HTTP heads, URLs, origins, proxies, and the negotiation."""
