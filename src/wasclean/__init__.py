"""WebSockets for Python, with the JavaScript API, and closing done right."""
__version__="0.1.0"
from .aio.client import connect
from .aio.server import serve
from .websocket import WebSocket
