"""A client that a thread reads. Start it with: python example/threaded_client.py [URL]"""

import sys

from ws4py.client.threadedclient import WebSocketClient
from ws4py.exc import HandshakeError


class Client(WebSocketClient):
    def opened(self):
        self.send("hello")

    def received_message(self, message):
        print(message)
        self.close(reason="enough")

    def closed(self, code, reason=None):
        print("closed:", code, reason)


url = sys.argv[1] if len(sys.argv) > 1 else "ws://localhost:9000/"
try:
    client = Client(url)
    client.connect()
except (OSError, ValueError, HandshakeError) as error:
    sys.exit(f"no connection to {url}: {error}")
client.run_forever()
