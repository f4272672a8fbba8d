"""A server on picows' core API that sends every message to all."""

import asyncio

from options import port
from picows import WSListener, WSMsgType, ws_create_server

transports = set()


class Listener(WSListener):
    def on_ws_connected(self, transport):
        transports.add(transport)

    def on_ws_disconnected(self, transport):
        transports.discard(transport)

    def on_ws_frame(self, transport, frame):
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
            return
        message = frame.get_payload_as_bytes()
        for each in transports:
            each.send(frame.msg_type, message)


async def main():
    def listener_factory(request):
        return Listener()

    server = await ws_create_server(listener_factory, "127.0.0.1", port)
    await server.serve_forever()


asyncio.run(main())
