"""User, password, TLS and replica set of a MongoDB are settings, and stay where they were written.

A whole campaign runs through a door that asks for all of them; afterwards everything that was
written (documents, FireWorks' specs and launches, folders, logs, messages) is searched for them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bson import json_util

from ebsdsg_flows.settings import load_settings
from stores.collections import Stores
from stores.embedded import ensure_running
from stores.embedded.places import Places

sys.path.append(str(Path(__file__).parents[1] / "fakes" / "mongodb"))
from gateway import Gateway, make_certificates

PASSWORD = "pa55:wörd/@with=everything"
KEY_PASSWORD = "key-s3cret&more"
MP_KEY = "k" * 16 + "0123456789abcdef"
SECRETS = (PASSWORD, "pa55", KEY_PASSWORD, "key-s3cret", MP_KEY)
CAMPAIGN = """
name: two
structures: {source: demo, materials: [mp-23, mp-30]}
simulation:
  parameters: {npx: 4, dmin: 0.12, energy_step: 10.0, n_electrons: 20000, mc_pixels: 51}
"""
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder, KEY_PASSWORD)
    return folder


@pytest.fixture
def gateway(root: Path, certificates: Path) -> Iterator[Gateway]:
    ensure_running(root)
    door = Gateway(Places.of(root).socket, certificates, "ann", PASSWORD)
    door.start()
    yield door
    door.stop()


@pytest.fixture
def settings(gateway: Gateway, certificates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that a real server wants to know."""
    for name, value in (
        ("MONGO_URI", f"mongodb://127.0.0.1:{gateway.port}/?replicaSet=rs0"),
        ("MONGO_USER", "ann"),
        ("MONGO_PASSWORD", PASSWORD),
        ("MONGO_CA_FILE", str(certificates / "ca.pem")),
        ("MONGO_CERTIFICATE", str(certificates / "client.pem")),
        ("MONGO_CERTIFICATE_PASSWORD", KEY_PASSWORD),
        ("MP_API_KEY", MP_KEY),
        ("LOG_LEVEL", "DEBUG"),
    ):
        monkeypatch.setenv(f"EBSDSG_{name}", value)


def leaks(folder: Path) -> list[str]:
    """Files below a folder in which a secret stands."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            found += [f"{path}: {s[:4]}" for s in SECRETS if s.encode() in content]
    return found


@pytest.mark.slow
def test_a_campaign_through_password_and_tls_leaves_no_secret(
    settings: None, gateway: Gateway, root: Path, tmp_path: Path, stores_inside: Stores, ebsdsg: Run
) -> None:
    (tmp_path / "two.yaml").write_text(CAMPAIGN)
    shown = []
    for command in (("submit", "two.yaml"), ("run", "-n", "1", "-q"), ("status",), ("janitor",)):
        done = ebsdsg(*command)
        assert done.returncode == 0, done.stdout + done.stderr
        shown.append(done.stdout + done.stderr)
    assert gateway.logins, "nobody gave the password"
    states = [s["state"] for s in stores_inside.simulations.find()]
    assert states == ["completed", "completed"]
    # a job that fails writes its traceback; one run outside leaves FireWorks' own files
    launchpad = stores_inside.launchpad(strm_lvl="ERROR")
    launchpad.rerun_fw(launchpad.fireworks.find_one({"name": {"$regex": "master"}})["fw_id"])
    stores_inside.master_patterns.delete_many({})
    failed = ebsdsg("rlaunch", "rapidfire", "--idle", "1")
    shown.append(failed.stdout + failed.stderr)
    assert launchpad.fireworks.count_documents({"state": "FIZZLED"}) == 1

    documents = 0
    for name in stores_inside.database.list_collection_names():
        for document in stores_inside.database[name].find():
            documents += 1
            text = json_util.dumps(document, ensure_ascii=False)
            assert not [s[:4] for s in SECRETS if s in text], f"{name}: {document.get('_id')}"
    assert documents > 30
    assert not [s[:4] for s in SECRETS if any(s in text for text in shown)]
    # the database's own files hold what the documents hold
    assert leaks(tmp_path) == []
    assert list(tmp_path.rglob("FW.json"))
    # the one file that is meant to hold it is found by the same search, and is the user's own
    assert ebsdsg("db", "launchpad", "my_launchpad.yaml").returncode == 0
    assert {Path(leak.split(": ")[0]).name for leak in leaks(tmp_path)} == {"my_launchpad.yaml"}
    assert (tmp_path / "my_launchpad.yaml").stat().st_mode & 0o077 == 0


@pytest.fixture
def stores_inside(root: Path) -> Iterator[Stores]:
    """The embedded database behind the door."""
    from stores.connect import connect

    with connect(ensure_running(root), database="ebsdsg") as stores:
        yield stores


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"MONGO_PASSWORD": "pa55 but wrong"}, "refuses .code 18.*Authentication failed"),
        ({"MONGO_USER": "bob"}, "refuses .code 18"),
        ({"MONGO_CA_FILE": "other.pem"}, "certificate verify failed"),
        ({"MONGO_CERTIFICATE": None, "MONGO_CERTIFICATE_PASSWORD": None}, "no MongoDB answers"),
        ({"MONGO_CERTIFICATE_PASSWORD": "key-s3cret wrong"}, "not a usable|PEM|no MongoDB"),
        ({"MONGO_CA_FILE": "missing.pem"}, "missing.pem does not exist"),
        ({"MONGO_URI": "mongodb://ann:pa55@127.0.0.1:9/"}, "leave one of them out"),
        ({"MONGO_USER": None}, "mongo_password is set, but mongo_user is not"),
    ],
)
def test_what_is_wrong_is_said_without_the_secret(
    settings: None,
    certificates: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, str | None],
    words: str,
) -> None:
    import re

    from ebsdsg_flows.cli.errors import explain
    from stores.connect import connect

    for name, value in change.items():
        if value is None:
            monkeypatch.delenv(f"EBSDSG_{name}")
        else:
            named = str(certificates / value) if value.endswith(".pem") else value
            monkeypatch.setenv(f"EBSDSG_{name}", named)
    with pytest.raises(Exception) as caught:
        loaded = load_settings()
        connect(loaded.database_uri, database=loaded.database, timeout=2)
    assert re.search(words, str(caught.value)), str(caught.value)
    assert explain(caught.value) == 1, "an expected error is one line"
    assert not [s for s in ("pa55", "key-s3cret") if s in str(caught.value)]


def test_settings_show_no_secret(settings: None) -> None:
    loaded = load_settings()
    assert PASSWORD not in repr(loaded) + str(loaded) + loaded.model_dump_json()
    assert loaded.database_uri is not None and "ann" in loaded.database_uri
    assert "EBSDSG_ROOT" in os.environ
