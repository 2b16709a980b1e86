"""nginx and HAProxy in front of a port, with the usual configuration for WebSockets, but short timeouts.

Each is one process, with its files in a temporary folder. A socket of the test that is bound and does not listen
reserves the port, so that the system assigns it to no other program.
"""

from __future__ import annotations

import socket as sockets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from time import monotonic, sleep

from tests.faults.patience import PATIENCE
from tests.faults.processes import Process, process, program

NGINX = """
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/log info;
events {{ worker_connections 256; }}
http {{
    access_log {folder}/access;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{own} reuseport;
        location = /ready {{ return 204; }}
        location / {{
            proxy_pass http://127.0.0.1:{port};
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
            proxy_connect_timeout 5s;
            proxy_read_timeout {milliseconds}ms;
            proxy_send_timeout {milliseconds}ms;
        }}
    }}
}}
"""

HAPROXY = """
global
    log stdout format raw local0
defaults
    mode http
    log global
    option httplog
    timeout connect 5s
    timeout client 5s
    timeout server 5s
    timeout tunnel {milliseconds}ms
frontend front
    bind 127.0.0.1:{own}
    http-request return status 204 if {{ path /ready }}
    default_backend back
backend back
    server wasclean 127.0.0.1:{port}
"""


class Gateway:
    """A running reverse proxy.

    Attributes:
        port: the port that it listens on.
        process: its process.
    """

    def __init__(self, port: int, process: Process, folder: Path) -> None:
        self.port = port
        self.process = process
        self._log = folder / "log"

    @property
    def log(self) -> str:
        """Its log and output."""
        written = self._log.read_text() if self._log.exists() else ""
        return written + self.process.stdout + self.process.stderr

    def wait_until_ready(self) -> None:
        """Block until it accepts requests.

        Raises:
            AssertionError: it has not started.
        """
        end = monotonic() + PATIENCE
        while not self._serves():
            assert self.process.is_running, f"the gateway has ended: {self.log}"
            assert monotonic() < end, f"the gateway does not answer: {self.log}"
            sleep(0.002)

    def _serves(self) -> bool:
        try:
            with sockets.create_connection(("127.0.0.1", self.port), PATIENCE) as socket:
                socket.sendall(b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                return b" 204 " in socket.recv(100)
        except OSError:
            return False


#: A function that starts a gateway in front of a port, with an idle timeout in seconds.
Start = Callable[..., AbstractContextManager[Gateway]]


@contextmanager
def nginx(port: int, silence: float = 1.0) -> Iterator[Gateway]:
    """Run nginx in front of a port; skip the test if it is not installed.

    Args:
        port: the port of the server.
        silence: seconds without a byte from the server after which nginx ends the connection.
    """
    path = program("nginx", "nginx-light")
    with _started(NGINX, port, silence, path, "-p", ".", "-e", "log", "-c", "config") as gateway:
        yield gateway


@contextmanager
def haproxy(port: int, silence: float = 1.0) -> Iterator[Gateway]:
    """Run HAProxy in front of a port; skip the test if it is not installed.

    Args:
        port: the port of the server.
        silence: seconds without a byte in either direction after which HAProxy ends the connection.
    """
    path = program("haproxy", "haproxy")
    with _started(HAPROXY, port, silence, path, "-db", "-f", "config") as gateway:
        yield gateway


@contextmanager
def _started(config: str, port: int, silence: float, *command: str) -> Iterator[Gateway]:
    with tempfile.TemporaryDirectory() as folder, sockets.socket() as holder:
        holder.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        own = holder.getsockname()[1]
        filled = config.format(folder=folder, own=own, port=port, milliseconds=round(silence * 1000))
        Path(folder, "config").write_text(filled)
        with process(*command, folder=Path(folder)) as running:
            gateway = Gateway(own, running, Path(folder))
            gateway.wait_until_ready()
            yield gateway
