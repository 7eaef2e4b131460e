"""Replaced files are whole or unchanged, links are followed, and files of killed processes are removed."""

import os
import signal
import stat
import subprocess
import sys
import threading

import pytest

from service.atomic import replacing


def test_what_is_not_a_regular_file_is_written_through(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    read = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    with replacing(tmp_path / "pipe") as path:
        path.write_bytes(b"through")
    reader.join(timeout=10)
    assert read == [b"through"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_links_are_followed(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder/file")
    for content in (b"new", b"newer"):
        with replacing(tmp_path / "link") as path:
            path.write_bytes(content)
        assert (tmp_path / "folder" / "file").read_bytes() == content
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755])
def test_permissions_are_kept_from_the_first_byte_on(mode, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "file").chmod(mode)
    with replacing(tmp_path / "file") as path:
        path.write_bytes(b"secret")
        assert stat.S_IMODE(path.stat().st_mode) == mode
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode


def test_new_files_have_the_usual_permissions(tmp_path):
    (tmp_path / "usual").touch()
    with replacing(tmp_path / "file") as path:
        path.write_bytes(b"")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "usual").stat().st_mode


WAITING = (
    "import pathlib, sys, time; from service.atomic import replacing\n"
    "with replacing(pathlib.Path(sys.argv[1])) as path:\n"
    "    path.write_text('half'); print('ready', flush=True); time.sleep(60)"
)


def test_next_run_removes_what_a_killed_one_left_but_not_what_a_living_one_writes(tmp_path):
    processes = [
        subprocess.Popen([sys.executable, "-c", WAITING, tmp_path / "k[1].csv"], stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    try:
        for process in processes:
            assert process.stdout.readline() == b"ready\n"
        processes[0].send_signal(signal.SIGKILL)
        processes[0].wait(timeout=10)
        assert len(list(tmp_path.iterdir())) == 2
        with replacing(tmp_path / "k[1].csv") as path:
            path.write_text("whole")
        left = {child.name for child in tmp_path.iterdir()} - {"k[1].csv"}
        assert len(left) == 1
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    with replacing(tmp_path / "k[1].csv") as path:
        path.write_text("again")
    assert [child.name for child in tmp_path.iterdir()] == ["k[1].csv"]
