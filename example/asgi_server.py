"""An echo server on uvicorn.

python example/asgi_server.py [PORT]
"""

import sys

import uvicorn

from ws4py.server.asgi import WebSocketASGIApplication
from ws4py.websocket import EchoWebSocket

application = WebSocketASGIApplication(EchoWebSocket)

if __name__ == "__main__":
    try:
        port = int(sys.argv[1]) if len(sys.argv) > 1 else 9000
    except ValueError as error:
        sys.exit(f"no port: {error}")
    uvicorn.run(application, host="localhost", port=port)
