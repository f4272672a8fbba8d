"""gunicorn's configuration in the tests."""

# Its servers would all listen on the same one.
control_socket_disable = True
graceful_timeout = 15
