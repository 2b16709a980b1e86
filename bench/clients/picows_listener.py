"""picows' own API: a listener. It passes bytes on, and does not validate text."""

import asyncio

from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from bench.endpoint import client_context, run, stay, told


class Echo(WSListener):
    """Echo every message."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Reply to a message; answer a Close frame, which picows leaves to its user."""
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        else:
            transport.send(frame.msg_type, frame.get_payload_as_bytes())


async def main() -> None:
    """Echo every message, until killed."""
    settings = told()
    context = client_context(settings)
    _held = await asyncio.gather(
        *(ws_connect(Echo, settings.url, ssl_context=context) for _ in range(settings.connections))
    )
    await stay()


run(main())
