"""The DOM's events and exceptions: this package knows nothing of WebSockets."""
