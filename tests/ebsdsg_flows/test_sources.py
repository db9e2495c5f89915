"""Every source gives the same items; what cannot be used is named with its reason."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ebsdsg_flows.atoms import StructureError
from ebsdsg_flows.sources import (
    Refused,
    SourceError,
    SourceItem,
    demo_file,
    iterate,
    read_sources,
)
from ebsdsg_flows.structures import structure_document

GROUPS = (221, 223, 225, 227, 229)


@dataclass
class Query:
    source: str
    groups: tuple[int, ...] = ()
    materials: tuple[str, ...] = ()
    max_volume: dict[int, float] = field(default_factory=dict)
    symprec: float = 0.1
    include_gnome: bool = False


def rows() -> list[dict[str, Any]]:
    return [json.loads(line) for line in demo_file().read_text(encoding="utf-8").splitlines()]


def write_lines(path: Path, lines: list[Any]) -> Path:
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


def write_cif(path: Path, row: dict[str, Any]) -> Path:
    from pymatgen.core import Structure
    from pymatgen.io.cif import CifWriter

    CifWriter(Structure.from_dict(row["structure"])).write_file(str(path))
    return path


class TestDemoSet:
    @pytest.fixture(scope="class")
    def documents(self) -> list[Any]:
        items, refused = read_sources(Query("demo"))
        assert refused == ()
        return [
            structure_document(
                item.structure, item.material_id, source=item.source, licence=item.licence
            )
            for item in items
        ]

    def test_has_about_24_structures_with_licence(self, documents: list[Any]) -> None:
        assert len(documents) == 24
        assert {d.licence for d in documents} == {"CC-BY-4.0 (Materials Project)"}
        assert {d.source.kind for d in documents} == {"demo"}
        assert "CC BY 4.0" in demo_file().parent.joinpath("README.md").read_text(encoding="utf-8")

    def test_covers_the_groups_before_and_after_disordering(self, documents: list[Any]) -> None:
        true = Counter(d.space_group.number for d in documents)
        relabelled = Counter(d.relabel.number for d in documents)
        assert set(true) == set(relabelled) == set(GROUPS)
        # three phases of a class are needed for three folds without a phase in two of them
        assert min(true.values()) >= 4
        assert min(relabelled.values()) >= 4

    def test_holds_the_label_changes_of_the_paper(self, documents: list[Any]) -> None:
        changes = {d.formula: (d.space_group.number, d.relabel.number) for d in documents}
        assert changes["AlNi"] == changes["AlFe"] == (221, 229)
        assert changes["AlNi3"] == changes["FeNi3"] == changes["Cu3Au"] == (221, 225)
        assert changes["TiC"] == changes["NbC"] == changes["TaC"] == changes["MgO"] == (225, 221)
        assert all(d.relabel.sensitive is False for d in documents)

    def test_is_cheap(self, documents: list[Any]) -> None:
        assert max(d.n_atoms for d in documents) <= 8
        assert max(d.volume_conventional for d in documents) < 300

    def test_says_the_truth_about_itself(self, documents: list[Any]) -> None:
        for row, document in zip(rows(), documents, strict=True):
            assert row["formula_pretty"] == document.formula
            assert row["spacegroup_number"] == document.space_group.number
            assert row["volume_conventional"] == pytest.approx(
                document.volume_conventional, rel=1e-4
            )


class TestJsonLines:
    def test_plain_and_compressed_are_the_same(self, tmp_path: Path) -> None:
        plain = list(iterate(write_lines(tmp_path / "a.jsonl", rows()[:3])))
        packed = list(iterate(write_lines(tmp_path / "a.jsonl.gz", rows()[:3])))
        assert [item.material_id for item in plain] == ["mp-1487", "mp-2658", "mp-2593"]
        assert [i.structure for i in plain] == [i.structure for i in packed]  # type: ignore[union-attr]
        first = plain[0]
        assert isinstance(first, SourceItem)
        assert first.source["kind"] == "jsonl"
        assert first.source["identifier"] == "mp-1487"
        assert "topology_databases" in first.source["reference"]
        assert first.licence == "CC-BY-4.0 (Materials Project)"

    def test_bad_lines_are_named_and_the_others_go_on(self, tmp_path: Path) -> None:
        good = rows()[:3]
        broken = json.loads(json.dumps(good[1]))
        broken["material_id"] = "mp-bad"
        broken["structure"]["sites"][0]["species"] = [{"element": "Nx", "occu": 1}]
        lines = [good[0], "{not json", {"structure": {}}, "[1]", broken, good[0], "", good[2]]
        path = write_lines(tmp_path / "mixed.jsonl", lines)
        items, refused = read_sources(Query(str(path)))
        assert [item.material_id for item in items] == ["mp-1487", "mp-2593"]
        reasons = dict(refused)
        assert "not JSON" in reasons["mixed.jsonl line 2"]
        assert "no material_id" in reasons["mixed.jsonl line 3"]
        assert "JSON object" in reasons["mixed.jsonl line 4"]
        assert "unknown element 'Nx'" in reasons["mp-bad"]
        assert "given twice" in reasons["mp-1487"]
        assert len(refused) == 5

    def test_strict_stops_at_the_first(self, tmp_path: Path) -> None:
        path = write_lines(tmp_path / "mixed.jsonl", [rows()[0], "{not json"])
        with pytest.raises(StructureError, match="line 2: not JSON"):
            read_sources(Query(str(path)), strict=True)

    def test_a_cut_archive_is_one_error(self, tmp_path: Path) -> None:
        path = write_lines(tmp_path / "a.jsonl.gz", rows())
        path.write_bytes(path.read_bytes()[:-200])
        with pytest.raises(SourceError, match="not readable to its end"):
            read_sources(Query(str(path)))

    def test_nothing_usable_is_an_error_with_the_first_reason(self, tmp_path: Path) -> None:
        path = write_lines(tmp_path / "bad.jsonl", ["{", "{"])
        with pytest.raises(SourceError, match="no usable structure; the first of 2 reasons"):
            read_sources(Query(str(path)))

    def test_an_empty_file_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match="holds no structure"):
            read_sources(Query(str(write_lines(tmp_path / "empty.jsonl", []))))


class TestCif:
    def test_one_file(self, tmp_path: Path) -> None:
        path = write_cif(tmp_path / "NiAl.cif", rows()[0])
        items, refused = read_sources(Query(str(path)))
        assert refused == ()
        assert items[0].material_id.startswith("NiAl-")
        assert items[0].source == {"kind": "cif", "identifier": "NiAl.cif", "reference": ""}
        document = structure_document(items[0].structure, items[0].material_id)
        assert (document.space_group.number, document.relabel.number) == (221, 229)

    def test_a_bad_file_alone_is_an_error(self, tmp_path: Path) -> None:
        path = tmp_path / "bad.cif"
        path.write_text("rubbish", encoding="utf-8")
        with pytest.raises(StructureError, match=r"bad\.cif"):
            read_sources(Query(str(path)))

    def test_a_folder_with_a_bad_file_goes_on(self, tmp_path: Path) -> None:
        write_cif(tmp_path / "b.cif", rows()[0])
        write_cif(tmp_path / "a.CIF", rows()[9])
        (tmp_path / "bad.cif").write_text("rubbish", encoding="utf-8")
        (tmp_path / "notes.txt").write_text("x", encoding="utf-8")
        entries = list(iterate(tmp_path))
        assert [type(entry) for entry in entries] == [SourceItem, SourceItem, Refused]
        items, refused = read_sources(Query(str(tmp_path)))
        assert len(items) == 2
        assert refused[0][0] == "bad.cif"
        with pytest.raises(StructureError, match=r"bad\.cif"):
            read_sources(Query(str(tmp_path)), strict=True)

    def test_a_note_about_the_group_survives_the_way(self, tmp_path: Path) -> None:
        # written in P1, as CifWriter does without a tolerance
        items, _ = read_sources(Query(str(write_cif(tmp_path / "x.cif", rows()[0]))))
        values = items[0].structure.as_dict()
        assert any("source says space group 1;" in n for n in structure_document(values, "x").notes)


class TestQuery:
    def test_groups(self) -> None:
        items, _ = read_sources(Query("demo", groups=(223, 227)))
        assert len(items) == 8

    def test_materials(self) -> None:
        items, _ = read_sources(Query("demo", materials=("mp-23", "mp-149")))
        assert {item.material_id for item in items} == {"mp-23", "mp-149"}
        with pytest.raises(SourceError, match="demo has no structure mp-0"):
            read_sources(Query("demo", materials=("mp-23", "mp-0")))

    def test_volume_of_the_conventional_cell(self) -> None:
        items, _ = read_sources(Query("demo", groups=(227,), max_volume={227: 170.0}))
        assert {item.structure.formula for item in items} == {"C2", "Si2"}

    def test_group_and_volume_are_found_where_the_source_is_silent(self, tmp_path: Path) -> None:
        silent = [{key: row[key] for key in ("material_id", "structure")} for row in rows()[15:20]]
        path = write_lines(tmp_path / "silent.jsonl", silent)
        items, _ = read_sources(Query(str(path), groups=(227,), max_volume={227: 170.0}))
        assert [item.material_id for item in items] == ["mp-66", "mp-149"]
        assert items[0].licence == "unknown"

    def test_what_a_row_states_decides_before_its_structure_is_looked_at(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        looked_at = []
        monkeypatch.setattr(
            "ebsdsg_flows.sources.items.atoms_of",
            lambda values, identifier: looked_at.append(identifier),
        )
        bad = {**rows()[0], "material_id": "mp-bad", "structure": None}
        lines = [*rows(), bad, {**bad, "material_id": "mp-wrong", "spacegroup_number": 231}]
        path = write_lines(tmp_path / "a.jsonl", lines)
        items, refused = read_sources(Query(str(path), groups=(223, 227), max_volume={227: 170.0}))
        assert [i.material_id for i in items] == looked_at
        kept = [r["material_id"] for r in rows() if r["spacegroup_number"] in (223, 227)]
        assert set(looked_at) < set(kept)
        # a row of another group is not wanted, however bad; one of no group is told
        assert refused == (("mp-wrong", "mp-wrong: spacegroup_number 231 is not from 1 to 230"),)
        looked_at.clear()
        read_sources(Query(str(path), materials=("mp-23",)))
        assert looked_at == ["mp-23"]

    def test_nothing_left_is_an_error(self) -> None:
        with pytest.raises(SourceError, match="no structure that the query keeps"):
            read_sources(Query("demo", groups=(1,)))


@pytest.mark.parametrize("name", ["nowhere.cif", "nowhere", "nowhere.jsonl"])
def test_missing_source(name: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file or folder"):
        read_sources(Query(str(tmp_path / name)))


def test_unknown_kind_of_source(tmp_path: Path) -> None:
    path = tmp_path / "POSCAR"
    path.write_text("x", encoding="utf-8")
    with pytest.raises(SourceError, match=r"give a \.cif"):
        read_sources(Query(str(path)))


def test_folder_without_cif(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"without \.cif files"):
        read_sources(Query(str(tmp_path)))
