"""The command `oddglyph` in a process of its own: signals, full disks, pipes, terminals, imports and the server."""

import contextlib
import csv
import errno
import io
import os
import pty
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import pytest

REPOSITORY = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "service.cli"]


@pytest.fixture(autouse=True)
def _interruptible():
    """Let child processes receive SIGINT, which they would ignore if this process runs in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def environment(linear_models):
    return {**os.environ, "ODDGLYPH_MODELS": str(linear_models), "PYTHONPATH": str(REPOSITORY), "TERM": "xterm"}


def test_needs_neither_training_nor_a_server():
    heavy = "{'torch', 'torchvision', 'training', 'bentoml', 'fastapi', 'scipy', 'sklearn', 'matplotlib'}"
    code = f"import sys, service.cli; print(sorted(set(sys.modules) & {heavy}))"
    run = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def test_version_is_that_of_the_package():
    run = subprocess.run([*COMMAND, "--version"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert run.stdout.startswith("oddglyph 0.")


def test_serve_answers_over_http_as_the_command_does(linear_models, png_folder):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [*COMMAND, "serve", "--port", str(port), "--models-dir", str(linear_models)]
    process = subprocess.Popen(command, cwd=png_folder, env=environment(linear_models), stderr=subprocess.DEVNULL)
    try:
        _wait_for(f"http://127.0.0.1:{port}/readyz")
        files = [("images", (path.name, path.read_bytes())) for path in sorted(png_folder.glob("[01]*.png"))]
        answer = httpx.post(f"http://127.0.0.1:{port}/score", files=files, timeout=30).json()
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
    command = [*COMMAND, "score", "[01]*.png"]
    run = subprocess.run(
        command, cwd=png_folder, env=environment(linear_models), capture_output=True, text=True, check=True
    )
    for over_http, row in zip(answer["results"], csv.DictReader(io.StringIO(run.stdout)), strict=True):
        assert row["id"] == over_http["id"]
        assert row["is_anomaly"] == str(over_http["is_anomaly"]).lower()
        for name in ("l_con", "latent", "density", "score", "p_value"):
            assert float(row[name]) == pytest.approx(over_http[name], abs=1e-5)


def _wait_for(url):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(url).is_success:
                return
        time.sleep(0.2)
    pytest.fail(f"{url} did not answer")


def huge_npy(path):
    """Write a sparse file of a million black images, which takes minutes to score but no disk space."""
    with path.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (1_000_000, 28, 28)}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + 1_000_000 * 28 * 28)


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
@pytest.mark.parametrize("fdr", [[], ["--fdr"]])
def test_interrupted_run_leaves_nothing(sent, status, fdr, linear_models, tmp_path):
    huge_npy(tmp_path / "huge.npy")
    (tmp_path / "out.csv").write_text("precious")
    command = [*COMMAND, "score", "huge.npy", "--out", "out.csv", *fdr]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment(linear_models), stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 30
        while len(list(tmp_path.iterdir())) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(sent)
        _, err = process.communicate(timeout=30)
    assert process.returncode == status
    assert "Traceback" not in err
    assert err == ("oddglyph: interrupted; no file was written\n" if sent == signal.SIGINT else "")
    assert {path.name for path in tmp_path.iterdir()} == {"huge.npy", "out.csv"}
    assert (tmp_path / "out.csv").read_text() == "precious"


def test_full_disk_is_one_sentence_and_leaves_nothing(linear_models, tmp_path, digits):
    np.save(tmp_path / "digits.npy", digits["x_test"])
    command = [*COMMAND, "score", "digits.npy", "--out", "out.csv"]

    def limit_files():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    run = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment(linear_models),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limit_files,
    )
    assert run.returncode == 1
    assert run.stderr.startswith(f"oddglyph: error: out.csv: cannot be written: {os.strerror(errno.EFBIG)};")
    assert [path.name for path in tmp_path.iterdir()] == ["digits.npy"]


def test_reader_that_has_seen_enough_ends_the_run_quietly(linear_models, tmp_path):
    huge_npy(tmp_path / "huge.npy")
    command = [*COMMAND, "score", "huge.npy"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment(linear_models), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout.readline().startswith(b"id,")
        process.stdout.close()
        assert process.wait(timeout=30) == 1
        assert process.stderr.read() == b""


def test_terminal_shows_a_table(linear_models, png_folder):
    master, slave = pty.openpty()
    command = [*COMMAND, "score", "digits/00.png", "digits/99.png"]
    process = subprocess.Popen(
        command, cwd=png_folder.parent, env=environment(linear_models) | {"COLUMNS": "150"}, stdout=slave, stderr=slave
    )
    os.close(slave)
    shown = b""
    try:
        while chunk := os.read(master, 4096):
            shown += chunk
    except OSError:  # Linux reports the end in this way
        pass
    os.close(master)
    assert process.wait(timeout=30) == 0
    lines = shown.decode().splitlines()
    assert "p_value" in lines[0]
    assert "digits/00.png" in lines[1]
    assert "image: expected PNG" in shown.decode()
    assert lines[-1].startswith("images: 2, ")


def run_in_shell(command, linear_models, folder):
    words = " ".join(COMMAND)
    return subprocess.run(
        command.format(words),
        shell=True,
        cwd=folder,
        env=environment(linear_models),
        capture_output=True,
        text=True,
        check=False,
    )


def test_closed_standard_output_is_one_sentence(linear_models, png_folder):
    run = run_in_shell("{} score 00.png >&-", linear_models, png_folder)
    assert run.returncode == 1
    assert run.stderr == ("oddglyph: error: standard output: is closed; give --out FILE\n")
    assert run_in_shell("{} score 00.png --out out.csv >&- 2>&-", linear_models, png_folder).returncode == 0
    assert (png_folder / "out.csv").read_text().count("\n") == 2


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_output_may_be_a_pipe_or_device(suffix, linear_models, png_folder):
    os.mkfifo(png_folder / "pipe")
    (png_folder / "null").symlink_to("/dev/null")
    command = f"cat pipe > copy & {{}} score 00.png --out pipe --format {suffix} && wait"
    assert run_in_shell(command, linear_models, png_folder).returncode == 0
    assert (png_folder / "pipe").is_fifo()
    assert (png_folder / "copy").stat().st_size
    assert run_in_shell(f"{{}} score 00.png --out null --format {suffix}", linear_models, png_folder).returncode == 0
    assert Path("/dev/null").is_char_device()
    assert (png_folder / "null").is_symlink()


def test_port_in_use_is_one_sentence(linear_models, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        run = run_in_shell(f"{{}} serve --port {port}", linear_models, tmp_path)
    assert run.returncode == 4
    reason = os.strerror(errno.EADDRINUSE)
    assert run.stderr == (f"oddglyph: error: 127.0.0.1:{port}: cannot listen here: {reason}; choose another --port\n")


def test_source_that_breaks_off_has_an_exit_status_of_its_own(linear_models, tmp_path, digits):
    np.save(tmp_path / "digits.npy", digits["x_test"][:3])
    with (tmp_path / "digits.npy").open("ab") as file:
        file.write(b"more")
    for options, status in (("", 3), ("--keep-going", 0)):
        run = run_in_shell(f"{{}} score digits.npy --out out.csv {options}", linear_models, tmp_path)
        assert run.returncode == status
        assert "unreadable: 1, sources that break off: 1, images/s: " in run.stderr
        with (tmp_path / "out.csv").open() as file:
            assert [bool(row["error"]) for row in csv.DictReader(file)] == [False, False, False, True]
