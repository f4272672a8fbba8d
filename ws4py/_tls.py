"""TLS contexts: verified, unless the user says otherwise by name."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = [
    "check_context",
    "check_options",
    "check_server_context",
    "client_context",
    "server_context",
]

logger = logging.getLogger("ws4py")

#: What ``ssl_options`` may name. ``ssl_version`` is ignored; ``server_hostname`` is for connecting.
OPTIONS = (
    "certfile",
    "keyfile",
    "password",
    "ca_certs",
    "cert_reqs",
    "check_hostname",
    "ciphers",
    "ssl_version",
    "server_hostname",
)


def check_options(options: Mapping[str, Any]) -> None:
    """See to it that each name is that of an option.

    Raises:
        ValueError: One is not.
    """
    for name in options:
        if name not in OPTIONS:
            raise ValueError(f"{name!r} is not an ssl option; these are: {', '.join(OPTIONS)}")


def check_context(context: Any) -> None:
    """See to it that ``context`` is one, if it is not None.

    Raises:
        TypeError: It is not.
    """
    # Not by its class: where gevent has replaced that, an older context is not of the new one.
    if context is not None and not hasattr(context, "wrap_socket"):
        raise TypeError(f"{context!r} is not an ssl.SSLContext")


def check_server_context(context: Any) -> None:
    """See to it that a server can use ``context``, if it is not None.

    Raises:
        TypeError: It is no context.
        ValueError: It is one for clients.
    """
    check_context(context)
    is_clients = getattr(context, "protocol", None) == ssl.PROTOCOL_TLS_CLIENT
    if is_clients or getattr(context, "check_hostname", False):
        raise ValueError(
            "the TLS context is one for clients: a server's is made by "
            "ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)"
        )


def client_context(options: Mapping[str, Any]) -> ssl.SSLContext:
    """Return a context that verifies the server, with the CAs of the system or of ``ca_certs``.

    Args:
        options: ``ssl_options`` of a client. ``cert_reqs=ssl.CERT_NONE`` turns verification off,
            ``check_hostname=False`` that of the name alone.

    Raises:
        ValueError: An option has an unknown name, or a value that cannot be used.
        FileNotFoundError: A file does not exist.
    """
    check_options(options)
    if options.get("ssl_version") is not None:
        logger.warning("ssl_version is ignored: the best version that both sides know is used")
    ca_certs = _existing(options.get("ca_certs"))
    context = ssl.create_default_context(cafile=ca_certs)
    cert_reqs = options.get("cert_reqs", ssl.CERT_REQUIRED)
    if cert_reqs != ssl.CERT_REQUIRED or options.get("check_hostname") is False:
        context.check_hostname = False
    context.verify_mode = ssl.VerifyMode(cert_reqs)
    _load(context, options)
    return context


def server_context(
    certfile: str, keyfile: str | None = None, password: str | None = None
) -> ssl.SSLContext:
    """Return a context with a server's certificate.

    Raises:
        FileNotFoundError: A file does not exist.
        ValueError: The files hold no certificate, or not the key that belongs to it.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    _load(context, {"certfile": certfile, "keyfile": keyfile, "password": password})
    return context


def _load(context: ssl.SSLContext, options: Mapping[str, Any]) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # Python 3.9 leaves that to OpenSSL
    certfile = _existing(options.get("certfile"))
    keyfile = _existing(options.get("keyfile"))
    if keyfile and not certfile:
        raise ValueError(f"keyfile={keyfile!r} is without the certificate that it belongs to")
    if options.get("ciphers"):
        _set_ciphers(context, options["ciphers"])
    if certfile:
        try:
            context.load_cert_chain(certfile, keyfile, options.get("password"))
        except ssl.SSLError as error:
            raise ValueError(f"{certfile} and its key cannot be loaded: {error}") from error


def _set_ciphers(context: ssl.SSLContext, ciphers: str) -> None:
    try:
        context.set_ciphers(ciphers)
    except ssl.SSLError as error:
        raise ValueError(f"ciphers={ciphers!r} names no cipher") from error


def _existing(path: str | None) -> str | None:
    if path is not None and not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {path}")
    return path
