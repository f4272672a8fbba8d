"""A hundred clients in one thread. Start it with: python example/manager_clients.py [URL]"""

import sys

from ws4py.client import WebSocketBaseClient
from ws4py.manager import WebSocketManager


class Client(WebSocketBaseClient):
    def handshake_ok(self):
        manager.add(self)

    def received_message(self, message):
        print(message)
        self.close()


manager = WebSocketManager()
manager.start()
for number in range(100):
    client = Client(sys.argv[1] if len(sys.argv) > 1 else "ws://localhost:9000/")
    client.connect()
    client.send(f"hello from {number}")
manager.close_all()  # Each goes on until its server has answered.
manager.stop()
