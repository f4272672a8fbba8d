"""The echo server of aiohttp's documentation."""

from aiohttp import WSMsgType, web
from options import port, tls


async def websocket_handler(request):
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    async for msg in ws:
        if msg.type == WSMsgType.TEXT:
            await ws.send_str(msg.data)
        elif msg.type == WSMsgType.BINARY:
            await ws.send_bytes(msg.data)
    return ws


app = web.Application()
app.add_routes([web.get("/", websocket_handler)])
web.run_app(app, host="127.0.0.1", port=port, ssl_context=tls)
