"""An echo server on gunicorn, in two ways. Start it in the folder of this file.

Handed off: one worker has thousands of connections, and goes on with plain requests:

    gunicorn --bind localhost:9000 wsgi_gunicorn:handed_off

Held: each connection has one of the worker's threads, and TLS is spoken too:

    gunicorn --bind localhost:9000 --worker-class gthread --threads 100 wsgi_gunicorn:held

Then: python -m ws4py connect ws://localhost:9000/
"""

from ws4py.manager import WebSocketManager
from ws4py.server.wsgiutils import WebSocketWSGIApplication
from ws4py.websocket import EchoWebSocket

held = WebSocketWSGIApplication(handler_cls=EchoWebSocket)
handed_off = WebSocketWSGIApplication(handler_cls=EchoWebSocket, manager=WebSocketManager)
