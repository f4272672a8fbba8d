"""Two greenlets on one connection. Start it with: python example/gevent_client.py [URL]"""

import sys

import gevent

from ws4py.client.geventclient import WebSocketClient


def talk(client: WebSocketClient) -> None:
    for number in range(5):
        client.send(f"message {number}")
        gevent.sleep(0.1)
    client.close(reason="enough")


client = WebSocketClient(sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:9000/")
client.connect()
talking = gevent.spawn(talk, client)
while (message := client.receive()) is not None:
    print(message)
talking.join()
print("closed:", client.close_code, client.close_reason)
