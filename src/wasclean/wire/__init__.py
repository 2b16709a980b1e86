"""Frames and messages (RFC 6455 section 5, RFC 7692): bytes in, messages out, and back."""
