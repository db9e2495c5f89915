"""The real mp-api client against a server with faults: complete, or what is missing is said."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_materials_project import FCC, KEY, SIMPLE, FakeMaterialsProject, bcc, fcc, summary
from pydantic import SecretStr
from pymongo.errors import AutoReconnect

from ebsdsg_flows.campaign import StructureQuery
from ebsdsg_flows.imports import (
    ImportFailed,
    MaterialsProject,
    fetching,
    import_materials_project,
    import_source,
)
from ebsdsg_flows.imports import (
    summary as summary_of,
)
from ebsdsg_flows.imports.summary_rows import ListedEntry
from ebsdsg_flows.settings import Settings
from ebsdsg_flows.sources import SourceError, read_sources
from stores.collections import Stores
from stores.documents import ImportDocument, SourceStructureDocument
from stores.states import State

QUERY = StructureQuery(
    source="materials_project", groups=(225, 229), max_volume={225: 250.0, 229: 250.0}
)
ALL = {f"mp-10{i}" for i in range(7)} | {"mp-201", "mp-202"}


def run(
    stores: Stores, client: MaterialsProject, query: StructureQuery = QUERY, **options: Any
) -> ImportDocument:
    return import_materials_project(
        stores, query, client, **{"page_size": 3, "batch_size": 2, **options}
    )


def keys(stores: Stores) -> set[str]:
    return {values["key"] for values in stores.source_structures.find({}, {"key": True})}


def get(stores: Stores, key: str) -> SourceStructureDocument:
    found = stores.get(SourceStructureDocument, key)
    assert found is not None
    return found


MALFORMED: dict[str, tuple[Callable[[Any], object], str]] = {
    "mp-group0": (lambda e: e["symmetry"].update(number=0), "space group 0 is not from 1"),
    "mp-group231": (lambda e: e["symmetry"].update(number=231), "space group 231 is not from 1"),
    "mp-volume": (lambda e: e.update(volume=-1.0), "volume -1.0 is not"),
    "mp-amount": (lambda e: e.update(composition={"Ni": "x"}), "the summary is malformed"),
    "mp-nothing": (lambda e: e.update(composition={"Ni": 0.0}), "amounts that are not above 0"),
    "mp-composition": (lambda e: e.update(composition=["Ni"]), "composition is no mapping"),
    "mp-licence": (lambda e: e.update(builder_meta="x"), "builder_meta is no mapping"),
    "mp-nowhere": (lambda e: atom(e).update(abc=None), "not the dictionary of a pymatgen"),
    "mp-flat": (lambda e: atom(e).update(abc=[0, 0]), "are not three numbers"),
    "mp-properties": (lambda e: e["structure"].update(properties=[1]), "properties are no mapping"),
    "mp-notes": (lambda e: e["structure"].update(properties={"notes": 3}), "notes is no list"),
    "mp-sites": (lambda e: e["structure"].update(sites=None), "not the dictionary"),
    "mp-species": (lambda e: atom(e).update(species=["Ni"]), "not the dictionary"),
}


def atom(entry: dict[str, Any]) -> dict[str, Any]:
    first: dict[str, Any] = entry["structure"]["sites"][0]
    return first


class TestComplete:
    def test_all_pages_of_all_groups_with_their_origin(
        self, stores: Stores, server: FakeMaterialsProject, client: MaterialsProject
    ) -> None:
        document = run(stores, client)
        assert document.state is State.COMPLETED
        assert document.counts == {"new": 9}
        assert keys(stores) == ALL
        assert {p["_skip"] for p in server.asked("spacegroup_number")} == {"0", "3", "6"}
        entry = get(stores, "mp-103")
        assert entry.source.kind == "materials project"
        assert entry.source.database_version == "2026.02.08" == document.database_version
        assert entry.source.last_updated is not None
        assert entry.licence == "CC-BY-4.0 (Materials Project)"
        assert "APL Materials" in entry.citation
        assert entry.space_group == 225
        # the given cell is primitive, a quarter of the conventional one
        assert entry.volume_conventional == pytest.approx(3.53**3, rel=1e-5)
        assert stores.get(ImportDocument, document.key) == document

    def test_lists_carry_no_structures(
        self, stores: Stores, server: FakeMaterialsProject, client: MaterialsProject
    ) -> None:
        run(stores, client)
        assert all("structure" not in p["_fields"] for p in server.asked("spacegroup_number"))
        assert all("structure" in p["_fields"] for p in server.asked("material_ids"))

    def test_the_second_import_fetches_nothing(
        self, stores: Stores, server: FakeMaterialsProject, client: MaterialsProject
    ) -> None:
        run(stores, client)
        before = {key: get(stores, key).last_updated for key in ALL}
        server.requests.clear()
        document = run(stores, client)
        assert document.counts == {"unchanged": 9}
        assert server.asked("material_ids") == []
        assert {key: get(stores, key).last_updated for key in ALL} == before

    def test_only_what_changed_is_fetched_and_written(
        self, stores: Stores, server: FakeMaterialsProject, client: MaterialsProject
    ) -> None:
        run(stores, client)
        before = get(stores, "mp-103")
        server.version = "2026.04.01"
        server.entries["mp-103"] = fcc("mp-103", a=3.6, last_updated="2026-03-01T00:00:00Z")
        # calculated again, with the same outcome
        server.entries["mp-104"]["last_updated"] = "2026-03-01T00:00:00Z"
        server.entries["mp-300"] = fcc("mp-300", "Cu", a=3.6)
        server.requests.clear()
        document = run(stores, client)
        assert document.counts == {"unchanged": 8, "changed": 1, "new": 1}
        asked = {i for p in server.asked("material_ids") for i in p["material_ids"].split(",")}
        assert asked == {"mp-103", "mp-104", "mp-300"}
        after = get(stores, "mp-103")
        assert after.last_updated > before.last_updated
        assert after.created == before.created
        assert after.source.database_version == "2026.04.01"
        assert get(stores, "mp-104").source.database_version == "2026.02.08"
        # and is not asked for again
        server.requests.clear()
        assert run(stores, client).counts == {"unchanged": 10}
        assert server.asked("material_ids") == []

    def test_withdrawn_and_replaced_entries_stay_and_say_so(
        self, stores: Stores, server: FakeMaterialsProject, client: MaterialsProject
    ) -> None:
        run(stores, client)
        del server.entries["mp-100"]
        server.entries["mp-101"]["task_ids"].append("mp-100")
        del server.entries["mp-102"]
        server.entries["mp-103"].update(deprecated=True, deprecation_reasons=["wrong cell"])
        server.entries["mp-104"]["symmetry"]["number"] = 221
        document = run(stores, client)
        assert document.state is State.COMPLETED
        assert document.counts == {"unchanged": 5, "deprecated": 3, "changed": 1}
        replaced = get(stores, "mp-100")
        assert (replaced.deprecated, replaced.superseded_by) == (True, "mp-101")
        assert "not in database" in replaced.deprecation_reasons[0]
        assert get(stores, "mp-102").superseded_by is None
        assert get(stores, "mp-102").deprecated
        assert get(stores, "mp-103").deprecation_reasons == ["wrong cell"]
        assert get(stores, "mp-104").space_group == 221
        assert run(stores, client).counts == {"unchanged": 5, "deprecated": 1}
        items, refused = read_sources(QUERY, stores)
        assert {item.material_id for item in items} == ALL - {
            "mp-100",
            "mp-102",
            "mp-103",
            "mp-104",
        }
        assert "mp-101 replaces it" in dict(refused)["mp-100"]

    def test_an_entry_that_comes_back_is_no_longer_withdrawn(
        self, stores: Stores, server: FakeMaterialsProject, client: MaterialsProject
    ) -> None:
        run(stores, client)
        gone = server.entries.pop("mp-100")
        run(stores, client)
        server.entries["mp-100"] = gone
        assert run(stores, client).counts == {"unchanged": 8, "changed": 1}
        assert not get(stores, "mp-100").deprecated

    def test_a_withdrawn_entry_that_is_not_held_is_refused(
        self, stores: Stores, server: FakeMaterialsProject, client: MaterialsProject
    ) -> None:
        server.entries["mp-100"].update(deprecated=True, deprecation_reasons=["bad"])
        server.entries["mp-101"]["task_ids"].append("mp-100")
        document = run(stores, client)
        assert document.counts == {"new": 8, "refused": 1}
        assert "withdrawn by the Materials Project (bad); mp-101" in document.refused[0].reason

    def test_malformed_entries_are_refused_with_their_reasons(
        self, stores: Stores, server: FakeMaterialsProject, client: MaterialsProject
    ) -> None:
        del server.entries["mp-100"]["symmetry"]["number"]
        server.entries["mp-100"]["symmetry"]["number"] = 225
        server.entries["mp-101"]["volume"] = 11.0
        server.entries["mp-101"]["structure"] = None
        atom = server.entries["mp-102"]["structure"]["sites"][0]
        atom["species"][0]["element"] = "Xx"
        server.entries["mp-103"]["last_updated"] = "yesterday"
        document = run(stores, client)
        assert document.state is State.COMPLETED
        assert document.counts == {"new": 6, "refused": 3}
        reasons = {r.identifier: r.reason for r in document.refused}
        assert "no structure" in reasons["mp-101"]
        assert "unknown element 'Xx'" in reasons["mp-102"]
        assert "malformed" in reasons["mp-103"]

    def test_a_malformed_entry_is_refused_and_the_others_go_on(
        self, stores: Stores, server: FakeMaterialsProject, client: MaterialsProject
    ) -> None:
        for name, (spoil, _) in MALFORMED.items():
            server.entries[name] = fcc(name)
            spoil(server.entries[name])
        chosen = StructureQuery(source="materials_project", materials=("mp-100", *MALFORMED))
        document = run(stores, client, chosen)
        assert document.state is State.COMPLETED
        assert document.counts == {"new": 1, "refused": len(MALFORMED)}
        reasons = {r.identifier: r.reason for r in document.refused}
        for name, (_, words) in MALFORMED.items():
            assert reasons[name].startswith(f"{name}: ")
            assert words in reasons[name]

    def test_chosen_identifiers(
        self, stores: Stores, server: FakeMaterialsProject, client: MaterialsProject
    ) -> None:
        del server.entries["mp-100"]
        server.entries["mp-101"]["task_ids"].append("mp-100")
        wanted = StructureQuery(
            source="materials_project", materials=("mp-100", "mp-101", "mp-201", "nonsense!")
        )
        document = run(stores, client, wanted)
        assert document.counts == {"new": 2, "refused": 2}
        reasons = {r.identifier: r.reason for r in document.refused}
        assert "mp-101 replaces it" in reasons["mp-100"]
        assert "not in database" in reasons["nonsense!"]
        server.requests.clear()
        assert run(stores, client, wanted).counts["unchanged"] == 2

    def test_licences(
        self, stores: Stores, server: FakeMaterialsProject, client: MaterialsProject
    ) -> None:
        gnome = {"license": "BY-NC", "batch_id": "gnome_r2scan_statics"}
        server.entries["mp-900"] = fcc("mp-900", "Cu", builder_meta=gnome)
        server.entries["mp-901"] = fcc("mp-901", "Cu", builder_meta={**gnome, "batch_id": "other"})
        document = run(stores, client)
        assert document.counts == {"new": 9, "refused": 1}
        assert "CC-BY-NC" in document.refused[0].reason
        everything = run(stores, client, QUERY.model_copy(update={"include_gnome": True}))
        assert everything.counts == {"unchanged": 9, "new": 2}
        assert get(stores, "mp-900").licence.startswith("CC-BY-NC-4.0")
        # those of another licence are not taken for withdrawn by an import that leaves them out
        run(stores, client)
        assert not get(stores, "mp-900").deprecated

    @pytest.mark.parametrize("source", ["materials_project", "imported"])
    def test_a_campaign_takes_what_may_not_be_sold_only_if_it_says_so(
        self, stores: Stores, server: FakeMaterialsProject, client: MaterialsProject, source: str
    ) -> None:
        server.entries["mp-900"] = fcc("mp-900", "Cu", builder_meta={"license": "BY-NC"})
        wanting = QUERY.model_copy(update={"source": source, "include_gnome": True})
        run(stores, client, wanting)  # for another campaign
        items, refused = read_sources(wanting, stores)
        assert "mp-900" in {item.material_id for item in items} and not refused
        items, refused = read_sources(wanting.model_copy(update={"include_gnome": False}), stores)
        assert {item.material_id for item in items} == ALL
        assert "CC-BY-NC" in dict(refused)["mp-900"] and "include_gnome" in refused[0][1]


class TestCells:
    def test_limits_are_on_the_conventional_cell_whatever_cell_is_given(
        self, stores: Stores, server: FakeMaterialsProject, client: MaterialsProject
    ) -> None:
        a, positions = 6.0, [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]
        octants = [[i / 2, j / 2, k / 2] for i in (0, 1) for j in (0, 1) for k in (0, 1)]
        double = [[2 * x for x in vector] for vector in FCC]
        server.entries = {
            entry["material_id"]: entry
            for entry in (
                # 216 A^3 in the conventional cell, given in three ways: all inside 250
                fcc("mp-1", "Ag", a),
                summary("mp-2", a, SIMPLE, [("Ag", p) for p in positions], 225),
                summary("mp-3", a, double, [("Ag", p) for p in octants], 225),
                # 275 A^3: outside, although its primitive cell has 69
                fcc("mp-4", "Cs", 6.5),
                # as many formula units as a smaller cell would have: only its atoms tell
                summary("mp-5", 6.5, FCC, [("C", [0, 0, 0]), ("C", [0.25, 0.25, 0.25])], 227),
                summary("mp-6", 5.0, FCC, [("C", [0, 0, 0]), ("C", [0.25, 0.25, 0.25])], 227),
            )
        }
        query = StructureQuery(
            source="materials_project", groups=(225, 227), max_volume={225: 250.0, 227: 250.0}
        )
        document = run(stores, client, query)
        assert document.counts == {"new": 4, "outside": 2}
        for key in ("mp-1", "mp-2", "mp-3"):
            assert get(stores, key).volume_conventional == pytest.approx(216.0, rel=1e-5)
        items, _ = read_sources(query, stores)
        assert {item.material_id for item in items} == {"mp-1", "mp-2", "mp-3", "mp-6"}
        asked = {i for p in server.asked("material_ids") for i in p["material_ids"].split(",")}
        assert "mp-4" not in asked
        server.requests.clear()
        assert run(stores, client, query).counts == {"unchanged": 4, "outside": 2}
        assert server.asked("material_ids") == []

    def test_a_campaign_with_larger_limits_gets_the_rest(
        self, stores: Stores, server: FakeMaterialsProject, client: MaterialsProject
    ) -> None:
        server.entries["mp-4"] = fcc("mp-4", "Cs", 6.5)
        assert run(stores, client).counts == {"new": 9, "outside": 1}
        larger = QUERY.model_copy(update={"max_volume": {225: 300.0, 229: 250.0}})
        assert run(stores, client, larger).counts == {"unchanged": 9, "new": 1}
        # and the smaller one does not take it for withdrawn
        assert run(stores, client).state is State.COMPLETED
        assert not get(stores, "mp-4").deprecated


FAULTS: dict[str, dict[str, Any]] = {
    "429": {"kind": "status", "status": 429, "headers": {"Retry-After": "0.2"}},
    "500": {"kind": "status", "status": 500},
    "503": {"kind": "status", "status": 503},
    "cut body": {"kind": "cut"},
    "cut body without length": {"kind": "short"},
    "hanging": {"kind": "hang", "seconds": 30.0},
    "dripping": {"kind": "drip", "seconds": 30.0},
    "rubbish": {"kind": "rubbish"},
}


class TestFaults:
    @pytest.mark.parametrize("where", ["spacegroup_number", "material_ids"])
    @pytest.mark.parametrize("name", FAULTS)
    def test_one_fault_is_overcome(
        self,
        stores: Stores,
        server: FakeMaterialsProject,
        client: MaterialsProject,
        name: str,
        where: str,
    ) -> None:
        client.timeout = 1.0
        server.fail(having=where, **FAULTS[name])
        document = run(stores, client)
        assert document.state is State.COMPLETED
        assert document.counts == {"new": 9}
        assert keys(stores) == ALL

    @pytest.mark.parametrize("name", ["500", "cut body", "429"])
    def test_a_page_that_stays_broken_is_named_and_read_on_resuming(
        self, stores: Stores, server: FakeMaterialsProject, client: MaterialsProject, name: str
    ) -> None:
        server.fail(
            **FAULTS[name],
            times=99,
            having="spacegroup_number",
            when=lambda p: (p["spacegroup_number"], p["_skip"]) == ("225", "3"),
        )
        document = run(stores, client)
        assert document.state is State.FAILED
        assert [(m.what, m.group, m.page) for m in document.missing] == [("listing", 225, 2)]
        assert "3 attempts" in document.missing[0].reason
        assert "page 2 of the list of space group 225" in summary_of(document)
        # everything else is there, and nothing is taken for withdrawn
        assert keys(stores) == ALL - {"mp-103", "mp-104", "mp-105"}
        server.mend()
        server.requests.clear()
        again = run(stores, client, resume=True)
        assert again.state is State.COMPLETED
        assert (again.key, again.attempts) == (document.key, 2)
        assert again.counts == {"new": 9}
        assert keys(stores) == ALL
        lists = [(p["spacegroup_number"], p["_skip"]) for p in server.asked("spacegroup_number")]
        assert lists == [("225", "3")]
        asked = [i for p in server.asked("material_ids") for i in p["material_ids"].split(",")]
        assert sorted(asked) == ["mp-103", "mp-104", "mp-105"]

    def test_a_batch_that_stays_broken_is_named_and_read_on_resuming(
        self, stores: Stores, server: FakeMaterialsProject, client: MaterialsProject
    ) -> None:
        server.fail("cut", times=99, when=lambda p: "mp-102" in p.get("material_ids", ""))
        document = run(stores, client)
        assert document.state is State.FAILED
        (missing,) = document.missing
        assert (missing.what, missing.ids) == ("entries", ["mp-102", "mp-103"])
        server.mend()
        server.requests.clear()
        assert run(stores, client).state is State.COMPLETED
        assert [p["material_ids"] for p in server.asked("material_ids")] == ["mp-102,mp-103"]
        assert server.asked("spacegroup_number") == []

    def test_when_what_replaces_an_entry_cannot_be_told_it_is_asked_again(
        self, stores: Stores, server: FakeMaterialsProject, client: MaterialsProject
    ) -> None:
        run(stores, client)
        del server.entries["mp-100"]
        server.entries["mp-101"]["task_ids"].append("mp-100")
        server.fail("status", status=500, times=99, route="/materials/core/")
        document = run(stores, client)
        assert document.state is State.FAILED
        assert document.missing[0].ids == ["mp-100"]
        assert not get(stores, "mp-100").deprecated
        server.mend()
        assert run(stores, client, resume=True).state is State.COMPLETED
        assert get(stores, "mp-100").superseded_by == "mp-101"

    def test_a_server_that_dies_in_the_middle(
        self, stores: Stores, server: FakeMaterialsProject, client: MaterialsProject
    ) -> None:
        client.timeout = 0.5
        server.fail("hang", seconds=30, times=99, when=lambda p: p.get("_skip") == "6")
        server.fail("hang", seconds=30, times=99, when=lambda p: "material_ids" in p)
        start = time.monotonic()
        document = run(stores, client)
        assert time.monotonic() - start < 15
        assert document.state is State.FAILED
        page, *batches = document.missing
        assert (page.what, page.group, page.page) == ("listing", 225, 3)
        assert sorted(i for batch in batches for i in batch.ids) == sorted(ALL - {"mp-106"})
        assert "requests in a row had no answer" in batches[-1].reason
        server.mend()
        assert run(stores, client, resume=True).counts == {"new": 9}

    def test_no_heartbeat(
        self, stores: Stores, server: FakeMaterialsProject, client: MaterialsProject
    ) -> None:
        client.timeout = 0.3
        server.fail("hang", seconds=30, times=99, route="/heartbeat")
        document = run(stores, client)
        assert document.state is State.FAILED
        assert {(m.group, m.page) for m in document.missing} == {(225, 1), (229, 1)}
        assert "heartbeat" in document.missing[0].reason

    def test_the_heartbeat_of_the_client_itself_may_hang(
        self, stores: Stores, server: FakeMaterialsProject, client: MaterialsProject
    ) -> None:
        client.timeout = 0.5
        first = client.database_version()
        assert first == server.version
        # ours is the next one, the client's two come after it
        server.fail("hang", seconds=30, times=1, route="/heartbeat")
        server.fail("hang", seconds=30, times=1, route="/heartbeat")
        assert run(stores, client).state is State.COMPLETED

    def test_no_network_at_all(self, stores: Stores) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        client = MaterialsProject(
            SecretStr(KEY),
            endpoint=f"http://127.0.0.1:{port}",
            timeout=1,
            retries=1,
            first_pause=0.01,
        )
        document = run(stores, client)
        assert document.state is State.FAILED
        assert "Connection refused" in document.missing[0].reason
        assert "missing page 1 of the list of space group 225" in summary_of(document)

    def test_a_refused_key_is_said_at_once_and_not_tried_again(
        self, stores: Stores, server: FakeMaterialsProject
    ) -> None:
        wrong = "wrong" * 6 + "!!"
        client = MaterialsProject(SecretStr(wrong), endpoint=server.endpoint, timeout=2)
        document = run(stores, client)
        assert document.state is State.FAILED
        assert "key is refused (401)" in document.missing[0].reason
        assert len(server.asked("spacegroup_number")) == 1
        everything = json.dumps([d for d in stores.imports.find({}, {"_id": 0})], default=str)
        assert wrong not in everything
        assert wrong not in repr(client)

    @pytest.mark.parametrize("status", [429, 503])
    def test_a_server_that_asks_to_wait_for_an_hour_is_left_alone(
        self,
        stores: Stores,
        server: FakeMaterialsProject,
        client: MaterialsProject,
        status: int,
    ) -> None:
        server.fail("status", status=status, headers={"Retry-After": "3600"}, times=99)
        document = run(stores, client)
        assert document.state is State.FAILED
        assert "wait 3600 s" in document.missing[0].reason
        assert len(server.requests) < 10

    def test_a_list_that_changes_while_it_is_read(
        self, stores: Stores, server: FakeMaterialsProject, client: MaterialsProject
    ) -> None:
        moved = []

        def insert(parameters: dict[str, str]) -> bool:
            # an entry that sorts first pushes one over the edge of the page that was just read
            if parameters.get("_skip") == "3" and not moved:
                server.entries["mp-000"] = fcc("mp-000", "Cu")
                moved.append(server.entries.pop("mp-106"))
            return False

        server.fail("status", when=insert)
        document = run(stores, client)
        assert document.state is State.FAILED
        assert "changed while it was read" in document.missing[0].reason
        server.mend()
        assert run(stores, client, resume=True).state is State.COMPLETED
        assert "mp-000" in keys(stores)

    def test_a_new_database_version_starts_the_lists_again(
        self, stores: Stores, server: FakeMaterialsProject, client: MaterialsProject
    ) -> None:
        server.fail("status", status=500, times=99, when=lambda p: p.get("_skip") == "3")
        run(stores, client)
        server.mend()
        server.version = "2026.04.01"
        server.entries["mp-101"] = fcc("mp-101", a=3.7, last_updated="2026-03-01T00:00:00Z")
        document = run(stores, client, resume=True)
        assert document.state is State.COMPLETED
        assert document.database_version == "2026.04.01"
        assert document.counts == {"unchanged": 5, "changed": 1, "new": 3}


class TestInterrupted:
    @pytest.mark.parametrize("error", [KeyboardInterrupt(), AutoReconnect("gone")], ids=repr)
    @pytest.mark.parametrize("where", ["entry_of_row", "write_entries", "withdraw"])
    def test_interrupted_while_a_batch_is_written(
        self,
        stores: Stores,
        server: FakeMaterialsProject,
        client: MaterialsProject,
        monkeypatch: pytest.MonkeyPatch,
        where: str,
        error: BaseException,
    ) -> None:
        server.entries["mp-700"] = fcc("mp-700", "Pd", a=3.9)
        run(stores, client, QUERY.model_copy(update={"groups": (225,)}))
        del server.entries["mp-700"]
        server.entries["mp-105"]["structure"] = None
        server.entries["mp-105"]["last_updated"] = "2026-03-01T00:00:00Z"

        def interrupted(*_: Any, **__: Any) -> None:
            raise error

        with monkeypatch.context() as broken:
            broken.setattr(fetching, where, interrupted)
            with pytest.raises(type(error)):
                run(stores, client)
        document = run(stores, client, resume=True)
        assert document.state is State.COMPLETED
        assert keys(stores) == ALL | {"mp-700"}
        assert get(stores, "mp-700").deprecated
        assert document.counts == {"unchanged": 6, "new": 2, "refused": 1, "deprecated": 1}
        assert [r.identifier for r in document.refused] == ["mp-105"]

    def test_interrupted_while_a_list_is_judged(
        self,
        stores: Stores,
        server: FakeMaterialsProject,
        client: MaterialsProject,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def interrupted(*_: Any) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as broken:
            broken.setattr(ListedEntry, "of", interrupted)
            with pytest.raises(KeyboardInterrupt):
                run(stores, client)
        assert run(stores, client, resume=True).counts == {"new": 9}
        assert keys(stores) == ALL


class TestRecord:
    def test_resuming_needs_something_to_resume(
        self, stores: Stores, client: MaterialsProject
    ) -> None:
        with pytest.raises(ImportFailed, match="there was no such import"):
            run(stores, client, resume=True)
        run(stores, client)
        with pytest.raises(ImportFailed, match="is complete"):
            run(stores, client, resume=True)

    def test_afresh_makes_another_document(
        self, stores: Stores, server: FakeMaterialsProject, client: MaterialsProject
    ) -> None:
        server.fail("status", status=500, times=99, when=lambda p: p.get("_skip") == "3")
        first = run(stores, client)
        server.mend()
        second = run(stores, client, resume=False)
        assert second.key != first.key
        assert second.state is State.COMPLETED

    def test_another_source_is_not_overwritten_unasked(
        self, stores: Stores, server: FakeMaterialsProject, client: MaterialsProject, tmp_path: Path
    ) -> None:
        row = {"material_id": "mp-100", "structure": server.entries["mp-101"]["structure"]}
        path = tmp_path / "mine.jsonl"
        path.write_text(json.dumps(row) + "\n", encoding="utf-8")
        import_source(stores, path)
        document = run(stores, client)
        assert document.counts == {"new": 8, "refused": 1}
        assert "held from another source (jsonl)" in document.refused[0].reason
        assert run(stores, client, replace=True).counts == {"unchanged": 8, "changed": 1}
        assert get(stores, "mp-100").source.kind == "materials project"

    def test_an_incomplete_import_is_mentioned_when_it_is_used(
        self,
        stores: Stores,
        server: FakeMaterialsProject,
        client: MaterialsProject,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        with pytest.raises(SourceError, match="nothing was imported yet"):
            read_sources(QUERY, stores)
        server.fail("status", status=500, times=99, when=lambda p: p.get("_skip") == "3")
        run(stores, client)
        items, _ = read_sources(QUERY, stores)
        assert len(items) == 6
        assert "not complete" in caplog.text


class TestCommand:
    @pytest.fixture
    def campaign(self, tmp_path: Path) -> Path:
        path = tmp_path / "mine.yaml"
        path.write_text(
            "name: mine\nstructures:\n  source: materials_project\n  groups: [225, 229]\n"
            "  max_volume: {225: 250, 229: 250}\nsimulation:\n  parameters: {npx: 10}\n",
            encoding="utf-8",
        )
        return path

    @pytest.fixture
    def key(self, server: FakeMaterialsProject, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MP_API_KEY", KEY)
        monkeypatch.setenv("EBSDSG_MP_ENDPOINT", server.endpoint)
        monkeypatch.setenv("EBSDSG_MP_RETRIES", "1")

    def test_imports_and_submits(
        self,
        stores: Stores,
        key: None,
        campaign: Path,
        server: FakeMaterialsProject,
        ebsdsg: Callable[..., subprocess.CompletedProcess[str]],
    ) -> None:
        done = ebsdsg("import", str(campaign))
        assert done.returncode == 0, done.stderr
        assert "import completed from materials project, database 2026.02.08" in done.stdout
        assert "9 new, 0 changed, 0 unchanged" in done.stdout
        assert server.keys == {KEY}
        assert KEY not in done.stdout + done.stderr
        planned = ebsdsg("submit", "--dry-run", str(campaign))
        assert planned.returncode == 0, planned.stderr
        assert "9 structures" in planned.stdout

    def test_killed_and_resumed(
        self,
        stores: Stores,
        key: None,
        campaign: Path,
        server: FakeMaterialsProject,
        tmp_path: Path,
        ebsdsg: Callable[..., subprocess.CompletedProcess[str]],
    ) -> None:
        server.fail(
            "hang", seconds=60, times=99, when=lambda p: p.get("spacegroup_number") == "229"
        )
        for number, state in ((signal.SIGTERM, "failed"), (signal.SIGKILL, "running")):
            server.requests.clear()
            process = subprocess.Popen(
                [sys.executable, "-m", "ebsdsg_flows", "import", "-q", str(campaign)],
                cwd=tmp_path,
                env=dict(os.environ),
                stderr=subprocess.PIPE,
                text=True,
            )
            # a dead child would hang no longer than this; mp-api alone takes a minute to import
            # on a machine that others use
            end = time.monotonic() + 300
            while not any(
                p["spacegroup_number"] == "229" for p in server.asked("spacegroup_number")
            ):
                assert time.monotonic() < end
                time.sleep(0.05)
            time.sleep(0.2)
            process.send_signal(number)
            _, said = process.communicate(timeout=30)
            if number == signal.SIGTERM:
                assert process.returncode == 130
                assert said.splitlines()[-1].startswith("interrupted; nothing that was finished is")
            (values,) = stores.imports.find()
            assert values["state"] == state
        server.mend()
        server.requests.clear()
        done = ebsdsg("import", str(campaign), "--resume")
        assert done.returncode == 0, done.stderr
        assert "9 new" in done.stdout
        assert {p["spacegroup_number"] for p in server.asked("spacegroup_number")} == {"229"}

    def test_what_is_missing_is_the_exit_code(
        self,
        stores: Stores,
        key: None,
        campaign: Path,
        server: FakeMaterialsProject,
        ebsdsg: Callable[..., subprocess.CompletedProcess[str]],
    ) -> None:
        server.fail("status", status=500, times=99, when=lambda p: "material_ids" in p)
        done = ebsdsg("import", str(campaign))
        assert done.returncode == 1
        assert "missing 9 entries: summaries from 1: " in done.stdout
        assert "--resume" in done.stdout

    def test_no_key_is_one_clear_error(
        self,
        stores: Stores,
        campaign: Path,
        monkeypatch: pytest.MonkeyPatch,
        ebsdsg: Callable[..., subprocess.CompletedProcess[str]],
    ) -> None:
        monkeypatch.delenv("MP_API_KEY", raising=False)
        done = ebsdsg("import", str(campaign))
        assert done.returncode == 1
        assert done.stderr.startswith("error: no key for the Materials Project")
        monkeypatch.setenv("EBSDSG_MP_API_KEY", "too-short")
        done = ebsdsg("import", str(campaign))
        assert "does not have 32 characters" in done.stderr
        assert "too-short" not in done.stderr + done.stdout


def test_the_key_does_not_show_in_the_settings(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MP_API_KEY", KEY)
    settings = Settings()
    assert settings.mp_api_key is not None
    assert settings.mp_api_key.get_secret_value() == KEY
    assert KEY not in repr(settings) + settings.model_dump_json() + str(settings)
    monkeypatch.setenv("EBSDSG_MP_API_KEY", "ours" * 8)
    chosen = Settings().mp_api_key
    assert chosen is not None
    assert chosen.get_secret_value() == "ours" * 8


def test_bcc_has_two_lattice_points(
    stores: Stores, server: FakeMaterialsProject, client: MaterialsProject
) -> None:
    server.entries["mp-203"] = bcc("mp-203", "Mo", a=3.15)
    run(stores, client)
    assert get(stores, "mp-203").volume_conventional == pytest.approx(3.15**3, rel=1e-5)
