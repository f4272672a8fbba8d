"""ws4py's client on gevent."""

from exchange import exchange, message, url, window

from ws4py.client.geventclient import WebSocketClient

client = WebSocketClient(url)
client.connect()
while exchange.goes_on():
    for _ in range(window):
        client.send(message)
    for _ in range(window):
        exchange.check(client.receive().data)
client.close()
