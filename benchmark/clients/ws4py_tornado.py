"""ws4py's client on Tornado."""

from exchange import url
from ws4py_callbacks import Exchanging

from ws4py.client.tornadoclient import TornadoWebSocketClient


class Client(Exchanging, TornadoWebSocketClient):
    def closed(self, code, reason=None):
        self.io_loop.stop()


client = Client(url)
client.connect()
client.io_loop.start()
