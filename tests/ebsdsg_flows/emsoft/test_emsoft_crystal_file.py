"""Every recorded dialogue is replayed against the driver, and every crystal system is written."""

from __future__ import annotations

import ast
import os
import re
import signal
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from ebsdsg_flows.engines.base import EngineFailure
from ebsdsg_flows.engines.emsoft.crystal_file import (
    ANGLES,
    ANOTHER,
    ATOM,
    FILE,
    GROUP,
    HEXAGONAL,
    LENGTHS,
    SITE,
    SOURCE,
    SYSTEM,
    TWO_ORIGINS,
    Step,
    answers,
)
from ebsdsg_flows.engines.emsoft.dialogue import converse
from ebsdsg_flows.engines.emsoft.xtal_file import check_xtal, make_xtal, write_xtal
from ebsdsg_sim.crystal import Crystal, CrystalError, Site
from ebsdsg_sim.symmetry import hall_number_for, setting

REPLAY = Path(__file__).parents[2] / "fakes" / "emsoft" / "replay.py"


def crystal(name: str, cell: tuple[float, ...], hall: int, *sites: Site) -> Crystal:
    return Crystal(name, cell, setting(hall).space_group, hall, sites)  # type: ignore[arg-type]


def cubic(name: str, a: float, group: int, *sites: Site, choice: int = 1) -> Crystal:
    return crystal(name, (a, a, a, 90, 90, 90), hall_number_for(group, choice), *sites)


AT_0 = (0.0, 0.0, 0.0)
HALF = (0.5, 0.5, 0.5)
GOOD: dict[str, tuple[Crystal, str, str]] = {
    "Ni": (
        cubic("Ni", 0.35236, 225, Site("Ni", AT_0, 1, 0.0035)),
        "Ni.xtal",
        "Reference data, Ni fcc",
    ),
    "Ni_B080": (
        cubic("Ni", 0.35236, 225, Site("Ni", AT_0, 1, 0.008)),
        "Ni_B080.xtal",
        "Reference data, Ni fcc, B=0.008 nm2",
    ),
    "NiAl": (
        cubic("NiAl", 0.2887, 221, Site("Ni", AT_0, 1, 0.005), Site("Al", HALF, 1, 0.006)),
        "NiAl.xtal",
        "Reference data, NiAl B2",
    ),
    "TiC": (
        cubic("TiC", 0.4328, 225, Site("Ti", AT_0, 1, 0.003), Site("C", HALF, 1, 0.0035)),
        "TiC.xtal",
        "Reference data, TiC NaCl type",
    ),
    "Cr3Si": (
        cubic(
            "Cr3Si", 0.4556, 223, Site("Si", AT_0, 1, 0.003), Site("Cr", (0.25, 0, 0.5), 1, 0.0025)
        ),
        "Cr3Si.xtal",
        "Reference data, Cr3Si A15",
    ),
    "Si_origin1": (
        cubic("Si", 0.5431, 227, Site("Si", AT_0, 1, 0.0046)),
        "Si_origin1.xtal",
        "Reference data, Si, origin choice 1",
    ),
    "Si_origin2": (
        cubic("Si", 0.5431, 227, Site("Si", (0.125,) * 3, 1, 0.0046), choice=2),
        "Si.xtal",
        "Reference data, Si, origin choice 2",
    ),
    "Ta": (
        cubic("Ta", 0.33013, 229, Site("Ta", AT_0, 1, 0.0032)),
        "Ta.xtal",
        "Reference data, Ta bcc",
    ),
    "W": (cubic("W", 0.31652, 229, Site("W", AT_0, 1, 0.0016)), "W.xtal", "Reference data, W bcc"),
    "Ti_hcp": (
        crystal(
            "Ti",
            (0.29508, 0.29508, 0.46855, 90, 90, 120),
            hall_number_for(194),
            Site("Ti", (1 / 3, 2 / 3, 0.25), 1, 0.005),
        ),
        "Ti.xtal",
        "Ti hcp",
    ),
    "Al3Ni2": (
        crystal(
            "Al3Ni2",
            (0.4036, 0.4036, 0.49, 90, 90, 120),
            hall_number_for(164),
            Site("Al", AT_0, 1, 0.006),
            Site("Al", (1 / 3, 2 / 3, 0.648), 1, 0.006),
            Site("Ni", (1 / 3, 2 / 3, 0.149), 1, 0.005),
        ),
        "Al3Ni2.xtal",
        "Reference data, Al3Ni2 D5_13",
    ),
    "Bi_rhombohedral": (
        crystal(
            "Bi",
            (0.4746, 0.4746, 0.4746, 57.237, 57.237, 57.237),
            459,
            Site("Bi", (0.23389,) * 3, 1, 0.01),
        ),
        "Bi_rhomb.xtal",
        "Bi rhombohedral",
    ),
    "existing_file": (
        cubic("Ni", 0.35236, 225, Site("Ni", AT_0, 1, 0.0035)),
        "Ti.xtal",
        "overwrite test",
    ),
}


def transcript(shared: Path, name: str) -> Path:
    return shared / "emsoft" / "transcripts" / f"emmkxtal_{name}.txt"


def typed(path: Path) -> list[str]:
    part = path.read_text().split("===== PART B")[1]
    return [ast.literal_eval(line[5:]) for line in part.splitlines() if line.startswith("SEND ")]


def same_answer(ours: str, theirs: str) -> bool:
    """Whether Fortran reads the same from both."""

    def read(text: str) -> list[object]:
        text = text.strip()
        if text.startswith("'"):
            return [text[1:-1]]
        parts = re.split(r"[\s,]+", text)
        try:
            return [
                round(float(a) / float(b or 1), 7) for a, _, b in (p.partition("/") for p in parts)
            ]
        except ValueError:
            return [text]

    return read(ours) == read(theirs)


def replay(
    shared: Path, name: str, folder: Path, copy: tuple[Path, Path] | None = None
) -> list[str]:
    arguments = [str(transcript(shared, name)), str(folder / "typed.txt")]
    return [sys.executable, "-S", str(REPLAY), *arguments, *map(str, copy or ())]


@pytest.mark.parametrize("name", GOOD)
def test_the_driver_gives_the_recorded_answers(name: str, shared: Path, tmp_path: Path) -> None:
    what, file_name, source = GOOD[name]
    steps = answers(what, file_name, source)
    screen = converse(
        replay(shared, name, tmp_path), steps, environment=os.environ, folder=tmp_path, timeout=20
    )
    assert f"Source = {source}" in screen
    given = (tmp_path / "typed.txt").read_text().splitlines()
    recorded = typed(transcript(shared, name))
    assert len(given) == len(recorded) == len(steps)
    for ours, theirs in zip(given, recorded, strict=True):
        assert same_answer(ours, theirs), (ours, theirs)


@pytest.mark.parametrize("name", ["Ni", "NiAl", "TiC", "Ni_B080", "Si"])
def test_files_of_the_real_program_hold_what_was_asked_and_ours_hold_the_same(
    name: str, shared: Path, tmp_path: Path
) -> None:
    real = shared / "reference" / "emsoft" / f"{name}.inputs" / f"{name}.xtal"
    what, _, source = GOOD["Si_origin2" if name == "Si" else name]
    check_xtal(real, what, source)
    ours = tmp_path / f"{name}.xtal"
    write_xtal(ours, what, source)
    check_xtal(ours, what, source)
    with h5py.File(real) as a, h5py.File(ours) as b:
        first, second = a["CrystalData"], b["CrystalData"]
        assert set(first) == set(second)
        for key in first:
            if key in ("Creator", "CreationDate", "CreationTime"):
                continue
            assert np.array_equal(first[key][()], second[key][()]), key
            assert first[key].dtype == second[key].dtype and first[key].shape == second[key].shape
            if first[key].dtype == object:
                cset = [x[key].id.get_type().get_cset() for x in (first, second)]
                assert cset == [h5py.h5t.CSET_ASCII] * 2
    with pytest.raises(FileExistsError):
        write_xtal(ours, what, source)


NI = (SYSTEM, LENGTHS[0], GROUP, ATOM, SITE, ANOTHER, FILE, SOURCE)
RHOMB = (SYSTEM, HEXAGONAL, LENGTHS[0], ANGLES[0], GROUP, ATOM, SITE, ANOTHER, FILE, SOURCE)
TWICE = (*NI[:6], *NI[3:])
WRONG: dict[str, tuple[tuple[str, ...], int, str]] = {
    "bad_atom_letters": (NI, 142, "Bad integer"),
    "bad_coords": (NI, 142, "End of file"),
    "bad_coords_frac3": (NI, 142, "End of file"),
    "bad_cs": (NI, 121, "space group mismatch"),
    "bad_sg": (NI, 121, "space group mismatch"),
    "bad_fname_nodir": (NI, 143, "HDF_createFile"),
    "bad_source_blank": (NI, 122, "did not end within 0.4 s"),
    "bad_zero_dw": (NI, 123, "1.0000000 0.0040000"),
    "w_flag_Ni": (NI, 121, "Atomic number, site occupation"),
    "w_flag_Al3Ni2": ((*RHOMB[:3], LENGTHS[2], *RHOMB[4:]), 121, "Atomic number, site"),
}
UNNOTICED = {
    "bad_atom": NI,
    "bad_fname_subdir": NI,
    "bad_sg_rhomb": RHOMB,
    "bad_source_unquoted": NI,
    "position_twice": TWICE,
}
"""The program itself says nothing; what it wrote shows it."""


def test_no_recorded_dialogue_is_left_out(shared: Path) -> None:
    recorded = {
        path.stem.removeprefix("emmkxtal_") for path in transcript(shared, "Ni").parent.iterdir()
    }
    assert recorded == {*GOOD, *WRONG, *UNNOTICED}


def steps_of(shared: Path, name: str, prompts: tuple[str, ...]) -> list[Step]:
    given = typed(transcript(shared, name)) + ["x"] * len(prompts)
    steps = []
    for prompt, text in zip(prompts, given, strict=False):
        echo: tuple[float, ...] = ()
        if prompt == SITE and name == "bad_zero_dw":
            echo = tuple(float(v) for v in text.split(","))
        steps.append(Step(prompt, text, echo))
    return steps


@pytest.mark.parametrize("name", WRONG)
def test_wrong_answers_end_in_the_right_error(name: str, shared: Path, tmp_path: Path) -> None:
    prompts, code, text = WRONG[name]
    start = time.monotonic()
    with pytest.raises(EngineFailure) as caught:
        converse(
            replay(shared, name, tmp_path),
            steps_of(shared, name, prompts),
            environment=os.environ,
            folder=tmp_path,
            timeout=0.4 if name == "bad_source_blank" else 20,
        )
    assert caught.value.code == code
    shown = " ".join(f"{caught.value.message} {caught.value.log_tail}".split())
    assert text in shown
    assert time.monotonic() - start < 15
    if code == 142:
        assert caught.value.exit_code == 2
    if name == "bad_fname_nodir":
        assert caught.value.exit_code == -signal.SIGSEGV


@pytest.mark.parametrize("name", UNNOTICED)
def test_what_the_program_accepts_silently_is_found_in_its_file(
    name: str, shared: Path, tmp_path: Path, emsoft: Path, xtal_environment: dict[str, str]
) -> None:
    steps = steps_of(shared, name, UNNOTICED[name])
    converse(replay(shared, name, tmp_path), steps, environment=os.environ, folder=tmp_path)
    # the stand-in understands the same answers as the program did
    program = [str(emsoft / "bin" / "EMmkxtal")]
    converse(program, steps, environment=xtal_environment, folder=tmp_path)
    asked = cubic("Ni", 0.35, 225, Site("Ni", AT_0, 1, 0.0035))
    name_asked = typed(transcript(shared, name))[-2].strip("'")
    with pytest.raises(EngineFailure) as caught:
        check_xtal(tmp_path / name_asked, asked, "J. Appl. Cryst, 12/3 (1999)")
    expected = {
        "bad_atom": "the elements are [200]",
        "bad_fname_subdir": "is not a crystal file",
        "bad_sg_rhomb": "SpaceGroupNumber is 150 instead of 225",
        "bad_source_unquoted": "the source is 'J.'",
        "position_twice": "Natomtypes is 2 instead of 1",
    }
    assert expected[name] in caught.value.message


def test_impossible_crystals_never_reach_the_program() -> None:
    with pytest.raises(CrystalError):
        Site("Xx", AT_0)
    with pytest.raises(CrystalError, match="add up"):
        cubic("x", 0.35, 225, Site("Ni", AT_0), Site("Al", AT_0))
    for site, text in ((Site("Ni", AT_0, 0.0), "occupancy 0"), (Site("Ni", AT_0, 1, 0.0), "0.004")):
        sites = (site, Site("C", HALF))
        with pytest.raises(EngineFailure, match=text):
            answers(cubic("x", 0.35, 225, *sites), "x.xtal", "x")
    nickel = GOOD["Ni"][0]
    for source in ("", "a\nb", "Ångström", "x" * 513):
        with pytest.raises(EngineFailure, match="text"):
            answers(nickel, "Ni.xtal", source)
    with pytest.raises(EngineFailure, match="hexagonal"):
        write_xtal(Path("x"), GOOD["Bi_rhombohedral"][0], "x")
    other_axes = crystal("x", (0.5, 0.6, 0.7, 90, 90, 100), 4, Site("Ni", AT_0))
    with pytest.raises(EngineFailure, match="standard"):
        answers(other_axes, "x.xtal", "x")


SYSTEMS = {
    "triclinic": crystal("t", (0.5, 0.6, 0.7, 80, 95, 103), 2, Site("Na", (0.1, -0.2, 0.3), 0.5)),
    "monoclinic": crystal(
        "m", (0.5, 0.6, 0.7, 90, 103.5, 90), hall_number_for(15), Site("O", (0.1, 0.2, 0.3))
    ),
    "orthorhombic": crystal(
        "o", (0.5, 0.6, 0.7, 90, 90, 90), hall_number_for(62), Site("Fe", (0.1, 0.25, 0.3))
    ),
    "tetragonal": crystal(
        "te", (0.4, 0.4, 0.7, 90, 90, 90), hall_number_for(141, 1), Site("Ti", AT_0, 1, 0.0061)
    ),
    "trigonal": GOOD["Al3Ni2"][0],
    "rhombohedral": GOOD["Bi_rhombohedral"][0],
    "hexagonal": GOOD["Ti_hcp"][0],
    "cubic": GOOD["Si_origin2"][0],
    "near special": crystal(
        "n", (0.3, 0.3, 0.47, 90, 90, 120), hall_number_for(194), Site("Ti", (0.3333, 0.6667, 0.25))
    ),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_crystal_system_is_written_and_read_back(
    name: str, tmp_path: Path, emsoft: Path, xtal_environment: dict[str, str]
) -> None:
    what = SYSTEMS[name]
    path = tmp_path / f"{name}, a 'name'.xtal"
    source = "J. Appl. Cryst, 12/3 (1999), O'Neill"
    program = [str(emsoft / "bin" / "EMmkxtal")]
    make_xtal(path, what, source, program, environment=xtal_environment, timeout=30)
    with pytest.raises(FileExistsError, match="overwrite"):
        make_xtal(path, what, source, program, environment=xtal_environment)
    if name != "rhombohedral":
        direct = tmp_path / "direct.xtal"
        write_xtal(direct, what, source)
        with h5py.File(path) as a, h5py.File(direct) as b:
            for key in ("AtomData", "LatticeParameters", "SpaceGroupSetting", "CrystalSystem"):
                assert np.array_equal(a["CrystalData"][key][()], b["CrystalData"][key][()]), key


def test_two_origin_groups_are_those_with_two_origins() -> None:
    from ebsdsg_sim.symmetry import hall_number_for

    for group in range(1, 231):
        two = hall_number_for(group, 1) != hall_number_for(group, 2)
        assert two == (group in TWO_ORIGINS), group


def test_a_file_with_another_crystal_is_refused(tmp_path: Path) -> None:
    what, _, source = GOOD["TiC"]
    path = tmp_path / "x.xtal"
    write_xtal(path, what, source)
    changes = {
        "LatticeParameters": (np.s_[0], 0.433, "cell"),
        "SpaceGroupSetting": (np.s_[0], 2, "SpaceGroupSetting"),
        "AtomData": (np.s_[4, 1], 0.004, "Debye-Waller factor of site 2"),
        "Atomtypes": (np.s_[1], 7, "elements"),
    }
    for key, (where, value, text) in changes.items():
        with h5py.File(path, "r+") as file:
            old = file["CrystalData"][key][where]
            file["CrystalData"][key][where] = value
        with pytest.raises(EngineFailure, match=text):
            check_xtal(path, what, source)
        with h5py.File(path, "r+") as file:
            file["CrystalData"][key][where] = old
    check_xtal(path, what, source)


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineFailure) as caught:
        converse([str(tmp_path / "EMmkxtal")], [], environment={}, folder=tmp_path)
    assert caught.value.code == 100 and "EMmkxtal" in caught.value.message
