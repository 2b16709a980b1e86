"""Option names of other libraries and their counterparts here, for the error message about an unknown option."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

_LIMIT = "in wasclean that is max_message_size=, in bytes"
_HOOK = "in wasclean that is on_request=, a function of the request that returns None or a Response"
_HEARTBEAT = "a ping goes out every ping_interval= seconds, and ping_timeout= is how long the answer may take"
_COMPRESSION = "in wasclean that is compression=, a Deflate or None: see docs/compression.md"
_TLS_CLIENT = "in wasclean it belongs into an ssl.SSLContext, which is ssl="
_READING = "there is no such buffer here: what is read ahead is bounded by max_queue= messages"
_WRITING = "in wasclean that is max_buffered_amount=, in bytes"
_LISTENER = "a socket has onopen, onmessage, onerror and onclose, and addEventListener()"

#: Name -> advice, for both ends.
_BOTH = {
    # Sizes.
    "max_size": _LIMIT,
    "max_msg_size": _LIMIT,
    "max_message_length": _LIMIT,
    "max_frame_size": _LIMIT,
    "maxPayload": _LIMIT,
    "maxPayloadLength": _LIMIT,
    "websocket_max_message_size": _LIMIT,
    # Buffers.
    "max_write_buffer_size": _WRITING,
    "write_limit": _WRITING,
    "maxBackpressure": _WRITING,
    "read_limit": _READING,
    "limit": _READING,
    "fragment_size": "messages of 128 KiB or more leave in fragments by themselves",
    # Times.
    "heartbeat": _HEARTBEAT,
    "autoping": _HEARTBEAT,
    "enable_auto_ping": _HEARTBEAT,
    "auto_ping_idle_timeout": _HEARTBEAT,
    "auto_ping_reply_timeout": _HEARTBEAT,
    "enable_auto_pong": "every ping is answered by itself",
    "autoPong": "every ping is answered by itself",
    "websocket_ping_interval": _HEARTBEAT,
    "websocket_ping_timeout": _HEARTBEAT,
    "ping_interval_ms": "in wasclean that is ping_interval=, in seconds",
    "ping_timeout_ms": "in wasclean that is ping_timeout=, in seconds",
    "keepalive": _HEARTBEAT,
    "receive_timeout": "in wasclean that is idle_timeout=, in seconds",
    "idleTimeout": "in wasclean that is idle_timeout=, in seconds",
    "timeout": "open_timeout= and close_timeout= are seconds of the two handshakes, idle_timeout= of silence; for a "
    "single receive use asyncio.timeout()",
    "connect_timeout": "in wasclean that is open_timeout=, in seconds",
    "handshakeTimeout": "in wasclean that is open_timeout=, in seconds",
    "handshake_timeout": "in wasclean that is open_timeout=, in seconds",
    "closeTimeout": "in wasclean that is close_timeout=, in seconds",
    "websocket_handshake_timeout": "in wasclean that is open_timeout=, in seconds",
    "disconnect_on_exception": "a handler that raises closes its connection with 1011",
    # Compression.
    "compress": _COMPRESSION,
    "compression_options": _COMPRESSION,
    "perMessageDeflate": _COMPRESSION,
    "per_message_deflate": _COMPRESSION,
    "extensions": "there is one extension, permessage-deflate: " + _COMPRESSION,
    # Headers and subprotocols.
    "additional_headers": "in wasclean that is headers=",
    "extra_headers": "in wasclean that is headers=",
    "header": "in wasclean that is headers=, a mapping or pairs",
    "http_headers": "in wasclean that is headers=",
    "user_agent_header": "in wasclean that is headers={'User-Agent': ...}",
    "server_header": "in wasclean that is headers={'Server': ...}",
    "user_agent": "in wasclean that is headers={'User-Agent': ...}",
    "cookie": "in wasclean that is headers={'Cookie': ...}",
    "cookies": "in wasclean that is headers={'Cookie': ...}",
    # TLS.
    "ssl_context": "in wasclean that is ssl=",
    "ssl_options": "in wasclean that is ssl=, an ssl.SSLContext",
    "sslopt": "in wasclean that is ssl=, an ssl.SSLContext",
    "ca": _TLS_CLIENT,
    "cert": _TLS_CLIENT,
    "key": _TLS_CLIENT,
    "certfile": _TLS_CLIENT,
    "keyfile": _TLS_CLIENT,
    "validate_cert": _TLS_CLIENT,
    # Without an option.
    "autoclose": "a Close frame of the peer is always answered",
    "create_protocol": "there is no protocol class to replace: the hooks are functions",
    "create_connection": "there is no connection class to replace: the hooks are functions",
    "klass": "there is no protocol class to replace: the hooks are functions",
    "ws_listener_factory": "there are no listener classes: " + _LISTENER,
    "loop": "a socket belongs to the running event loop",
    "logger": "the loggers are wasclean.client and wasclean.server, of Python's logging",
    "decode_text": "text arrives as str and binary as bytes",
    "skipUTF8Validation": "text is always checked, for the protocol demands it",
    "skip_utf8_validation": "text is always checked, for the protocol demands it",
    "on_message": _LISTENER,
    "on_open": _LISTENER,
    "on_error": _LISTENER,
    "on_close": _LISTENER,
    "on_message_callback": _LISTENER,
    "enable_multithread": "it can be called from every thread as it is",
    "path": "a Unix socket is unix=, and the path of a URL is part of the URL",
    "unix_path": "in wasclean that is unix=",
    "uds": "in wasclean that is unix=",
}

#: Name -> advice for clients; takes precedence.
_CLIENT = {
    "protocols": "in wasclean that is subprotocols=",
    "subprotocols": "in wasclean that is protocols=",
    "protocolVersion": "there is one version, 13",
    "proxy_url": "in wasclean that is proxy=",
    "http_proxy": "in wasclean that is proxy=, a URL",
    "http_proxy_host": "in wasclean that is proxy=, a URL such as http://user:password@host:port",
    "http_proxy_port": "in wasclean that is proxy=, a URL such as http://user:password@host:port",
    "http_proxy_auth": "in wasclean that is proxy=, a URL such as http://user:password@host:port",
    "http_no_proxy": "proxy=None takes no proxy, and the environment's no_proxy says for which hosts",
    "proxy_type": "in wasclean that is the scheme of the URL that is proxy=, such as socks5h",
    "agent": "in wasclean that is proxy=, a URL",
    "followRedirects": "in wasclean that is max_redirects=, a number",
    "rejectUnauthorized": "in wasclean that is ssl=, a context that checks no certificate; see docs/tls.md",
    "verify_ssl": "in wasclean that is ssl=, a context that checks no certificate; see docs/tls.md",
    "checkServerIdentity": "server_hostname= is the name that the certificate must have",
    "suppress_origin": "no Origin is sent unless origin= says so",
    "uri": "in wasclean that is the first argument, url",
    "auth": "the user and the password are part of the URL, as in ws://user:password@host; or headers=",
    "reconnect": "docs/errors.md has a loop that reconnects",
    "host": "in wasclean that is part of the URL",
    "port": "in wasclean that is part of the URL",
}

#: Name -> advice for servers; takes precedence.
_SERVER = {
    "process_request": _HOOK,
    "process_response": "further headers are headers=, and other answers come from on_request=",
    "verifyClient": _HOOK,
    "check_origin": "in wasclean that is origins=, a list of origins, ANY or None",
    "noServer": "it can't be mounted in a server of HTTP: on_request= answers other requests",
    "server": "it can't be mounted in a server of HTTP: on_request= answers other requests",
    "select_subprotocol": "in wasclean that is subprotocols=, the one that the server likes best first",
    "handleProtocols": "in wasclean that is subprotocols=, the one that the server likes best first",
    "protocols": "in wasclean that is subprotocols=",
    "clientTracking": "the server has its sockets in .connections",
    "ws_handler": "in wasclean that is the first argument, handler",
    "origin": "in wasclean that is origins=, the origins of pages that may connect",
    "reusePort": "in wasclean that is reuse_port=",
    "sockopt": "in wasclean that is sock=, a socket that has its options",
    "family": "give an address of it as the host, '0.0.0.0' or '::'",
    "start_serving": "it serves once it is awaited, or entered by async with",
    "path": "a Unix socket is unix=, and the path of a URL is what the handler finds in socket.request.path, "
    "and on_request in request.path",
}


def advice(what: str, name: str, known: Sequence[str]) -> str:
    """Return advice on an option that does not exist, after a colon; empty if there is none.

    Args:
        what: the callable that was given it, such as ``serve()``.
        name: of the option.
        known: the names of its options.
    """
    table = _BOTH | (_SERVER if what == "serve()" else _CLIENT)
    if name in table:
        return f": {table[name]}"
    snake = "".join(f"_{char.lower()}" if char.isupper() else char for char in name)
    similar = [snake] if snake in known else get_close_matches(snake, known, n=1, cutoff=0.75)
    return f": did you mean {similar[0]}=?" if similar else ""
