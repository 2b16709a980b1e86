"""The article's example: it closes the socket while that is still connecting, so the code is 1006, as in a browser."""

from wasclean import WebSocket

socket = WebSocket("ws://localhost:8080")
socket.onopen = lambda event: socket.send("Hello Server!")
socket.onclose = lambda event: print("WebSocket closed:", event.code, event.reason)
socket.close()
