"""Files and maggma stores come in by the same door: complete, once, and only what changed."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from fake_materials_project import fcc

from ebsdsg_flows.campaign import StructureQuery
from ebsdsg_flows.imports import import_source
from ebsdsg_flows.sources import SourceError, demo_file, iterate, read_sources
from stores.collections import Stores
from stores.documents import ImportDocument, SourceStructureDocument
from stores.states import State


def rows() -> list[dict[str, Any]]:
    return [json.loads(line) for line in demo_file().read_text(encoding="utf-8").splitlines()]


def write(path: Path, entries: list[Any]) -> Path:
    lines = [e if isinstance(e, str) else json.dumps(e) for e in entries]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def described(path: Path, entries: list[dict[str, Any]]) -> Path:
    """YAML description of a maggma store that holds entries."""
    from maggma.stores import JSONStore
    from ruamel.yaml import YAML

    write(path.with_suffix(".data.json"), [json.dumps(entries)])
    store = JSONStore(str(path.with_suffix(".data.json")), key="material_id")
    with path.open("w", encoding="utf-8") as stream:
        YAML(typ="safe").dump(json.loads(store.to_json()), stream)
    return path


class TestJsonLines:
    def test_rows_are_kept_as_they_are(self, stores: Stores, tmp_path: Path) -> None:
        path = write(tmp_path / "a.jsonl", rows())
        document = import_source(stores, path)
        assert document.state is State.COMPLETED
        assert document.counts == {"new": 24}
        assert document.source == str(path)
        first = rows()[0]
        entry = stores.get(SourceStructureDocument, first["material_id"])
        assert entry is not None
        assert entry.structure == first["structure"]
        assert entry.formula_pretty == first["formula_pretty"]
        assert entry.space_group == first["spacegroup_number"]
        assert entry.source.kind == "jsonl"
        assert entry.licence == "CC-BY-4.0 (Materials Project)"

    def test_again_writes_nothing_and_a_change_only_itself(
        self, stores: Stores, tmp_path: Path
    ) -> None:
        entries = rows()
        path = write(tmp_path / "a.jsonl", entries)
        import_source(stores, path)
        times = {v["key"]: v["last_updated"] for v in stores.source_structures.find()}
        assert import_source(stores, path).counts == {"unchanged": 24}
        entries[3]["structure"]["lattice"]["matrix"][0][0] *= 1.01
        entries.append({**entries[4], "material_id": "mine-1"})
        write(path, entries)
        assert import_source(stores, path).counts == {"unchanged": 23, "changed": 1, "new": 1}
        after = {v["key"]: v["last_updated"] for v in stores.source_structures.find()}
        assert [k for k in times if after[k] != times[k]] == [entries[3]["material_id"]]

    def test_bad_rows_are_refused_with_reasons(self, stores: Stores, tmp_path: Path) -> None:
        good = rows()
        bad = {**good[1], "volume_conventional": -1.0}
        wrong_group = {**good[2], "spacegroup_number": 231}
        path = write(tmp_path / "a.jsonl", [good[0], "{", bad, wrong_group, good[0]])
        document = import_source(stores, path)
        assert document.counts == {"new": 1, "refused": 4}
        reasons = " ".join(r.reason for r in document.refused)
        for part in ("not JSON", "not above 0", "not from 1 to 230", "given twice"):
            assert part in reasons

    def test_structures_that_are_none_are_refused_and_the_others_go_on(
        self, stores: Stores, tmp_path: Path
    ) -> None:
        entries = rows()[:6]
        structures = [entry["structure"] for entry in entries]
        structures[0]["sites"][0]["abc"] = None
        structures[1]["sites"][0]["abc"] = [0, 0]
        structures[2]["properties"] = [1]
        structures[3]["properties"] = {"notes": "one text"}
        entries[4].pop("formula_pretty", None)
        structures[4]["sites"][0]["properties"] = ["no mapping"]
        document = import_source(stores, write(tmp_path / "a.jsonl", entries))
        assert document.state is State.COMPLETED
        assert document.counts == {"new": 1, "refused": 5}
        reasons = {r.identifier: r.reason for r in document.refused}
        said = ("not the dict", "three numbers", "no mapping", "no list of texts", "pymatgen can")
        for entry, words in zip(entries, said, strict=False):
            assert reasons[entry["material_id"]].startswith(f"{entry['material_id']}: ")
            assert words in reasons[entry["material_id"]]

    def test_a_file_cut_short_is_resumed_when_it_is_whole(
        self, stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("ebsdsg_flows.imports.any_source.BATCH", 5)
        path = tmp_path / "a.jsonl.gz"
        # rows that do not compress to nothing, so that some come before the cut
        whole = gzip.compress("".join(json.dumps(row) + "\n" for row in rows()).encode())
        path.write_bytes(whole[: len(whole) * 2 // 3])
        with pytest.raises(SourceError, match="not readable to its end"):
            import_source(stores, path)
        (values,) = stores.imports.find({}, {"_id": False})
        stopped = ImportDocument.from_mongo(values)
        assert stopped.state is State.FAILED
        assert "not readable to its end" in stopped.missing[0].reason
        path.write_bytes(whole)
        document = import_source(stores, path, resume=True)
        assert (document.key, document.state) == (stopped.key, State.COMPLETED)
        assert sum(document.counts.values()) == 24

    def test_limits_leave_out_what_says_that_it_is_outside(
        self, stores: Stores, tmp_path: Path
    ) -> None:
        silent = {key: rows()[0][key] for key in ("material_id", "structure")}
        path = write(tmp_path / "a.jsonl", [silent, *rows()[1:]])
        query = StructureQuery(source=str(path), groups=(227,), max_volume={227: 170.0})
        document = import_source(stores, path, limits=query)
        assert document.counts == {"new": 3, "outside": 21}
        kept = query.model_copy(update={"source": "imported"})
        items, _ = read_sources(kept, stores)
        assert {item.structure.formula for item in items} == {"C2", "Si2"}


class TestStores:
    def test_any_maggma_store_is_a_source(self, stores: Stores, tmp_path: Path) -> None:
        summaries = [fcc(f"mp-{i}", a=3.5 + i / 10) for i in (1, 2, 3)]
        summaries[2]["structure"] = None
        path = described(tmp_path / "store.yaml", summaries)
        items, refused = read_sources(StructureQuery(source=str(path), groups=(225,)))
        assert [item.material_id for item in items] == ["mp-1", "mp-2"]
        assert items[0].source["kind"] == "maggma"
        assert "no structure" in refused[0][1]
        document = import_source(stores, path)
        assert document.counts == {"new": 2, "refused": 1}
        assert import_source(stores, path).counts == {"unchanged": 2, "refused": 1}

    def test_a_store_of_python(self, stores: Stores) -> None:
        from maggma.stores import MemoryStore
        from pymatgen.core import Lattice, Structure

        store = MemoryStore("mine", key="task_id")
        store.connect()
        structure = Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.5), ["Ni"], [[0, 0, 0]])
        store.update({"task_id": "run-7", "structure": structure.as_dict()})
        # MemoryStore forgets when it is closed, so it stays open for this test
        store.close = lambda: None
        assert [entry.material_id for entry in iterate(store)] == ["run-7"]
        assert import_source(stores, store).counts == {"new": 1}
        entry = stores.get(SourceStructureDocument, "run-7")
        assert entry is not None
        assert entry.formula_pretty == "Ni"

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ('{"a": 1}', "@module"),
            ('{"@module": "pathlib", "@class": "Path"}', "not a store of maggma"),
            ('{"@module": "maggma.stores", "@class": "NoStore"}', "NoStore"),
            ('{"@module": "maggma.stores", "@class": "JSONStore", "x": 1}', "refuses these"),
            ("[1]", "must hold a mapping"),
        ],
    )
    def test_a_file_that_describes_no_store(self, tmp_path: Path, text: str, reason: str) -> None:
        path = tmp_path / "store.json"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(SourceError, match=reason):
            list(iterate(path))


class TestCommand:
    def test_a_folder_of_cif_files(
        self, stores: Stores, tmp_path: Path, ebsdsg: Callable[..., CompletedProcess[str]]
    ) -> None:
        from pymatgen.core import Structure
        from pymatgen.io.cif import CifWriter

        folder = tmp_path / "cifs"
        folder.mkdir()
        for row in rows()[:2]:
            name = folder / f"{row['material_id']}.cif"
            CifWriter(Structure.from_dict(row["structure"])).write_file(str(name))
        (folder / "bad.cif").write_text("rubbish", encoding="utf-8")
        done = ebsdsg("import", "-q", str(folder))
        assert done.returncode == 0, done.stderr
        assert "2 new" in done.stdout
        assert "1 refused" in done.stdout
        assert "bad.cif" in done.stdout

    def test_a_name_alone_does_not_say_which_structures(
        self, stores: Stores, ebsdsg: Callable[..., CompletedProcess[str]]
    ) -> None:
        done = ebsdsg("import", "materials_project")
        assert done.returncode == 1
        assert "which structures?" in done.stderr
        done = ebsdsg("import", "nowhere.jsonl")
        assert "no such file or folder" in done.stderr


@pytest.mark.slow
def test_a_part_of_the_snapshot(
    stores: Stores, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with gzip.open(shared / "data/structures/mp_cubic.jsonl.gz", "rt", encoding="utf-8") as stream:
        lines = [line for i, line in enumerate(stream) if i % 10 == 0]
    path = tmp_path / "part.jsonl"
    path.write_text("".join(lines), encoding="utf-8")

    def no_symmetry(*arguments: Any, **options: Any) -> None:
        raise AssertionError("an import of many rows does not search their symmetry")

    monkeypatch.setattr("ebsdsg_flows.structures.structure_document", no_symmetry)
    monkeypatch.setattr("pymatgen.core.Structure.from_dict", no_symmetry)
    assert import_source(stores, path).counts == {"new": 1506}
