"""The client of websockets (threads)."""

from exchange import exchange, message, url, window
from websockets.sync.client import connect

with connect(url) as websocket:
    while exchange.goes_on():
        for _ in range(window):
            websocket.send(message)
        for _ in range(window):
            exchange.check(websocket.recv())
