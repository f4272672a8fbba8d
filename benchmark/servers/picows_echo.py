"""The echo server of picows' documentation (its core API)."""

import asyncio

from options import port, tls
from picows import WSListener, WSMsgType, ws_create_server


class ServerClientListener(WSListener):
    def on_ws_frame(self, transport, frame):
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        else:
            transport.send(frame.msg_type, frame.get_payload_as_memoryview())


async def main():
    def listener_factory(request):
        return ServerClientListener()

    server = await ws_create_server(listener_factory, "127.0.0.1", port, ssl=tls)
    await server.serve_forever()


asyncio.run(main())
