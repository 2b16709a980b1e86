"""What a program holds: the WebSocket, its events and its awaitables."""
