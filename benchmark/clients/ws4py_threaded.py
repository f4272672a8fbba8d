"""ws4py's client that a thread reads."""

from exchange import url
from ws4py_callbacks import Exchanging

from ws4py.client.threadedclient import WebSocketClient


class Client(Exchanging, WebSocketClient):
    pass


client = Client(url)
client.connect()
client.run_forever()
