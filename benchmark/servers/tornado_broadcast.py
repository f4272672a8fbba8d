"""A server on Tornado that sends every message to all, as its chat does."""

import asyncio

from options import port
from tornado.web import Application
from tornado.websocket import WebSocketHandler


class ChatSocketHandler(WebSocketHandler):
    waiters = set()  # noqa: RUF012

    def open(self):
        self.waiters.add(self)

    def on_close(self):
        self.waiters.remove(self)

    def on_message(self, message):
        for waiter in self.waiters:
            waiter.write_message(message)


async def main():
    Application([("/", ChatSocketHandler)]).listen(port, "127.0.0.1")
    await asyncio.Event().wait()


asyncio.run(main())
