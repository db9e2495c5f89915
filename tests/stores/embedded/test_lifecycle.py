"""One server per data root: started once, found again, private, and gone when told."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import ServerSelectionTimeoutError

from stores import embedded
from stores.embedded import lifecycle
from stores.embedded.places import RUNNING_ALREADY, PlaceError, Places, lock


def ask(root: Path, barrier: Any, answers: Any) -> None:
    barrier.wait()
    uri = embedded.ensure_running(root)
    status = embedded.status(root)
    answers.put((uri, status.pid if status else None))


def processes_of(root: Path) -> list[str]:
    """Command lines of the processes that serve a root."""
    shown = subprocess.run(
        ["ps", "-eww", "-o", "args"], capture_output=True, text=True, check=True
    ).stdout
    return [line for line in shown.splitlines() if "stores.embedded" in line and str(root) in line]


def test_ten_processes_at_once_get_one_server(root: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier, answers = context.Barrier(10), context.Queue()
    askers = [context.Process(target=ask, args=(root, barrier, answers)) for _ in range(10)]
    for asker in askers:
        asker.start()
    found = {answers.get(timeout=60) for _ in askers}
    for asker in askers:
        asker.join(10)
    assert len(found) == 1
    assert len(processes_of(root)) == 2  # the keeper and the server


def test_a_start_that_somebody_looked_in_on_is_made_again(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, codes = lifecycle._start, []

    def looked_in_on(places: Places, *options: Any) -> subprocess.Popen[bytes]:
        if codes:
            return start(places, *options)
        held = lock(places.server_lock)  # as who asks whether it is served does, for a moment
        process = start(places, *options)
        codes.append(process.wait(timeout=60))
        os.close(held)
        return process

    monkeypatch.setattr(lifecycle, "_start", looked_in_on)
    uri = embedded.ensure_running(root)
    assert codes == [RUNNING_ALREADY]
    assert MongoClient(uri).admin.command("ping")["ok"] == 1


def test_the_next_process_finds_it_again(root: Path) -> None:
    uri = embedded.ensure_running(root)
    first = embedded.status(root)
    code = "import sys; from stores import embedded; print(embedded.ensure_running(sys.argv[1]))"
    shown = subprocess.run(
        [sys.executable, "-c", code, str(root)], capture_output=True, text=True, check=True
    )
    second = embedded.status(root)
    assert shown.stdout.strip() == uri
    assert first is not None and second is not None and first.pid == second.pid


def test_two_roots_have_two_servers(root: Path, tmp_path: Path) -> None:
    uri = embedded.ensure_running(root)
    try:
        other = embedded.ensure_running(tmp_path / "other")
        with MongoClient[Any](uri) as one, MongoClient[Any](other) as two:
            one["d"]["c"].insert_one({"_id": 1})
            assert two["d"]["c"].count_documents({}) == 0
    finally:
        embedded.stop(tmp_path / "other")


def test_only_the_owner_can_come_in(root: Path) -> None:
    root.mkdir(mode=0o755)
    embedded.ensure_running(root)
    places = Places.of(root)
    assert stat.S_IMODE(places.directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(places.socket.stat().st_mode) == 0o600
    for path in places.directory.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) & 0o177 == 0 or path.name.startswith(
            "mongodb.sqlite"
        )
    assert stat.S_IMODE(root.stat().st_mode) == 0o755  # the data root itself is the user's affair


def test_a_long_root_has_its_socket_elsewhere(tmp_path: Path) -> None:
    root = tmp_path / ("a" * 90) / ("B" * 40)
    try:
        uri = embedded.ensure_running(root)
        places = Places.of(root)
        assert root not in places.socket.parents
        assert len(os.fsencode(places.socket)) <= 100
        assert stat.S_IMODE(places.socket.parent.stat().st_mode) == 0o700
        with MongoClient[Any](uri) as client:
            client["d"]["c"].insert_one({"_id": 1})
        assert embedded.status(root) is not None
    finally:
        assert embedded.stop(root)
    assert not places.socket.parent.exists()


@pytest.mark.parametrize("name", ["plain", "With Capitals", "long" * 30])
def test_a_relative_address_leads_to_the_absolute_one(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / name
    embedded.ensure_running(root)
    monkeypatch.chdir(root)
    relative = "mongodb://mongodb%2Fmongodb.sock/?replicaSet=ebsdsg-embedded"
    try:
        with MongoClient[Any](relative, serverSelectionTimeoutMS=5000) as client:
            client["d"]["c"].insert_one({"_id": 1})
            monkeypatch.chdir("/")
            for connection in range(3):  # new connections from elsewhere
                with client.start_session() as session:
                    assert client["d"]["c"].count_documents({}, session=session) == 1, connection
            (address,) = client.nodes
            assert address[0] == str(Places.of(root).address)
    finally:
        embedded.stop(root)
        for link in Places.of(root).links:
            assert not link.is_symlink()


def test_a_directory_that_is_a_link_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (root / "mongodb").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PlaceError, match="not a directory of yours"):
        embedded.ensure_running(root)


def test_a_root_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(PlaceError, match="no database can be kept"):
        embedded.ensure_running(tmp_path / "file")


def test_stale_files_do_not_mislead(root: Path) -> None:
    places = Places.of(root)
    places.prepare()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left_over:
        left_over.bind(str(places.socket))
    state = {"socket": str(places.socket), "pid": os.getpid(), "keeper": os.getpid(), "host": None}
    places.state.write_text(json.dumps(state))
    assert embedded.status(root) is None
    assert not embedded.stop(root)  # and in particular does not stop this process
    embedded.ensure_running(root)
    assert embedded.status(root) is not None


def test_a_damaged_state_file_does_not_mislead(root: Path) -> None:
    embedded.ensure_running(root)
    Places.of(root).state.write_text('{"socket": ')
    assert embedded.ensure_running(root)
    assert len(processes_of(root)) == 2
    assert embedded.stop(root)


def test_a_server_on_another_host_is_not_disturbed(root: Path) -> None:
    places = Places.of(root)
    places.prepare()
    state = {"socket": str(places.socket), "pid": 1, "keeper": 1, "host": "another-host"}
    places.state.write_text(json.dumps(state))
    with pytest.raises(embedded.ServerError, match="another-host"):
        embedded.ensure_running(root)


def test_a_file_that_is_no_database_is_explained(root: Path) -> None:
    places = Places.of(root)
    places.prepare()
    places.journal.write_bytes(b"this is not SQLite, and long enough to look at" * 100)
    with pytest.raises(embedded.ServerError, match="cannot be used as a database"):
        embedded.ensure_running(root)
    assert places.journal.read_bytes().startswith(b"this is not SQLite")


def test_stop(root: Path) -> None:
    uri = embedded.ensure_running(root)
    places = Places.of(root)
    assert embedded.stop(root)
    assert processes_of(root) == []
    assert not places.socket.exists() and not places.state.exists()
    assert embedded.status(root) is None
    assert not embedded.stop(root)
    with (
        MongoClient[Any](uri, serverSelectionTimeoutMS=200) as client,
        pytest.raises(ServerSelectionTimeoutError),
    ):
        client.admin.command("ping")


def test_a_deleted_root_ends_its_server_and_only_that(root: Path) -> None:
    embedded.ensure_running(root)
    old = embedded.status(root)
    assert old is not None
    shutil.rmtree(root)
    uri = embedded.ensure_running(root)
    deadline = time.monotonic() + 15
    while len(processes_of(root)) > 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    new = embedded.status(root)
    assert new is not None and new.pid != old.pid
    with MongoClient[Any](uri) as client:
        client["d"]["c"].insert_one({"_id": 1})


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("process", ["pid", "keeper"])
def test_signals_stop_it_in_good_order(root: Path, name: str, process: str) -> None:
    embedded.ensure_running(root)
    os.kill(getattr(embedded.status(root), process), getattr(signal, name))
    deadline = time.monotonic() + 10
    while processes_of(root):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not Places.of(root).state.exists()


def test_idle_server_stops(root: Path) -> None:
    uri = embedded.ensure_running(root, idle_timeout=3)
    with MongoClient[Any](uri) as client:
        client.admin.command("ping")
        time.sleep(4.5)
        client.admin.command("ping")  # an open connection is not idle
    deadline = time.monotonic() + 15
    while processes_of(root):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def listening_ports(pid: int) -> set[str]:
    """Local TCP addresses a process listens on."""
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            inodes.add(str(link.readlink()))
        except FileNotFoundError:
            continue
    ports = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                ports.add(fields[1])
    return ports


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs /proc")
def test_tcp_only_when_asked(root: Path, tmp_path: Path) -> None:
    embedded.ensure_running(root)
    status = embedded.status(root)
    assert status is not None and status.tcp_uri is None
    assert listening_ports(status.pid) == listening_ports(status.keeper) == set()
    other = tmp_path / "tcp"
    embedded.ensure_running(other, tcp=0)
    try:
        status = embedded.status(other)
        assert status is not None and status.tcp_uri is not None
        (address,) = listening_ports(status.pid)
        assert address.startswith("0100007F:")  # 127.0.0.1
        with MongoClient[Any](status.tcp_uri, serverSelectionTimeoutMS=5000) as client:
            client["d"]["c"].insert_one({"_id": 1})
        # without directConnection the driver discovers the one member there is
        plain = status.tcp_uri.split("?")[0]
        with MongoClient[Any](plain, serverSelectionTimeoutMS=5000) as client:
            assert client["d"]["c"].count_documents({}) == 1
    finally:
        embedded.stop(other)


def test_command_line(root: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "stores.embedded", "--root", str(root), *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    assert run("--status").returncode == 1
    embedded.ensure_running(root)
    assert "uri: mongodb://" in run("--status").stdout
    assert run().returncode == 75  # served already
    assert "stopped" in run("--stop").stdout
    assert "no server" in run("--stop").stdout


def test_garbage_on_the_socket_harms_nobody(root: Path) -> None:
    uri = embedded.ensure_running(root)
    for garbage in (
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x10\x00\x00\x00" * 4,
        b"\xff" * 64,
        b"\x30\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\xdd\x07\x00\x00" + b"\x00" * 32,
    ):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(5)
            connection.connect(str(Places.of(root).socket))
            connection.sendall(garbage)
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(100) == b""
    with MongoClient[Any](uri) as client:
        assert client.admin.command("ping")["ok"] == 1.0
