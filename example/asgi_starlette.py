"""Shouts back at /ws, in a Starlette application: python example/asgi_starlette.py [PORT]"""

import sys

import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from ws4py.async_websocket import WebSocket
from ws4py.server.asgi import WebSocketASGIApplication


class Shout(WebSocket):
    async def received_message(self, message):
        await self.send(str(message).upper())


websockets = WebSocketASGIApplication({"/": Shout})
home = Route("/", lambda request: PlainTextResponse("a WebSocket is at /ws/\n"))
application = Starlette(routes=[home, Mount("/ws", websockets)])

if __name__ == "__main__":
    try:
        port = int(sys.argv[1]) if len(sys.argv) > 1 else 9000
    except ValueError as error:
        sys.exit(f"no port: {error}")
    uvicorn.run(application, host="localhost", port=port)
