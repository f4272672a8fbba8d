"""A client on Tornado's loop. Start it with: python example/tornado_client.py [URL]"""

import sys

from ws4py.client.tornadoclient import TornadoWebSocketClient


class Client(TornadoWebSocketClient):
    def opened(self):
        self.send("Hello, Tornado")

    def received_message(self, message):
        print(f"The server says: {message}")
        self.close()

    def closed(self, code, reason=None):
        print(f"Closed with {code} {reason}")
        self.io_loop.stop()


try:
    client = Client(*sys.argv[1:] or ["ws://localhost:9000/"])
except ValueError as error:
    sys.exit(str(error))
client.connect()  # Why that has failed, if it has, is logged.
client.io_loop.start()
sys.exit(client.close_code == 1006)
