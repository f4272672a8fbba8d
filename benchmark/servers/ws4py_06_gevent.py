"""The gevent server of the documentation of ws4py 0.6."""

from gevent import monkey

monkey.patch_all()

from options import port  # noqa: E402

from ws4py.server.geventserver import WSGIServer  # noqa: E402
from ws4py.server.wsgiutils import WebSocketWSGIApplication  # noqa: E402
from ws4py.websocket import EchoWebSocket  # noqa: E402

application = WebSocketWSGIApplication(handler_cls=EchoWebSocket)
WSGIServer(("127.0.0.1", port), application).serve_forever()
