"""Whether the server can listen where it is told to."""

import socket

from service.errors import AddressError


def check(host: str, port: int) -> None:
    """Raise AddressError if nothing can listen there; the server itself would fail with a traceback for each worker."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
            trial.bind(address)
            trial.listen()
    except OSError as error:
        reason = error.strerror or error
        raise AddressError(f"{host}:{port}: expected a free address, got: {reason}; choose another --port") from None
