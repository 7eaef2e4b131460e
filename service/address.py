"""The address on which the server listens."""

import socket

from service.errors import AddressError


def check(host: str, port: int) -> None:
    """Raise AddressError if the server cannot listen on `host` and `port`, before its workers fail with tracebacks."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
            trial.bind(address)
            trial.listen()
    except OSError as error:
        reason = error.strerror or error
        raise AddressError(f"{host}:{port}: cannot listen here: {reason}; choose another --port") from None
