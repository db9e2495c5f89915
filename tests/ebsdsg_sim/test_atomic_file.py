"""A file appears whole or not at all."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ebsdsg_sim.atomic_file import new_file, write_atomically


def test_the_file_appears_at_the_end_of_the_block_and_nothing_else_stays(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with new_file(path) as temporary:
        temporary.write_bytes(b"new")
        assert path.read_bytes() == b"old"
        assert temporary.parent == tmp_path
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match="bad content"), new_file(path) as temporary:
        temporary.write_bytes(b"half")
        raise ValueError("bad content")
    with pytest.raises(FileNotFoundError), new_file(path):
        pass  # a block that writes nothing is an error, not an empty file
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_content_is_on_the_disk_before_the_file_gets_its_name(tmp_path, monkeypatch):
    path = tmp_path / "a.bin"
    done = []
    sync, replace = os.fsync, type(path).replace

    def watched_sync(descriptor):
        done.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        sync(descriptor)

    def watched_replace(self, target):
        done.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", watched_sync)
    monkeypatch.setattr(type(path), "replace", watched_replace)
    write_atomically(path, b"x")
    assert [name.endswith(".writing") for name in done] == [True, False, False]
    assert done[1:] == ["rename", tmp_path.name]


def test_a_file_that_must_not_be_replaced_is_not(tmp_path):
    path = tmp_path / "a.bin"
    with pytest.raises(FileExistsError), new_file(path, replace=False) as temporary:
        temporary.write_bytes(b"mine")
        path.write_bytes(b"another was faster")
    assert path.read_bytes() == b"another was faster"
    assert list(tmp_path.iterdir()) == [path]


def test_a_kill_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    script = (
        "import os, signal\nfrom ebsdsg_sim.atomic_file import new_file\n"
        f"with new_file({str(path)!r}) as t:\n"
        "    t.write_bytes(b'half')\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script])
    assert killed.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"


def test_threads_of_one_process_do_not_share_a_temporary_file(tmp_path):
    path = tmp_path / "a.bin"
    contents = [bytes([i]) * 200_000 for i in range(4)]
    errors = []

    def write(content):
        try:
            for _ in range(5):
                write_atomically(path, content)
        except OSError as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert path.read_bytes() in contents
