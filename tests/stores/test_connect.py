"""The database is found, is ready when connected to, and its password is never shown."""

from __future__ import annotations

import logging
import os
import pickle
import re
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_values import structure_values

from stores.collections import Stores
from stores.connect import DatabaseUnavailable, connect, locate
from stores.documents import CampaignDocument, SimulationDocument, StructureDocument
from stores.embedded import status
from stores.indexes import INDEXES
from stores.redact import redact, redact_uri
from stores.states import State, StateError

SECRET = "s3cr3t-pa55"


def test_all_indexes_are_there_under_their_names(stores: Stores) -> None:
    for collection, indexes in INDEXES.items():
        found = stores.database[collection].index_information()
        for name, keys in indexes.items():
            assert found[name]["key"] == keys
            assert bool(found[name].get("unique")) == name.endswith("_unique")


def test_connecting_again_changes_nothing(stores: Stores, server_root: Path) -> None:
    with connect(root=server_root, database=stores.database.name) as again:
        assert again.database.name == stores.database.name
        assert set(again.simulations.index_information()) == {"_id_", *INDEXES["simulations"]}


def test_indexes_of_an_earlier_definition_are_made_anew(stores: Stores, server_root: Path) -> None:
    simulations = stores.database["simulations"]
    name, keys = next((n, k) for n, k in INDEXES["simulations"].items() if n != "key_unique")
    simulations.drop_index(name)
    simulations.create_index([("formula", 1)], name=name)
    simulations.create_index([("formula", -1)], name="someone_elses")
    connect(root=server_root, database=stores.database.name).close()
    present = simulations.index_information()
    assert [tuple(pair) for pair in present[name]["key"]] == keys
    assert "someone_elses" in present


def test_uri_of_the_environment_comes_before_the_embedded_server(
    server_root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    uri, root = locate(root=server_root)
    assert root == server_root
    monkeypatch.setenv("EBSDSG_MONGO_URI", uri)
    assert locate(root=tmp_path) == (uri, None)
    assert locate("mongodb://other") == ("mongodb://other", None)
    with connect(root=tmp_path, database="of_environment") as stores:
        assert stores.root is None
        assert stores.client.admin.command("ping")["ok"] == 1
        stores.client.drop_database("of_environment")


def test_database_name_comes_from_argument_uri_or_default(server_root: Path) -> None:
    uri, _ = locate(root=server_root)
    with connect(uri) as stores:
        assert stores.database.name == "ebsdsg"
    with connect(uri.replace("/?", "/mine?")) as stores:
        assert stores.database.name == "mine"
    with connect(uri.replace("/?", "/mine?"), database="yours") as stores:
        assert stores.database.name == "yours"
        for name in ("ebsdsg", "mine", "yours"):
            stores.client.drop_database(name)


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        (f"mongodb://ann:{SECRET}@127.0.0.1:9/db", "no MongoDB answers at .* within 0.5 s"),
        (f"http://ann:{SECRET}@host/", "not a usable MongoDB URI"),
        (f"mongodb://ann:{SECRET}@host:port/", "not a usable MongoDB URI"),
        (f"mongodb://ann:{SECRET}%@host/", "not a usable MongoDB URI"),
        (f"mongodb://ann:{SECRET}/x@@127.0.0.1:9/", "not a usable MongoDB URI"),
        ("localhost", "not a usable MongoDB URI"),
        (f"mongodb://ann:{SECRET}@127.0.0.1:9/?unknownOption=1", "Unknown option"),
        (f"mongodb+srv://ann:{SECRET}@no.such.domain.invalid/db", "not a usable|fails|answers"),
    ],
)
def test_a_wrong_uri_is_one_clear_error_within_seconds(
    uri: str, words: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    begun = time.monotonic()
    with caplog.at_level(logging.DEBUG), pytest.raises(DatabaseUnavailable, match=words) as error:
        connect(uri, timeout=0.5)
    assert time.monotonic() - begun < (30 if "srv" in uri else 5)
    # neither the message nor anything chained to it, printed in a traceback, or logged
    assert SECRET not in str(error.value)
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__
    assert SECRET not in caplog.text
    captured = capfd.readouterr()
    assert SECRET not in captured.out + captured.err


def test_nothing_shows_the_password(server_root: Path) -> None:
    uri, _ = locate(root=server_root)
    with connect(uri, database="redacted") as stores:
        stores._uri = f"mongodb://ann:{SECRET}@host:1/db"
        shown = [repr(stores), str(stores)]
        shown += [stores.jobstore().name, repr(stores.jobstore().docs_store)]
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(stores)
        stores.client.drop_database("redacted")
    assert not [text for text in shown if SECRET in text]
    assert "ann:***@host" in shown[0]


@given(st.text(st.characters(codec="ascii"), min_size=8))
def test_any_password_is_redacted(password: str) -> None:
    uri = f"mongodb+srv://ann:{password}@host.example/db"
    shown = "mongodb+srv://ann:***@host.example/db"
    assert redact_uri(uri) == shown
    assert redact(f"<{uri}>", uri) == f"<{shown}>"
    # also where it stands without its URI, as it is or in the form of a string of Python
    assert redact(f"<{password}>, <{password!r}>", uri) in ("<***>, <'***'>", '<***>, <"***">')


def parts_of(password: str) -> list[str]:
    """The password, and what of it an error may quote."""
    return [password, *(part for part in re.split(r"\W", password) if len(part) > 2)]


@pytest.mark.parametrize("user", ["ann", "dom/ann"])
@pytest.mark.parametrize("password", ["se cret", "se'cret", 'sec"ret', "se/cret", "se@cret", "a b"])
@pytest.mark.parametrize("rest", ["@127.0.0.1:1/", "@host:port/", "@/", "@127.0.0.1:1/?tls=maybe"])
def test_any_password_stays_out_of_messages(user: str, password: str, rest: str) -> None:
    uri = f"mongodb://{user}:{password}{rest}"
    with warnings.catch_warnings(), pytest.raises(DatabaseUnavailable) as error:
        warnings.simplefilter("ignore")
        connect(uri, timeout=0.1)
    assert f"mongodb://{user}:***{rest}" in str(error.value)
    assert not [part for part in parts_of(password) if part in str(error.value)]


MISREAD = [
    "mongodb://ann:a@KestrelWalnut/x@127.0.0.1:1/db",
    "mongodb://ann:a@Kestrel?Walnut77@127.0.0.1:1/?w=1",
    "mongodb://ann:a@Kestrel?Walnut77=x@127.0.0.1:1/db",
    "mongodb://ann:a@Kestrel?Walnut77=x&Walnut77=y@127.0.0.1:1/db",
    "mongodb://ann:a@Kestrel?appName=Walnut77@127.0.0.1:1/db",
    "mongodb://ann:Kestrel?Walnut77@127.0.0.1:1/?appname=x",
    "mongodb://an/n:Jx+XzWk@/db",
    "mongodb://ann:a@Jx?XzWk=Qv@/db",
    "mongodb://ann:a@Jx,Qv/XzWk@127.0.0.1:1",
    "mongodb+srv://ann:a@Kestrel?Walnut77@no.such.domain.invalid/",
]


@pytest.mark.parametrize("uri", MISREAD)
@pytest.mark.parametrize("database", [None, "named"])
def test_what_a_driver_makes_of_a_password_is_not_shown(
    uri: str, database: str | None, recwarn: pytest.WarningsRecorder
) -> None:
    warnings.simplefilter("always")
    with pytest.raises(DatabaseUnavailable) as error:
        connect(uri, database=database, timeout=0.1)
    hidden = redact_uri(uri)
    assert hidden in str(error.value)
    told = [str(error.value).replace(hidden, ""), *(str(w.message) for w in recwarn)]
    pieces = ("kestrel", "walnut", "jx", "xzwk", "qv")
    assert not [p for p in pieces for text in told if p in text.lower()], told


@pytest.mark.parametrize(
    ("option", "shown"),
    [
        ("Other=1", "unknown option: other"),
        ("Kestrel=1", "unknown option: ***"),
        ("Other=b@c", "for it may hold a part of the password"),
    ],
)
def test_warnings_about_a_uri_are_shown_without_its_password(
    option: str, shown: str, recwarn: pytest.WarningsRecorder
) -> None:
    warnings.simplefilter("always")
    uri = f"mongodb://ann:Kestrel@127.0.0.1:1/?{option}"
    with pytest.raises(DatabaseUnavailable, match="no MongoDB answers"):
        connect(uri, database="named", timeout=0.1)
    assert [w for w in recwarn if shown in str(w.message).lower()]
    assert not [w for w in recwarn if "kestrel" in str(w.message).lower()]


def test_a_password_is_hidden_in_capitals_or_not() -> None:
    uri = "mongodb://ann:KestrelWalnut@host/"
    assert redact("kestrelwalnut:1 KESTRELWALNUT", uri) == "***:1 ***"


def test_an_at_sign_in_an_option_is_no_part_of_a_password(server_root: Path) -> None:
    uri, _ = locate(root=server_root)
    with connect(f"{uri}&appName=ann@host") as stores:
        stores.client.drop_database(stores.database.name)


def test_passwords_among_the_options_are_redacted() -> None:
    text = redact(f"mongodb://host/?tlsCertificateKeyFilePassword={SECRET}&tls=true")
    assert text == "mongodb://host/?tlsCertificateKeyFilePassword=***&tls=true"


def test_uri_without_password_stays_readable() -> None:
    for uri in ("mongodb://%2Ftmp%2Fx.sock/?directConnection=true", "mongodb://a:1,b:2/db"):
        assert redact(uri) == uri


def test_importing_is_cheap() -> None:
    program = (
        "import sys, stores.connect, stores.documents, stores.queries, stores.runs;"
        "heavy = {'maggma', 'jobflow', 'fireworks', 'torch', 'pymatgen', 'pymongo', 'numpy'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert answer.stdout.strip() == "[]"


class TestDocuments:
    def test_adding_twice_keeps_the_first(
        self, stores: Stores, structure: StructureDocument
    ) -> None:
        assert stores.add(structure)
        other = StructureDocument(**structure_values(licence="other"))
        assert not stores.add(other)
        kept = stores.get(StructureDocument, "mp-23")
        assert kept == structure

    def test_adding_many_counts_the_new_ones(self, stores: Stores) -> None:
        documents = [StructureDocument(**structure_values(f"mp-{i}")) for i in range(25)]
        assert stores.add_many(documents[:10], batch=4) == 10
        assert stores.add_many(documents, batch=4) == 15
        assert stores.structures.count_documents({}) == 25

    def test_saving_replaces_and_keeps_the_time_of_creation(self, stores: Stores) -> None:
        first = CampaignDocument(key="c", name="c", query={"a": 1}, parameters={})
        stores.save(first)
        stores.save(CampaignDocument(key="c", name="c", query={"b": 2}, parameters={}))
        found = stores.get(CampaignDocument, "c")
        assert found is not None
        assert found.query == {"b": 2}
        assert found.created == first.created
        assert found.last_updated >= first.last_updated
        assert stores.campaigns.count_documents({}) == 1

    def test_saving_does_not_change_states(self, stores: Stores, make_simulation) -> None:
        simulation = make_simulation()
        stores.simulations.update_one(
            {"key": simulation.key}, {"$set": {"state": "completed", "claim": None}}
        )
        with pytest.raises(StateError, match="states are changed by"):
            stores.save(simulation)
        found = stores.get(SimulationDocument, simulation.key)
        assert found is not None
        assert found.state is State.COMPLETED

    def test_nothing_of_that_key_is_none(self, stores: Stores) -> None:
        assert stores.get(CampaignDocument, "nobody") is None


class TestOtherLibraries:
    def test_maggma_store_sees_the_same_documents(
        self, stores: Stores, structure: StructureDocument
    ) -> None:
        stores.add(structure)
        store = stores.store("structures")
        assert store is stores.store("structures")
        assert store.key == "key"
        assert store.query_one({"key": "mp-23"})["formula"] == "Ni"
        assert store.last_updated == structure.last_updated.replace(tzinfo=None)
        with pytest.raises(KeyError, match="no collection 'speling'"):
            stores.store("speling")

    def test_jobstore_keeps_large_data_aside(self, stores: Stores) -> None:
        jobstore = stores.jobstore()
        jobstore.connect()
        document = {"uuid": "u", "index": 1, "output": {"small": 1, "array": list(range(1000))}}
        jobstore.update([document], save={"data": ["array"]})
        raw = stores.database["outputs"].find_one({"uuid": "u"})
        assert raw is not None
        assert "blob_uuid" in raw["output"]["array"]
        assert jobstore.query_one({"uuid": "u"}, load=True)["output"]["array"] == list(range(1000))

    def test_jobflow_configuration_opens_the_same_store(self, stores: Stores) -> None:
        from jobflow import JobStore

        stores.database["outputs"].insert_one({"uuid": "v", "index": 1, "output": 5})
        jobstore = JobStore.from_dict_spec(stores.jobstore_spec())
        jobstore.connect()
        assert jobstore.get_output("v") == 5

    def test_launchpad_runs_a_workflow_in_the_same_database(
        self, stores: Stores, clean_dir: Path
    ) -> None:
        from fireworks import Firework, FWorker, ScriptTask, Workflow
        from fireworks.core.rocket_launcher import rapidfire

        launchpad = stores.launchpad(strm_lvl="ERROR")

        launchpad.reset("", require_password=False)
        launchpad.add_wf(Workflow([Firework(ScriptTask.from_str("true"), name="one")]))
        rapidfire(launchpad, FWorker(), nlaunches=1, strm_lvl="ERROR")
        assert stores.database["fireworks"].find_one({"name": "one"})["state"] == "COMPLETED"


def test_clients_survive_a_killed_embedded_server(server_root: Path, stores: Stores) -> None:
    for i in range(3):
        stores.campaigns.insert_one({"key": f"before {i}"})
        running = status(server_root)
        assert running is not None
        os.kill(running.pid, signal.SIGKILL)
        stores.campaigns.insert_one({"key": f"after {i}"})
        assert stores.campaigns.count_documents({}) == 2 * (i + 1)
    assert len(stores.campaigns.distinct("key")) == 6
