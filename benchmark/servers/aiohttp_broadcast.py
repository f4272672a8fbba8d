"""A server on aiohttp that sends every message to all."""

from aiohttp import web
from options import port

websockets = set()


async def websocket_handler(request):
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    websockets.add(ws)
    try:
        async for msg in ws:
            for each in list(websockets):
                await each.send_str(msg.data)
    finally:
        websockets.discard(ws)
    return ws


app = web.Application()
app.add_routes([web.get("/", websocket_handler)])
web.run_app(app, host="127.0.0.1", port=port)
