"""A structure from wherever a notebook has it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_materials_project import KEY, SIMPLE, FakeMaterialsProject, summary
from pymatgen.core import Lattice, Structure

from ebsdsg import read_structure
from ebsdsg_flows.builders.run import build_structures
from ebsdsg_flows.imports import ImportFailed, import_source
from ebsdsg_flows.label_changes import labelled_structures
from ebsdsg_flows.settings import get_settings
from ebsdsg_flows.structures import StructureError
from stores.collections import Stores
from stores.states import now

NIAL = Structure(Lattice.cubic(2.887), ["Ni", "Al"], [[0, 0, 0], [0.5, 0.5, 0.5]])


@pytest.fixture
def connected(
    stores: Stores, server: FakeMaterialsProject, monkeypatch: pytest.MonkeyPatch
) -> FakeMaterialsProject:
    """The Materials Project of the settings is the one on this machine."""
    monkeypatch.setenv("EBSDSG_MP_ENDPOINT", server.endpoint)
    monkeypatch.setenv("EBSDSG_MP_API_KEY", KEY)
    get_settings.cache_clear()
    return server


def test_a_file_a_structure_and_its_dictionary_are_the_same_crystal(
    stores: Stores, tmp_path: Path
) -> None:
    path = tmp_path / "NiAl.cif"
    NIAL.to_file(str(path))
    found = [read_structure(given) for given in (path, str(path), NIAL, NIAL.as_dict())]
    assert [(f.space_group.number, f.relabel.number) for f in found] == [(221, 229)] * 4
    assert all(f.crystal == found[0].crystal for f in found[2:])
    assert stores.structures.count_documents({}) == 0


def test_an_identifier_is_asked_for_once(stores: Stores, connected: FakeMaterialsProject) -> None:
    atoms = [("Ni", [0.0, 0.0, 0.0]), ("Al", [0.5, 0.5, 0.5])]
    connected.entries["mp-1487"] = summary("mp-1487", 2.887, SIMPLE, atoms, 221)
    found = read_structure("mp-1487")
    assert (found.material_id, found.formula) == ("mp-1487", "AlNi")
    assert (found.space_group.number, found.relabel.number) == (221, 229)
    assert stores.source_structures.distinct("key") == ["mp-1487"]
    asked = len(connected.requests)
    assert read_structure("mp-1487").crystal == found.crystal
    assert len(connected.requests) == asked


def test_what_cannot_be_found_is_said(stores: Stores, connected: FakeMaterialsProject) -> None:
    with pytest.raises(StructureError, match="mp-999: not in database 2026"):
        read_structure("mp-999")
    with pytest.raises(StructureError, match="'NiAl' is no file, and neither"):
        read_structure("NiAl")
    with pytest.raises(StructureError, match=r"missing\.cif"):
        read_structure("missing.cif")


def test_without_a_key_it_is_asked_for(stores: Stores, server: FakeMaterialsProject) -> None:
    with pytest.raises(ImportFailed, match="key"):
        read_structure("mp-23")
    assert not server.requests


def test_why_an_import_failed_is_said(
    stores: Stores, connected: FakeMaterialsProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EBSDSG_MP_RETRIES", "0")
    get_settings.cache_clear()
    connected.fail("status", status=500, times=99, when=lambda p: "material_ids" in p)
    with pytest.raises(ImportFailed, match=r"mp-100 could not be imported: .*\(1 attempts\)"):
        read_structure("mp-100")
    connected.mend()
    monkeypatch.setenv("EBSDSG_MP_API_KEY", "x" * 32)
    get_settings.cache_clear()
    with pytest.raises(ImportFailed, match=r"mp-100 could not be imported: .*key is refused"):
        read_structure("mp-100")
    monkeypatch.setenv("EBSDSG_MP_API_KEY", KEY)
    get_settings.cache_clear()
    assert read_structure("mp-100").formula == "Ni"


def test_a_structure_that_became_unusable_is_not_given(stores: Stores, tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"

    def label(structure: Structure) -> list[str]:
        row = {"material_id": "mine-1", "structure": structure.as_dict()}
        path.write_text(json.dumps(row), encoding="utf-8")
        import_source(stores, path)
        build_structures(stores)
        return [document["key"] for document in labelled_structures(stores)]

    assert label(NIAL) == ["mine-1"]
    assert read_structure("mine-1").formula == "AlNi"
    # as an import before the checks of today may have left it
    stores.source_structures.update_one(
        {"key": "mine-1"}, {"$set": {"structure.sites.1.abc": [0.1, 0, 0], "last_updated": now()}}
    )
    build_structures(stores)
    assert list(labelled_structures(stores)) == []
    with pytest.raises(StructureError, match=r"mine-1: atoms 1 .* overlap"):
        read_structure("mine-1")
    assert label(Structure(NIAL.lattice, ["Ni", "Ti"], NIAL.frac_coords)) == ["mine-1"]
    assert read_structure("mine-1").formula == "TiNi"
