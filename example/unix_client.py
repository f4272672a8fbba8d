"""A client on a Unix-domain socket. Start it with: python example/unix_client.py [PATH]"""

import sys
from pathlib import Path

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


path = Path(sys.argv[1] if len(sys.argv) > 1 else "ws4py.sock").resolve()
client = Client(f"ws+unix://{path}")
client.resource = "/any?where=here"  # In such a URL the path is the socket's.
try:
    client.connect()
except (OSError, HandshakeError) as error:
    sys.exit(f"cannot connect to {path}: {error}")
client.run_forever()
