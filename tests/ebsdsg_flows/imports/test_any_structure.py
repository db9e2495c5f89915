"""A structure from wherever a notebook has it."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_materials_project import KEY, SIMPLE, FakeMaterialsProject, summary
from pymatgen.core import Lattice, Structure

from ebsdsg import read_structure
from ebsdsg_flows.imports import ImportFailed
from ebsdsg_flows.settings import get_settings
from ebsdsg_flows.structures import StructureError
from stores.collections import Stores

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
    with pytest.raises(StructureError, match="'mp-999' is no file, and neither"):
        read_structure("mp-999")
    with pytest.raises(StructureError, match="'NiAl' is no file, and neither"):
        read_structure("NiAl")
    with pytest.raises(StructureError, match=r"missing\.cif"):
        read_structure("missing.cif")


def test_without_a_key_it_is_asked_for(stores: Stores, server: FakeMaterialsProject) -> None:
    with pytest.raises(ImportFailed, match="key"):
        read_structure("mp-23")
    assert not server.requests
