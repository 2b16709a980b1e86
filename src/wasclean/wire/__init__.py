"""Frames, messages and compression (RFC 6455 section 5, RFC 7692)."""
