"""The background loop: WebSocket(url) in a script that has no event loop of its own.

A JavaScript program's events wait until the script has run to its end, and the program lives as long as it has a socket.
So do these: the thread of the loop is no daemon, so the process ends with its last socket; and a new socket begins to
connect when the thread that made it has ended, or has not called it for GRACE seconds, so that handlers can be set and
close() can be called before anything happens.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from time import monotonic
from typing import Any

from .aio import client
from .aio.transport import Transport
from .websocket import Opener, Target, WebSocket

#: Seconds that a script may take between two calls of a new socket before that begins to connect.
GRACE = 0.05
