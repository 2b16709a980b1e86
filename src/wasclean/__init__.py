"""WebSockets for Python, with the JavaScript API, and closing done right."""
