"""Two greenlets on one connection. Start it with: python example/gevent_client.py [URL]"""

import sys

import gevent

from ws4py.client.geventclient import WebSocketClient
from ws4py.exc import HandshakeError


def talk(client: WebSocketClient) -> None:
    for number in range(5):
        client.send(f"message {number}")
        gevent.sleep(0.1)
    client.close(reason="enough")


url = sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:9000/"
try:
    client = WebSocketClient(url)
    client.connect()
except (OSError, ValueError, HandshakeError) as error:
    sys.exit(f"no connection to {url}: {error}")
talking = gevent.spawn(talk, client)
while (message := client.receive()) is not None:
    print(message)
talking.join()
print("closed:", client.close_code, client.close_reason)
