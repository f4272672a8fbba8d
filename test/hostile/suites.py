"""All attacks: to import this fills ``test.hostile.ATTACKS``."""

from __future__ import annotations

from test.hostile import (
    clients,
    clients_lasting,
    clients_requests,
    clients_tls,
    closing,
    deflate,
    deflate_floods,
    deflate_offers,
    floods,
    frames,
    handshake,
    heads,
    isolation,
    offers,
    opening,
    tls,
    utf8,
)

__all__ = [
    "clients",
    "clients_lasting",
    "clients_requests",
    "clients_tls",
    "closing",
    "deflate",
    "deflate_floods",
    "deflate_offers",
    "floods",
    "frames",
    "handshake",
    "heads",
    "isolation",
    "offers",
    "opening",
    "tls",
    "utf8",
]
