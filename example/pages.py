"""What the examples with pages have in common: they serve the folder ``static``."""

from __future__ import annotations

import json
from pathlib import Path

STATIC = Path(__file__).parent / "static"
KINDS = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
#: A page may take nothing from elsewhere, even if somebody's text became a part of it.
GUARDS = [
    ("Content-Security-Policy", "default-src 'self'; img-src data:"),
    ("X-Content-Type-Options", "nosniff"),
]


def site(page):
    """Return a WSGI application for requests that are not for a websocket: ``page``, at /."""
    # What is not in this table is not there, whatever dots a path may have.
    files = {f"/static/{path.name}": path for path in STATIC.iterdir() if path.suffix in KINDS}
    files["/"] = STATIC / page

    def application(environ, start_response):
        path = files.get(environ["PATH_INFO"])
        if path is None:
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b"Not found\n"]
        start_response("200 OK", [("Content-Type", KINDS[path.suffix]), *GUARDS])
        return [path.read_bytes()]

    return application


def address(scheme, host, port):
    """Return what to type into a browser on this machine."""
    shown = "localhost" if host in ("", "0.0.0.0") else f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}:{port}/"


def is_own_page(environ):
    """Say whether a page of this server asks: a browser tells in Origin whose page it is."""
    own = f"{environ['wsgi.url_scheme']}://{environ['HTTP_HOST']}"
    return environ.get("HTTP_ORIGIN") == own


def decode(message):
    """Return the dict that a message has as JSON, or an empty one: anybody may send anything."""
    try:
        decoded = json.loads(message.data)
    except (ValueError, RecursionError):
        return {}
    return decoded if isinstance(decoded, dict) else {}
