"""FINDSYM as origin provider, by a stand-in: the real program was not there to be run."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ebsdsg_flows.atoms import Atoms, StructureError, atoms_of
from ebsdsg_flows.campaign import load_campaign
from ebsdsg_flows.findsym import FindsymMissing, described_by_findsym, input_text
from ebsdsg_flows.settings import get_settings
from ebsdsg_flows.sources import read_sources
from ebsdsg_flows.structures import structure_document
from ebsdsg_flows.submit import submit
from ebsdsg_sim.crystal import Crystal
from ebsdsg_sim.normaliser import relation
from ebsdsg_sim.standard_structure import StandardStructure, distances
from ebsdsg_sim.symmetry import standardize
from stores.collections import Stores

STAND_IN = Path(__file__).parents[1] / "fakes" / "findsym" / "findsym.py"

Order = Callable[..., None]


@pytest.fixture
def findsym(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Order:
    """Put the stand-in where a user would have FINDSYM; returns what gives it its orders."""
    program = tmp_path / "iso" / "findsym"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {STAND_IN} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("EBSDSG_FINDSYM", str(program))
    monkeypatch.delenv("ISODATA", raising=False)
    get_settings.cache_clear()
    return lambda **order: monkeypatch.setenv("FINDSYM_STAND_IN", json.dumps(order))


class DemoQuery:
    source, groups, materials, max_volume, symprec = "demo", (), (), {}, 0.1
    include_gnome = False


def structures() -> list[tuple[str, Any]]:
    return [(i.material_id, i.structure) for i in read_sources(DemoQuery())[0]]


def given(structure: Any, name: str) -> tuple[Atoms, StandardStructure]:
    atoms = atoms_of(structure, name)
    return atoms, standardize(atoms.lattice, atoms.positions, atoms.species)


def rock_salt() -> tuple[Atoms, StandardStructure]:
    base = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    positions = np.concatenate([base, base + 0.5]) + 0.013
    species = [{"Na": 1.0}] * 4 + [{"Cl": 1.0}] * 4
    atoms = Atoms("NaCl", np.eye(3) * 0.564, positions, species)
    return atoms, standardize(atoms.lattice, atoms.positions, atoms.species)


def test_the_input_says_everything_in_findsyms_units() -> None:
    atoms, standard = rock_salt()
    lines = input_text(atoms, standard.symprec).splitlines()
    assert lines[0] == "!useKeyWords" and lines[2] == "NaCl"
    at = {line: i for i, line in enumerate(lines) if line.startswith("!")}
    assert float(lines[at["!atomicPositionTolerance"] + 1]) == pytest.approx(0.1)  # Angstrom
    assert lines[at["!latticeBasisVectors"] + 1].split()[0] == "5.6400000000"
    assert lines[at["!atomCount"] + 1] == "8"
    assert lines[at["!atomType"] + 1] == "4*Cl 4*Na"  # the atoms follow in this order
    first = [float(x) for x in lines[at["!atomPosition"] + 1].split()]
    assert np.allclose(first, 0.513)


def test_both_give_one_asymmetric_unit_for_every_structure_of_the_set(findsym: Order) -> None:
    for name, structure in structures()[::3]:
        atoms, standard = given(structure, name)
        described = described_by_findsym(atoms, standard)
        assert described.setting == standard.setting
        assert sorted(o.multiplicity for o in described.orbits) == sorted(
            o.multiplicity for o in standard.orbits
        )
        document = structure_document(structure, name, origin="findsym")
        plain = structure_document(structure, name)
        assert any("FINDSYM" in note for note in document.notes)
        assert not any("FINDSYM" in note for note in plain.notes)
        assert document.relabel.number == plain.relabel.number
        assert document.density == pytest.approx(plain.density, rel=1e-5)
        one, other = (Crystal.from_dict(d.crystal) for d in (plain, document))
        found = relation(one, other)
        assert found is not None and found.largest < 1e-6


def test_another_origin_of_the_normaliser_is_taken_as_findsym_says(findsym: Order) -> None:
    findsym(shift=[0.5, 0.5, 0.5])
    atoms, standard = rock_salt()
    described = described_by_findsym(atoms, standard)
    here = {next(iter(o.species)): o.position for o in described.orbits}
    there = {next(iter(o.species)): o.position for o in standard.orbits}
    for element in ("Na", "Cl"):
        gap = np.array(here[element]) - there[element] - 0.5
        images = gap + np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
        assert distances(images, standard.lattice).min() < 1e-6
    # the transformation leads from the input to FINDSYM's cell
    moved = atoms.positions @ described.transformation.T + described.origin_shift
    gaps = distances(moved[:, None] - described.positions[None], described.lattice)
    assert gaps.min(axis=1).max() < 1e-6
    assert [next(iter(described.species[i])) for i in gaps.argmin(axis=1)] == [
        *["Na"] * 4,
        *["Cl"] * 4,
    ]
    letters = {next(iter(o.species)): o.wyckoff for o in described.orbits}
    assert set(letters.values()) == {"a", "b"}


def test_a_cif_on_the_screen_is_as_good(findsym: Order) -> None:
    findsym(do="print")
    atoms, standard = rock_salt()
    assert described_by_findsym(atoms, standard).setting == standard.setting


@pytest.mark.parametrize(
    ("do", "says"),
    [
        ("no cif", "wrote no CIF; it says: .*not able to find the space group"),
        ("displace", "different crystals"),
        ("lower", r"FINDSYM says .*, spglib Fm-3m \(225\) at a tolerance of 0.1"),
    ],
)
def test_an_answer_that_is_not_the_crystal_is_refused(findsym: Order, do: str, says: str) -> None:
    findsym(do=do)
    with pytest.raises(StructureError, match=rf"NaCl: .*{says}"):
        described_by_findsym(*rock_salt())


def test_a_program_that_hangs_is_ended(findsym: Order, tmp_path: Path) -> None:
    findsym(do="hang")
    begun = time.monotonic()
    with pytest.raises(StructureError, match="did not end within 2 s"):
        described_by_findsym(*rock_salt(), timeout=2)
    assert time.monotonic() - begun < 10
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                assert str(tmp_path).encode() not in (entry / "environ").read_bytes() or (
                    b"findsym.py" not in (entry / "cmdline").read_bytes()
                )
            except OSError:
                continue


def test_a_missing_program_is_an_error_and_no_reason_to_skip_a_structure(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    get_settings.cache_clear()
    with pytest.raises(FindsymMissing, match="origin: spglib") as error:
        described_by_findsym(*rock_salt())
    assert not isinstance(error.value, StructureError)


def test_a_shared_position_is_not_given_to_findsym(findsym: Order) -> None:
    atoms, standard = rock_salt()
    mixed = Atoms("NaCl", atoms.lattice, atoms.positions, [{"Na": 0.5, "K": 0.5}] * 8)
    with pytest.raises(StructureError, match=r"position 1 holds .*use `origin: spglib`"):
        described_by_findsym(mixed, standard)


CAMPAIGN = """
name: {name}
structures: {{source: demo, materials: [mp-631], origin: {name}}}
simulation:
  parameters: {{npx: 3, dmin: 0.1, n_electrons: 20000, mc_pixels: 51, energy_step: 10.0}}
"""


@pytest.mark.slow
def test_a_campaign_simulates_the_description_that_its_provider_gives(
    findsym: Order,
    stores: Stores,
    tmp_path: Path,
    ebsdsg: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    findsym(shift=[0.5, 0.5, 0.5])
    crystals: dict[str, Crystal] = {}
    for name in ("spglib", "findsym"):
        path = tmp_path / f"{name}.yaml"
        path.write_text(CAMPAIGN.format(name=name))
        assert len(submit(load_campaign(path), stores).new) == 1  # members of their own
        ran = ebsdsg("run", "-n", "1", "-q")
        assert ran.returncode == 0, ran.stdout + ran.stderr
        new = [s for s in stores.simulations.find() if s["key"] not in crystals]
        assert [s["state"] for s in new] == ["completed"]
        crystals[new[0]["key"]] = Crystal.from_dict(new[0]["crystal"])
    one, other = crystals.values()
    assert [s.position for s in one.sites] != [s.position for s in other.sites]
    assert relation(one, other) is not None
