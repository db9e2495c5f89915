"""What was acknowledged stays, whatever is killed; and a client goes on by itself."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import socket
import sqlite3
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from bson import Binary, Int64
from pymongo import MongoClient, WriteConcern

from stores import embedded
from stores.embedded import wire
from stores.embedded.places import Places

WRITERS = 4
KILLS = 5


def write_until_told(uri: str, number: int, folder: Path) -> None:
    """Insert documents and count up, noting each acknowledgement, until a file says stop."""
    with (
        MongoClient(uri, serverSelectionTimeoutMS=30_000) as client,
        (folder / f"acknowledged-{number}").open("w", buffering=1) as notes,
    ):
        collection, counters = client["d"]["c"], client["d"]["counters"]
        serial = 0
        while not (folder / "stop").exists():
            collection.insert_one({"_id": f"{number}-{serial}", "writer": number})
            counters.find_one_and_update({"_id": number}, {"$inc": {"n": 1}}, upsert=True)
            counters.update_one({"_id": "all"}, {"$inc": {"n": 1}}, upsert=True)
            notes.write(f"{number}-{serial}\n")
            serial += 1


def test_five_kills_during_writes_lose_nothing(root: Path, tmp_path: Path) -> None:
    uri = embedded.ensure_running(root)
    context = multiprocessing.get_context("spawn")
    writers = [
        context.Process(target=write_until_told, args=(uri, number, tmp_path))
        for number in range(WRITERS)
    ]
    for writer in writers:
        writer.start()
    notes = [tmp_path / f"acknowledged-{number}" for number in range(WRITERS)]
    wait_for(lambda: all(path.exists() and path.stat().st_size for path in notes))
    killed = set()
    for _ in range(KILLS):
        time.sleep(random.uniform(0.1, 0.4))
        status = None
        while status is None or status.pid in killed:
            status = embedded.status(root)
        os.kill(status.pid, signal.SIGKILL)
        killed.add(status.pid)
        before = [path.stat().st_size for path in notes]
        wait_for(lambda: all(p.stat().st_size > b for p, b in zip(notes, before, strict=True)))  # noqa: B023
    (tmp_path / "stop").touch()
    for writer in writers:
        writer.join(60)
    # no writer saw an error: each went over five restarts by itself
    assert [writer.exitcode for writer in writers] == [0] * WRITERS
    assert len(killed) == KILLS
    acknowledged = {line for path in notes for line in path.read_text().split()}
    with MongoClient[dict[str, Any]](uri) as client:
        assert {d["_id"] for d in client["d"]["c"].find()} == acknowledged
        # a write that was sent again after a restart was applied once, not twice
        counts = {d["_id"]: d["n"] for d in client["d"]["counters"].find()}
    assert counts["all"] == len(acknowledged)
    assert sum(counts[number] for number in range(WRITERS)) == len(acknowledged)


def wait_for(condition: Any, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_killing_server_and_keeper_is_repaired_on_demand(root: Path) -> None:
    uri = embedded.ensure_running(root)
    with MongoClient[dict[str, Any]](uri) as client:
        client["d"]["c"].insert_many([{"_id": i, "x": {"y": i}} for i in range(100)])
        client["d"]["c"].create_index("x.y", unique=True)
    status = embedded.status(root)
    assert status is not None
    os.kill(status.keeper, signal.SIGKILL)
    os.kill(status.pid, signal.SIGKILL)
    wait_for(lambda: embedded.status(root) is None)
    assert embedded.ensure_running(root) == uri
    with MongoClient[dict[str, Any]](uri) as client:
        collection = client["d"]["c"]
        assert [d["_id"] for d in collection.find()] == list(range(100))
        assert collection.index_information()["x.y_1"]["unique"]
        assert "IXSCAN" in str(collection.find({"x.y": 5}).explain())


def work_through_kills(root: Path, told: Any, done: Any) -> None:
    with MongoClient[dict[str, Any]](embedded.keep_running(root), heartbeatFrequencyMS=500) as c:
        c["d"]["c"].insert_one({"_id": "before"})
        told.set()
        done.wait()
        c["d"]["c"].insert_one({"_id": "after"})


def test_a_process_that_keeps_it_running_is_not_stopped_by_kills(root: Path) -> None:
    context = multiprocessing.get_context("spawn")
    told, done = context.Event(), context.Event()
    worker = context.Process(target=work_through_kills, args=(root, told, done))
    worker.start()
    assert told.wait(60)
    status = embedded.status(root)
    assert status is not None
    os.kill(status.keeper, signal.SIGKILL)
    os.kill(status.pid, signal.SIGKILL)
    done.set()
    worker.join(60)
    assert worker.exitcode == 0
    with MongoClient[dict[str, Any]](embedded.ensure_running(root)) as client:
        assert [d["_id"] for d in client["d"]["c"].find()] == ["before", "after"]


def test_a_stopped_server_stays_stopped(root: Path) -> None:
    uri = embedded.keep_running(root)
    with MongoClient[dict[str, Any]](
        uri, heartbeatFrequencyMS=500, serverSelectionTimeoutMS=500
    ) as client:
        client.admin.command("ping")
        assert embedded.stop(root)
        time.sleep(2)
        assert embedded.status(root) is None


def test_a_restart_keeps_everything(root: Path) -> None:
    uri = embedded.ensure_running(root)
    with MongoClient[dict[str, Any]](uri) as client:
        database = client["d"]
        database["a"].insert_many([{"_id": i} for i in (2, 1, 3)])
        database["a"].update_one({"_id": 1}, {"$set": {"x": 1.0}})
        database["a"].delete_one({"_id": 3})
        database["a"].create_index("x", sparse=True, unique=True)
        database["b"].insert_one({"_id": "gone"})
        database["b"].drop()
        database["c"].insert_one({"_id": {"compound": 1}})
        database["c"].rename("renamed")
        database.create_collection("empty")
        embedded.stop(root)
        embedded.ensure_running(root)
        assert list(database["a"].find()) == [{"_id": 2}, {"_id": 1, "x": 1.0}]
        assert database["a"].index_information()["x_1"]["sparse"]
        assert list(database["renamed"].find()) == [{"_id": {"compound": 1}}]
        assert sorted(database.list_collection_names()) == ["a", "empty", "renamed"]


def test_large_binaries_are_on_disk_and_survive(root: Path) -> None:
    uri = embedded.ensure_running(root)
    blob = os.urandom(300_000)
    with MongoClient[dict[str, Any]](uri) as client:
        collection = client["d"]["c"]
        collection.insert_one({"_id": 1, "deep": [{"data": blob}], "n": 0})
        collection.update_one({"_id": 1}, {"$inc": {"n": 1}})
        assert collection.find_one({"deep.0.data": blob}) is not None
        embedded.stop(root)
        embedded.ensure_running(root)
        assert collection.find_one() == {"_id": 1, "deep": [{"data": blob}], "n": 1}
        list(collection.aggregate([{"$out": "copy"}]))
        collection.delete_one({"_id": 1})
        assert client["d"]["copy"].find_one()["deep"][0]["data"] == blob  # type: ignore[index]
        client["d"]["copy"].update_one({}, {"$set": {"deep": 0}})
    embedded.stop(root)
    with sqlite3.connect(Places.of(root).journal) as journal:
        assert journal.execute("SELECT COUNT(*) FROM binaries").fetchone() == (0,)
    journal.close()


def test_memory_does_not_grow_with_gridfs(root: Path) -> None:
    import gridfs

    uri = embedded.ensure_running(root)
    status = embedded.status(root)
    assert status is not None
    with MongoClient[dict[str, Any]](uri) as client:
        files = gridfs.GridFS(client["d"])
        files.put(os.urandom(5_000_000))
        before = resident_bytes(status.pid)
        for _ in range(20):
            files.put(os.urandom(5_000_000))
        assert resident_bytes(status.pid) - before < 40_000_000


def resident_bytes(pid: int) -> int:
    pages = Path(f"/proc/{pid}/statm")
    if not pages.exists():
        pytest.skip("needs /proc")
    return int(pages.read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def send(root: Path, command: dict[str, Any]) -> dict[str, Any]:
    """Send a command as it is, without a driver's own sessions and numbers."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(str(Places.of(root).socket))
        connection.sendall(wire.command_message(command))
        stream = connection.makefile("rb")
        header = stream.read(wire.HEADER.size)
        return wire.decode(stream.read(wire.body_length(header))[5:])


def test_a_retried_write_is_applied_once(root: Path) -> None:
    session = {"id": Binary.from_uuid(uuid.uuid4())}

    def increment(number: int) -> dict[str, Any]:
        update = {"q": {"_id": 1}, "u": {"$inc": {"n": 1}}, "upsert": True}
        numbered = {"lsid": session, "txnNumber": Int64(number), "$db": "d"}
        return send(root, {"update": "c", "updates": [update], **numbered})

    def value() -> int:
        found = send(root, {"find": "c", "$db": "d"})["cursor"]["firstBatch"]
        return int(found[0]["n"])

    embedded.ensure_running(root)
    first = increment(5)
    embedded.stop(root)  # the memory of it is as durable as the write
    embedded.ensure_running(root)
    assert increment(5) == first and first["upserted"] == [{"index": 0, "_id": 1}]
    assert value() == 1
    increment(6)
    assert value() == 2
    assert increment(5)["code"] == 225
    send(root, {"endSessions": [session], "$db": "admin"})
    increment(5)
    assert value() == 3


def test_journal_write_concern_is_honoured(root: Path) -> None:
    uri = embedded.ensure_running(root)
    with MongoClient[dict[str, Any]](uri) as client:
        durable = client["d"]["c"].with_options(write_concern=WriteConcern(j=True))
        durable.insert_one({"_id": 1})
        assert client["d"]["c"].find_one({"_id": 1}) == {"_id": 1}
