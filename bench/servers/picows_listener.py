"""picows' own API: a listener, as in its examples. It hands on bytes and does not look at the text."""

import sys

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server


class Echo(WSListener):
    """Echo every message."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Send it back; the end is ours to see to."""
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        else:
            transport.send(frame.msg_type, frame.get_payload_as_bytes())


def new_listener(request: WSUpgradeRequest) -> WSListener:
    """Accept everybody."""
    return Echo()


async def main(port: int) -> None:
    """Serve until killed."""
    server = await ws_create_server(new_listener, "127.0.0.1", port)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


uvloop.run(main(int(sys.argv[1])))
