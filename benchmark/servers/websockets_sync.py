"""The echo server of websockets' documentation (threads)."""

from options import port, tls
from websockets.sync.server import serve


def echo(websocket):
    for message in websocket:
        websocket.send(message)


with serve(echo, "127.0.0.1", port, ssl=tls) as server:
    server.serve_forever()
