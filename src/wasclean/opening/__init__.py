"""How a connection begins (RFC 6455 section 4): HTTP heads, URLs, and what is agreed."""
