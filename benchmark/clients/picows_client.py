"""The client of picows (its core API)."""

import asyncio

from exchange import encoded, exchange, url, window
from picows import WSCloseCode, WSListener, WSMsgType, ws_connect


class ClientListener(WSListener):
    def on_ws_connected(self, transport):
        self.send_window(transport)

    def on_ws_frame(self, transport, frame):
        exchange.check(frame.get_payload_as_bytes())
        if exchange.window_is_complete():
            self.send_window(transport)

    def send_window(self, transport):
        if not exchange.goes_on():
            transport.send_close(WSCloseCode.OK)
            transport.disconnect()
            return
        for _ in range(window):
            transport.send(WSMsgType.TEXT, encoded)


async def main():
    transport, _ = await ws_connect(ClientListener, url)
    await transport.wait_disconnected()


asyncio.run(main())
