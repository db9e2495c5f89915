"""Imported entries become structures: only what is new, in any process, nothing lost on the way."""

from __future__ import annotations

import copy
import gzip
import json
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pymatgen.core import Lattice, Structure

from ebsdsg_flows.any_structure import read_structure
from ebsdsg_flows.atoms import StructureError, atoms_of
from ebsdsg_flows.builders.one_structure import structure_in
from ebsdsg_flows.builders.run import build_structures
from ebsdsg_flows.builders.structures import StructureBuilder
from ebsdsg_flows.label_changes import labelled_structures
from ebsdsg_flows.structures import input_hash
from stores.collections import Stores
from stores.documents import (
    Origin,
    SourceStructureDocument,
    StructureDocument,
    UnusableStructureDocument,
    entry_hash,
)


@pytest.fixture(scope="session")
def rows(shared: Path) -> list[dict[str, Any]]:
    """A hundred and twenty rows of the Materials Project snapshot."""
    with gzip.open(shared / "data/structures/mp_cubic.jsonl.gz", "rt") as stream:
        return [json.loads(line) for i, line in enumerate(stream) if i % 125 == 5][:120]


def entry(row: dict[str, Any], **changes: Any) -> SourceStructureDocument:
    values = {
        "key": row["material_id"],
        "material_id": row["material_id"],
        "structure": row["structure"],
        "formula_pretty": row["formula_pretty"],
        "source": Origin(
            kind="jsonl", identifier=row["material_id"], database_version="2025.02.12"
        ),
        "licence": row["licence"],
        "space_group": row["spacegroup_number"],
        "volume_conventional": row["volume_conventional"],
        **changes,
    }
    content = {name: values[name] for name in ("structure", "space_group", "licence")}
    deprecated = values.get("deprecated", False)
    return SourceStructureDocument(
        **values, entry_hash=entry_hash(**content, deprecated=deprecated)
    )


def stored(stores: Stores) -> dict[str, dict[str, Any]]:
    times = {"created": 0, "last_updated": 0, "_id": 0}
    return {values["key"]: values for values in stores.structures.find({}, times)}


def change(stores: Stores, key: str, **values: Any) -> None:
    """A later import brings an entry again with other values."""
    old = stores.get(SourceStructureDocument, key)
    assert old is not None
    later = {"last_updated": old.last_updated + timedelta(days=1)}
    stores.source_structures.update_one({"key": key}, {"$set": {**values, **later}})


def test_only_what_is_new_or_changed_is_built(stores: Stores, rows: list[dict[str, Any]]) -> None:
    stores.add_many(entry(row) for row in rows[:30])
    first = build_structures(stores)
    assert (first.entries, first.made, first.unusable) == (30, 30, 0)
    for row in rows[:30]:
        document = stores.get(StructureDocument, row["material_id"])
        assert document is not None
        assert document.space_group.number == row["spacegroup_number"]
        assert document.volume_conventional == pytest.approx(row["volume_conventional"], rel=1e-3)
        assert document.source.reference == "database 2025.02.12"
        assert document.licence == row["licence"]
        assert document.relabel.descent is not None
        assert document.relabel.descent.groups[-1] == document.space_group.number
    before = stored(stores)
    assert build_structures(stores).made == 0

    stores.add_many(entry(row) for row in rows[:32])
    change(stores, rows[3]["material_id"], licence="CC0")
    created = stores.structures.find_one({"key": rows[3]["material_id"]})["created"]
    again = build_structures(stores)
    assert (again.entries, again.made) == (32, 3)
    after = stored(stores)
    assert after[rows[3]["material_id"]]["licence"] == "CC0"
    assert stores.structures.find_one({"key": rows[3]["material_id"]})["created"] == created
    unchanged = [row["material_id"] for i, row in enumerate(rows[:30]) if i != 3]
    assert {key: before[key] for key in unchanged} == {key: after[key] for key in unchanged}


def test_another_tolerance_is_another_structure(stores: Stores, rows: list[dict[str, Any]]) -> None:
    stores.add_many(entry(row) for row in rows[:3])
    assert build_structures(stores, symprec=0.1).made == 3
    assert build_structures(stores, symprec=0.01).made == 3
    assert {values["symprec"] for values in stored(stores).values()} == {0.01}


def crowded() -> Structure:
    """Sound at 0.1 Å; at 1 Å there is no symmetry to be found."""
    sites = [[0, 0, 0], [0.5, 0.5, 0.5], [0.6, 0.7, 0.52], [0.4, 0.68, 0.45]]
    return Structure(Lattice.orthorhombic(4.1, 4.3, 5.0), ["Na", "O", "H", "H"], sites)


def counted(stores: Stores) -> set[str]:
    return {labelled["key"] for labelled in labelled_structures(stores)}


def test_a_tolerance_taken_back_loses_no_structure(
    stores: Stores,
    rows: list[dict[str, Any]],
    ebsdsg: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    delicate = {
        **rows[0],
        "structure": crowded().as_dict(),
        "material_id": "mp-77",
        "formula_pretty": "NaH2O",
        "spacegroup_number": 1,
    }
    stores.add_many(entry(row) for row in [*rows[:2], delicate])
    assert build_structures(stores, symprec=0.1).made == 3
    assert build_structures(stores, symprec=1.0).unusable == 1
    # the structure made of the same content at 0.1 stands, and is told of with the refusal
    assert "mp-77" in counted(stores) and read_structure("mp-77").symprec == 0.1
    told = ebsdsg("show", "mp-77").stdout
    assert "cannot be used (refused at 1.0 Å)" in told
    assert "the structure below is of another tolerance, and counts" in told
    assert build_structures(stores, symprec=1.0).unusable == 0  # once is enough

    assert build_structures(stores, symprec=0.1).made == 3
    assert stores.get(UnusableStructureDocument, "mp-77") is None
    assert len(counted(stores)) == 3
    assert "cannot be used" not in ebsdsg("show", "mp-77").stdout
    assert build_structures(stores, symprec=0.1).made == 0

    # a refusal of newer content hides it at any tolerance, and so does a withdrawal
    change(stores, "mp-77", licence="CC0")
    assert build_structures(stores, symprec=1.0).unusable == 1
    assert "mp-77" not in counted(stores)
    with pytest.raises(StructureError):
        read_structure("mp-77")
    assert build_structures(stores, symprec=0.1).made == 3 and "mp-77" in counted(stores)
    change(stores, "mp-77", deprecated=True)
    assert build_structures(stores, symprec=1.0).unusable == 1 and "mp-77" not in counted(stores)


def test_a_structure_given_again_at_its_tolerance_loses_its_refusal(stores: Stores) -> None:
    made = structure_in(stores, crowded(), "own-1", symprec=0.1)
    with pytest.raises(StructureError):
        structure_in(stores, crowded(), "own-1", symprec=1.0)
    assert counted(stores) == {"own-1"}
    assert structure_in(stores, crowded(), "own-1", symprec=0.1).created == made.created
    assert stores.get(UnusableStructureDocument, "own-1") is None
    # a job of before a withdrawal does not take it back
    with pytest.raises(StructureError):
        structure_in(stores, crowded(), "own-1", symprec=1.0)
    stores.unusable_structures.update_one({"key": "own-1"}, {"$set": {"kind": "withdrawn"}})
    structure_in(stores, crowded(), "own-1", symprec=0.1)
    assert counted(stores) == set()


def test_structures_of_an_older_labelling_are_made_again(
    stores: Stores, rows: list[dict[str, Any]]
) -> None:
    stores.add_many(entry(row) for row in rows[:4])
    build_structures(stores)
    stores.structures.update_one({"key": rows[1]["material_id"]}, {"$unset": {"labelling": 1}})
    assert build_structures(stores).made == 1


def test_processes_do_the_same_as_one(stores: Stores, rows: list[dict[str, Any]]) -> None:
    stores.add_many(entry(row) for row in rows)
    assert build_structures(stores, processes=2).made == len(rows)
    parallel = stored(stores)
    stores.structures.delete_many({})
    assert build_structures(stores).made == len(rows)
    assert stored(stores) == parallel


def test_an_interrupted_build_goes_on_where_it_stopped(
    stores: Stores, rows: list[dict[str, Any]]
) -> None:
    stores.add_many(entry(row) for row in rows)

    def stop(done: int, total: int) -> None:
        assert total == len(rows)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_structures(stores, progress=stop)
    finished = stored(stores)
    assert 0 < len(finished) < len(rows)
    rest = build_structures(stores)
    assert rest.made == len(rows) - len(finished)
    assert len(stored(stores)) == len(rows)


def test_what_cannot_be_used_is_kept_with_its_reason(
    stores: Stores, rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    overlapping = copy.deepcopy(rows[0])
    x, y, z = overlapping["structure"]["sites"][0]["abc"]
    overlapping["structure"]["sites"].append(
        {"species": [{"element": "H", "occu": 1}], "abc": [x + 0.05, y, z]}
    )
    broken = entry(overlapping)
    gone = entry(rows[1], deprecated=True, deprecation_reasons=["wrong"], superseded_by="mp-999")
    stores.add_many([broken, gone, entry(rows[2])])
    built = build_structures(stores)
    assert (built.made, built.unusable) == (1, 2)
    reasons = {d["key"]: d for d in stores.unusable_structures.find({})}
    assert reasons[broken.key]["kind"] == "refused"
    assert "overlap" in reasons[broken.key]["reason"]
    assert reasons[gone.key]["kind"] == "withdrawn"
    assert "mp-999 replaces it" in reasons[gone.key]["reason"]
    assert stores.get(UnusableStructureDocument, broken.key) is not None

    # not again by itself, only when asked; what its source has withdrawn not even then
    assert build_structures(stores).unusable == 0
    assert build_structures(stores, retry=True).unusable == 1
    # a mended entry is tried by itself and loses its reason
    change(stores, broken.key, structure=rows[0]["structure"])
    assert build_structures(stores).made == 1
    assert stores.get(UnusableStructureDocument, broken.key) is None
    assert stores.get(StructureDocument, broken.key) is not None

    def defect(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("of the program")

    monkeypatch.setattr("ebsdsg_flows.builders.entries.structure_document", defect)
    stores.add_many(entry(row) for row in rows[3:5])
    assert build_structures(stores).unusable == 2
    found = stores.get(UnusableStructureDocument, rows[3]["material_id"])
    assert found is not None and found.kind == "defect"
    assert "ZeroDivisionError: of the program" in found.reason
    monkeypatch.undo()
    assert build_structures(stores, retry=True).made == 2


def test_the_builder_is_one_of_maggma(stores: Stores, rows: list[dict[str, Any]]) -> None:
    from maggma.stores import MemoryStore

    entries, structures, unusable = (MemoryStore(name, key="key") for name in "abc")
    builder = StructureBuilder(entries, structures, unusable, chunk_size=2)
    builder.connect()
    entries.update([entry(row).to_mongo() for row in rows[:5]])
    again = StructureBuilder.from_dict(builder.as_dict())
    assert again.as_dict() == builder.as_dict()
    items = [builder.process_item(item) for item in builder.get_items()]
    assert builder.total == len(items) == 5
    builder.update_targets(items)
    assert structures.count() == 5
    assert builder.pending() == []


def test_a_job_takes_the_structure_that_is_there(
    stores: Stores, rows: list[dict[str, Any]]
) -> None:
    stores.add_many(entry(row) for row in rows[:2])
    build_structures(stores)
    key = rows[0]["material_id"]
    before = stores.structures.find_one({"key": key})
    given = Structure.from_dict(rows[0]["structure"])
    made_of = input_hash(atoms_of(given, key))
    conventional = given * (2, 1, 1)
    structure_in(stores, conventional, key, given_as=made_of)
    assert stores.structures.find_one({"key": key}) == before
    # another structure of the same name is not taken for it
    structure_in(stores, rows[1]["structure"], key)
    after = stores.structures.find_one({"key": key})
    assert after["crystal_hash"] != before["crystal_hash"]
    with pytest.raises(StructureError):
        structure_in(stores, {**rows[1]["structure"], "sites": []}, "mp-bad")
    assert stores.get(UnusableStructureDocument, "mp-bad") is not None


def test_commands(
    stores: Stores,
    rows: list[dict[str, Any]],
    ebsdsg: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    stores.add_many(entry(row) for row in rows[:12])
    stores.add(entry(rows[12], deprecated=True))
    built = ebsdsg("structures", "build", "--processes", "1", "--quiet")
    assert built.returncode == 0, built.stderr
    assert "12 structures made, 1 cannot be used" in built.stdout
    shown = ebsdsg("structures", "transitions").stdout
    assert shown.splitlines()[0].split()[:3] == ["true", "/", "new"]
    assert shown.count("became") >= 1
    gone = rows[12]["material_id"]
    told = ebsdsg("show", gone)
    assert told.stdout.startswith(f"{gone}: cannot be used (withdrawn): withdrawn by its source")
    assert len(told.stdout.splitlines()) == 1, told
    # what was made of an entry that is withdrawn later is shown as what it was
    change(stores, rows[0]["material_id"], deprecated=True)
    ebsdsg("structures", "build", "--processes", "1", "--quiet")
    told = ebsdsg("show", rows[0]["material_id"])
    assert "cannot be used (withdrawn)" in told.stdout.splitlines()[0], told
    assert "the structure below was made before that\n" in told.stdout
    assert "withdrawn by its source" in ebsdsg("structures", "unusable").stdout
    assert "structures whose relabelled group" in ebsdsg("structures", "sensitive").stdout
    graph = ebsdsg("structures", "subgroups", "221", "225", "229").stdout.splitlines()
    assert "Im-3m (229) –k2→ Pm-3m (221)" in graph
