"""Every bad request gets its status and one sentence at once, never a 500 or a traceback."""

import json
import socket
import struct
import zlib

import pytest

from service.http.limits import MAX_IMAGES, MAX_PIXELS, MAX_REQUEST_BYTES
from service.images import MAX_IMAGE_BYTES, MAX_IMAGE_SIDE

CRLF = "\r\n"


def png_that_says(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def refused(answer, status, part):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json()) == ["detail"]
    detail = answer.json()["detail"]
    assert part in detail
    assert "\n" not in detail
    assert "Traceback" not in detail
    assert len(detail) < 300


def upload(data, name="one.png", field="images"):
    return [(field, (name, data))]


@pytest.mark.parametrize(
    ("data", "status", "part"),
    [
        (b"", 415, "got an empty file"),
        (b"hello, this is text", 415, "19 bytes of text"),
        (png_that_says(13300, 13300), 413, "at most 4096 pixels a side, got 13300 x 13300"),
        (png_that_says(100, 100), 415, "is damaged"),
        (bytes(MAX_IMAGE_BYTES + 1), 413, f"at most {MAX_IMAGE_BYTES:,} bytes"),
    ],
    ids=["empty", "text", "bomb", "broken", "large"],
)
@pytest.mark.parametrize("path", ["/score", "/reconstruct", "/explain"])
def test_what_is_no_image_is_refused(client, path, data, status, part):
    answer = client.post(path, files=upload(data))
    refused(answer, status, part)
    assert answer.json()["detail"].startswith("one.png: ")


@pytest.mark.parametrize("path", ["/score", "/reconstruct", "/explain"])
def test_more_pixels_than_a_request_may_have_are_refused_before_any_is_decoded(client, path):
    side, count = MAX_IMAGE_SIDE, MAX_PIXELS // MAX_IMAGE_SIDE**2 + 1
    broken = png_that_says(side, side)  # decoding one would answer 415
    answer = client.post(path, files=upload(broken) * count)
    refused(answer, 413, f"at most {MAX_PIXELS:,} pixels times scans in a request, got {count * side**2:,}")


def test_where_no_image_can_be_read_the_first_is_named(client, pngs):
    answer = client.post("/score", files=[*upload(pngs[0][:50], "cut.png"), *upload(b"text", "text.png")])
    refused(answer, 415, "cut.png: image: is damaged")


@pytest.mark.parametrize("path", ["/score", "/reconstruct", "/explain"])
def test_a_body_that_is_no_upload_is_refused(client, path, pngs):
    refused(client.post(path), 415, "expected multipart/form-data, got none")
    refused(client.post(path, content=pngs[0], headers={"content-type": "image/png"}), 415, "got image/png")
    refused(client.post(path, json={"images": []}), 415, "got application/json")
    refused(client.post(path, files=upload(pngs[0], field="image")), 422, "images: expected a value, got none")
    refused(client.post(path, data={"images": "x"}, files=upload(b"", field="x")), 422, "expected a file, got 'x'")
    for content_type, body in [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=a", b"--b\r\n\r\nx"),
        ("multipart/form-data; boundary=a", b'--a\r\nContent-Disposition: form-data; name="images"\r\n\r\nx'),
        ("multipart/form-data; boundary=a", b""),
    ]:
        answer = client.post(path, content=body, headers={"content-type": content_type})
        assert answer.status_code in {400, 422}
        refused(answer, answer.status_code, ": ")


@pytest.mark.parametrize("path", ["/score", "/reconstruct", "/explain"])
def test_a_form_that_breaks_off_is_refused_rather_than_scored_in_part(client, path, pngs):
    request = client.build_request("POST", path, files=upload(pngs[0]) + upload(pngs[1]))
    kind = {"content-type": request.headers["content-type"]}
    whole = b"".join(request.stream)
    assert client.post(path, content=whole, headers=kind).status_code == 200
    between = whole.rindex(b"--" + kind["content-type"].partition("boundary=")[2].encode(), 0, len(whole) - 10)
    for end in (between, between + 10, len(whole) - 100, len(whole) - 5):
        refused(client.post(path, content=whole[:end], headers=kind), 400, "got one that breaks off")


LONG = "a" * 50_000


def test_long_names_are_not_echoed_whole(client, pngs):
    image = upload(pngs[0])
    for asked in (
        client.post("/score", files=image, data={"model": LONG}),
        client.post("/score", files=image, data={LONG[:1000]: "x"}),
        client.post("/score", files=upload(b"text", LONG[:1000])),
        client.post("/score/array", json={"images": [[[0]]], "model": LONG}),
        client.post("/score/array", json={"images": [[[0]]], LONG: 1}),
        client.get("/models/" + LONG),
        client.get("/sample", params={"class": LONG}),
        client.get("/sample", params={"model": LONG}),
        client.get("/" + LONG),
        client.request(LONG[:1000], "/models"),
    ):
        assert 400 <= asked.status_code < 500
        refused(asked, asked.status_code, ": ")


@pytest.mark.parametrize("alpha", ["0", "1", "-0.1", "nan", "inf", "1e400", "abc"])
def test_alpha_lies_strictly_between_0_and_1(client, pngs, alpha):
    refused(client.post("/score", files=upload(pngs[0]), data={"alpha": alpha}), 422, "alpha: expected")
    refused(client.post(f"/score?alpha={alpha}", files=upload(pngs[0])), 422, "alpha: expected")


@pytest.mark.parametrize("model", ["nope", "../../etc/passwd", "colours"])
def test_an_unknown_detector_is_refused_by_naming_the_known_ones(client, pngs, model):
    refused(client.post("/score", files=upload(pngs[0]), data={"model": model}), 404, "one of: mnist-0, mnist-1")
    refused(client.post("/score/array", json={"images": [[[0]]], "model": model}), 404, "one of: mnist-0, mnist-1")


def test_a_misspelt_option_is_refused_rather_than_ignored(client, pngs):
    refused(client.post("/score", files=upload(pngs[0]), data={"alhpa": "0.1"}), 422, "alhpa: no such field")
    refused(client.post("/score?invrt=true", files=upload(pngs[0])), 422, "invrt: no such field")
    refused(client.post("/score/array", json={"images": [[[0]]], "alhpa": 0.1}), 422, "alhpa: no such field")
    refused(client.get("/sample?sed=1"), 422, "sed: no such field")
    refused(client.post("/score", files=upload(pngs[0]), data={"invert": "perhaps"}), 422, "got 'perhaps'")


def test_too_many_images_are_refused(client, pngs):
    refused(client.post("/score", files=upload(pngs[0]) * (MAX_IMAGES + 1)), 413, f"at most {MAX_IMAGES}, got 257")
    refused(client.post("/score/array", json={"images": [[[0]]] * (MAX_IMAGES + 1)}), 413, f"at most {MAX_IMAGES}")


@pytest.mark.parametrize(
    ("body", "status", "part"),
    [
        ("", 422, "body: expected a value"),
        ('{"images": [', 400, "body: expected JSON"),
        ("\xff\xfe", 400, "body: expected JSON"),
        ("null", 422, "body: expected a valid dictionary"),
        ("{}", 422, "images: expected a value, got none"),
        ('{"images": null}', 422, "images: expected a valid list"),
        ('{"images": "abc"}', 422, "images: expected a valid list"),
        ('{"images": []}', 422, "at least one, got none"),
        ('{"images": [[[NaN]]]}', 422, "got fractions"),
        ('{"images": [[[Infinity]]]}', 422, "got fractions"),
        ('{"images": [[[0.5]]]}', 422, "got fractions"),
        ('{"images": [[[-1, 2]]]}', 422, "got -1 to 2"),
        ('{"images": [[[0, 256]]]}', 422, "got 0 to 256"),
        ('{"images": [[["0"]]]}', 422, "got text"),
        ('{"images": [[[true]]]}', 422, "got booleans"),
        ('{"images": [[[null]]]}', 422, "got null"),
        ('{"images": [[[{}]]]}', 422, "got objects"),
        (f'{{"images": [[[{"9" * 400}]]]}}', 422, "got 9999999999"),
        ('{"images": [[[1, 2], [3]]]}', 422, "got ragged lists"),
        ('{"images": [[0, 1], [2, 3]]}', 422, "got 0 in place of a row"),
        ('{"images": [[[[1]]]]}', 422, "got lists"),
        ('{"images": [[[]]]}', 422, "got an empty list as a row"),
        ('{"images": [[]]}', 422, "got an empty list as an image"),
        ('{"images": [[[1]], [[1, 2]]]}', 422, "got ragged lists"),
        ('{"images": [[[1]], [[1], [2]]]}', 422, "got ragged lists"),
        ('{"images": [[[1]], 2]}', 422, "got 2 in place of an image"),
        ('{"images": [[[true, 2]]]}', 422, "got booleans"),
        ('{"images": [[[1, 0.5, null]]]}', 422, "got fractions and null"),
        (f'{{"images": [[[{"9" * 5000}]]]}}', 400, "body: expected JSON"),
        (f'{{"images": [[[{",".join("0" * 5000)}]]]}}', 413, "at most 4096 pixels a side"),
        (f'{{"images": {"[" * 100_000}{"]" * 100_000}}}', 400, "body: expected"),
        ('{"images": [[[0]]], "alpha": 1}', 422, "alpha: expected less than 1"),
        ('{"images": [[[0]]], "alpha": null}', 422, "alpha: expected a valid number"),
    ],
)
def test_a_bad_array_is_refused(client, body, status, part):
    content = body.encode("latin-1")
    refused(client.post("/score/array", content=content, headers={"content-type": "application/json"}), status, part)


def test_an_array_in_another_content_type_is_refused(client):
    body = json.dumps({"images": [[[0]]]})
    answer = client.post("/score/array", content=body, headers={"content-type": "text/plain"})
    refused(answer, 415, "expected application/json, got text/plain")


@pytest.mark.parametrize(
    ("query", "status", "part"),
    [
        ("n=0", 422, "n: expected greater than or equal to 1"),
        ("n=257", 422, "n: expected less than or equal to 256"),
        ("n=1.5", 422, "n: expected a valid integer"),
        ("seed=-1", 422, "seed: expected greater than or equal to 0"),
        ("seed=4294967296", 422, "seed: expected less than or equal to 4294967295"),
        (f"seed={'9' * 5000}", 422, "seed: expected"),
        ("seed=x", 422, "seed: expected a valid integer"),
        ("format=gif", 422, "format: expected 'png' or 'json', got 'gif'"),
        ("class=dog", 404, "class 'dog': expected one of: ship, cat, frog; choose one, or an index below 3"),
        ("class=3", 404, "class '3': expected one of: ship, cat, frog"),
        ("model=black-and-white&class=cat", 422, "black-and-white is not conditional"),
        ("model=nope", 404, "one of: black-and-white, colours"),
        ("model=mnist-0", 404, "one of: black-and-white, colours"),
    ],
)
def test_a_bad_sample_is_refused(client, query, status, part):
    refused(client.get(f"/sample?{query}"), status, part)


@pytest.mark.parametrize("query", ["steps=1", "steps=65", "start=-1", "end=x"])
def test_a_bad_walk_is_refused(client, query):
    refused(client.get(f"/sample/walk?{query}"), 422, f"{query.partition('=')[0]}: expected")


@pytest.mark.parametrize(
    "path", ["/nope", "/models/a/b", "/web/..%2f..%2fpyproject.toml", "/web/nope.js", "/" + "a" * 999]
)
def test_an_unknown_path_is_refused(client, path):
    refused(client.get(path), 404, "no such path; /docs.json lists all paths")


def test_an_unknown_model_is_not_described(client):
    refused(client.get("/models/nope"), 404, "one of: mnist-0, mnist-1, verdict-0, all-mnist, black-and-white, colours")


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/score"), ("DELETE", "/models"), ("POST", "/sample"), ("PUT", "/")]
)
def test_a_wrong_method_is_refused(client, method, path):
    answer = client.request(method, path)
    refused(answer, 405, f"method {method}: not allowed")
    assert answer.headers["allow"]


def test_many_images_are_not_one_png(client, pngs):
    answer = client.post("/explain", files=upload(pngs[0]) * 2, headers={"accept": "image/png"})
    refused(answer, 406, "expected application/json for 2 images")


def chunks(count):
    yield b'--x\r\nContent-Disposition: form-data; name="images"; filename="a.png"\r\n\r\n'
    for _ in range(count):
        yield bytes(2**20)


@pytest.mark.parametrize(
    ("path", "kind"), [("/score", "multipart/form-data; boundary=x"), ("/score/array", "application/json")]
)
def test_a_body_beyond_the_limit_is_refused_declared_or_chunked(client, path, kind):
    megabytes = MAX_REQUEST_BYTES // 2**20 + 1
    headers = {"content-type": kind}
    part = f"body: expected at most {MAX_REQUEST_BYTES:,} bytes"
    refused(client.post(path, content=bytes(megabytes * 2**20), headers=headers), 413, part)
    refused(client.post(path, content=chunks(megabytes), headers=headers), 413, part)


def test_a_body_declared_too_large_is_refused_before_it_is_sent(client):
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=5) as connection:
        head = ["POST /score HTTP/1.1", "Host: x", f"Content-Length: {MAX_REQUEST_BYTES + 1}", "", ""]
        connection.sendall(CRLF.join(head).encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


def test_the_service_still_serves_afterwards(client, pngs):
    assert client.post("/score", files=upload(pngs[0])).status_code == 200
