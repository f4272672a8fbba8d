"""Pages and rooms by path, on Tornado. Start it with: python example/tornado_routes.py [PORT]

What is said in ws://localhost:9000/rooms/garden goes to all who are in the garden.
"""

import asyncio
import sys
from collections import Counter
from contextlib import suppress

from tornado.web import Application, RequestHandler

from ws4py.limits import Limits
from ws4py.sending import broadcast
from ws4py.server.tornadoserver import WebSocketHandler, WebSockets
from ws4py.websocket import WebSocket


class Person(WebSocket):
    limits = Limits(max_message_size=4096)

    def received_message(self, message):
        here = [each for each in websockets if room(each) == room(self)]
        broadcast(here, str(message))


def room(person):
    return person.environ["PATH_INFO"].rpartition("/")[2]


class Page(RequestHandler):
    def get(self):
        self.set_header("Content-Type", "text/plain")
        for name, people in sorted(Counter(map(room, websockets)).items()):
            self.write(f"{name}: {people}\n")
        self.write("Open a WebSocket at /rooms/NAME\n")


async def main(port=9000):
    options = {"handler_cls": Person, "websockets": websockets}
    routes = [("/", Page), (r"/rooms/\w{1,20}", WebSocketHandler, options)]
    server = Application(routes).listen(port, "localhost")
    print(f"Open http://localhost:{port}/", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        server.stop()
        websockets.close_all()  # with 1001: Tornado does not know these connections any more
        await websockets.wait_closed()


websockets = WebSockets()
try:
    with suppress(KeyboardInterrupt):
        asyncio.run(main(*map(int, sys.argv[1:])))
except (OSError, OverflowError, ValueError) as error:
    sys.exit(f"cannot listen: {error}")
