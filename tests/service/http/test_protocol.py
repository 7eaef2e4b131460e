"""What is no plain HTTP/1.1 request gets one sentence, and its connection ends."""

import json
import socket

import pytest

CRLF = "\r\n"


def read_to_the_end(connection):
    """Return what the service sends until it closes the connection."""
    return b"".join(iter(lambda: connection.recv(2**16), b"")).decode()


@pytest.mark.parametrize("target", ["POST /score", "GET /models"])
def test_a_body_of_two_lengths_is_refused(client, target):
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=5) as connection:
        head = [f"{target} HTTP/1.1", "Host: x", "Content-Length: 5", "Transfer-Encoding: chunked", "", "0", "", ""]
        hidden = ["GET /livez HTTP/1.1", "Host: x", "", ""]
        connection.sendall(CRLF.join([*head, *hidden]).encode())
        answer = read_to_the_end(connection)
        assert answer.startswith("HTTP/1.1 400")
        assert answer.count("HTTP/1.1") == 1


@pytest.mark.parametrize("sent", ["GET / HTTP/1.1\r\nHost: x\r\nBad Header\r\n\r\n", "\x16\x03\x01\r\n\r\n"])
def test_what_is_no_http_is_refused_as_everything_else(client, sent):
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=5) as connection:
        connection.sendall(sent.encode())
        head, _, body = read_to_the_end(connection).partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 400 Bad Request\r\n")
    assert "X-Content-Type-Options: nosniff" in head
    assert json.loads(body) == {"detail": "request: expected HTTP/1.1, got something else; send another"}


def test_a_wish_for_a_websocket_is_a_request_like_all_others(client):
    wish = ["GET /score HTTP/1.1", "Host: x", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=5) as connection:
        connection.sendall(CRLF.join([*wish, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", ""]).encode())
        answer = connection.recv(2**16).decode()
    assert answer.startswith("HTTP/1.1 405")
    assert "x-request-id: " in answer
