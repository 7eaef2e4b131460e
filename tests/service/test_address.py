import socket

import pytest

from service import address
from service.errors import AddressError


def test_a_free_port_is_taken_and_given_back():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AddressError, match=rf"^127.0.0.1:{port}: cannot listen here: .*; choose another"):
            address.check("127.0.0.1", port)
    for _ in range(2):
        address.check("127.0.0.1", port)


def test_an_unknown_host_is_one_sentence():
    with pytest.raises(AddressError, match=r"^no\.host\.invalid:3000: cannot listen here: "):
        address.check("no.host.invalid", 3000)
