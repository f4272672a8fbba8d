"""The client websocket-client."""

from exchange import exchange, message, url, window
from websocket import WebSocket

ws = WebSocket()
ws.connect(url)
while exchange.goes_on():
    for _ in range(window):
        ws.send(message)
    for _ in range(window):
        exchange.check(ws.recv())
ws.close()
