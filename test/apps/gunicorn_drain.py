"""gunicorn's configuration with a hook that drains a worker's websockets."""

from typing import Any

from test.apps.gunicorn_conf import control_socket_disable, graceful_timeout

__all__ = ["control_socket_disable", "graceful_timeout", "worker_exit"]


def worker_exit(server: Any, worker: Any) -> None:
    from test.apps.wsgi import handed_off

    handed_off.websockets.drain()
    print("drained", flush=True)
