"""Each recorded failing run is called by its name, and each number has one meaning."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from ebsdsg_flows.engines.base import EngineFailure
from ebsdsg_flows.engines.emsoft.failures import KINDS, Rule, kind_of, recognise
from ebsdsg_flows.engines.emsoft.outcome import SUCCESS, check_cell, judge
from ebsdsg_flows.engines.emsoft.supervise import Ended
from ebsdsg_sim.crystal import Crystal, Site
from ebsdsg_sim.symmetry import hall_number_for

RECORDED = {
    "EMMCOpenCL, nml file missing": 130,
    "EMMCOpenCL, file not ending in .nml (treated as JSON)": 131,
    "EMMCOpenCL, no GPU in the OpenCL platform (pocl CPU only)": 111,
    "EMMCOpenCL, no OpenCL platform at all": 110,
    "EMMCOpenCL, platid too large": 110,
    "EMMCOpenCL, xtal file missing": 131,
    "EMMCOpenCL, unknown namelist variable": 130,
    "EMMCOpenCL, xtalname undefined": 130,
    "EMMCOpenCL, unknown mode": 130,
    "EMMCOpenCL, not enough seeds": 112,
    "EMMCOpenCL, RandomSeeds.data missing": 101,
    "EMMCOpenCL, output folder missing (the whole MC is computed first)": 143,
    "EMEBSDmaster, nml missing": 130,
    "EMEBSDmaster, MC HDF5 file missing": 131,
    "EMEBSDmaster, energyfile undefined": 130,
    "EMEBSDmaster, xtal file named in the MC file is missing": 131,
    "EMEBSDmaster, energyfile is not HDF5": 131,
    "EMEBSDmaster, energyfile is HDF5 without MC data": 131,
    "EMEBSDmaster, restart=.TRUE. on an MC-only file": 143,
    "EMEBSDmaster, finished file but different npx (array shape differs)": 143,
    "EMEBSDmaster, restart=.TRUE. on a finished file": 132,
    "EMEBSD, master file missing": 131,
    "EMEBSD, MC-only file as masterfile": 131,
    "EMEBSD, angle file missing": 142,
    "EMEBSD, angle file shorter than its count": 142,
    "EMEBSD, angle file without the eu/qu line": 160,
    "EMEBSD, numsx=0": 130,
    "EMEBSD, datafile undefined": 130,
    "EMEBSD, output folder missing": 143,
    "EMEBSD, xtal folder wrong (xtal file is read again here)": 131,
}
SILENT = {
    "EMEBSD, bad bitdepth",
    "EMEBSD, energymin above the MC range",
    "EMEBSD, unfinished master (killed at 15 keV; zero-filled energies): no warning",
    "EMEBSDmaster uniform=.TRUE.",
    "EMEBSDmaster, same again on the finished file (overwrites)",
}
"""Nothing in the output is wrong: namelists are checked before, files afterwards."""


def runs(shared: Path) -> dict[str, tuple[str, int, str]]:
    """Title to program, exit code and output of the recorded runs."""
    found = {}
    for path in sorted((shared / "emsoft" / "failure_modes").glob("failure_modes_*.txt")):
        for part in path.read_text(encoding="utf-8", errors="replace").split("######## ")[1:]:
            title, command, status, *output = part.splitlines()
            program = command.split()[1].rpartition("/")[2].removesuffix("_cpu")
            code = re.match(r"EXIT CODE (-?\d+)", status)
            assert code is not None, title
            found[title] = (program, int(code[1]), "\n".join(output))
    return found


def ended(code: int, output: str, reason: str = "exited") -> Ended:
    return Ended(reason, code, output, 1.0, 1.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("title", RECORDED)
def test_a_recorded_failure_gets_its_number(title: str, shared: Path) -> None:
    program, code, output = runs(shared)[title]
    with pytest.raises(EngineFailure) as caught:
        judge(program, ended(code, output))
    assert caught.value.code == RECORDED[title], caught.value
    assert caught.value.exit_code == code
    assert caught.value.next_action


def test_recorded_good_runs_are_good_and_none_is_left_out(shared: Path) -> None:
    for title, (program, code, output) in runs(shared).items():
        if title in RECORDED or " -t" in title or " -h" in title:
            continue
        if "CL_INVALID_VALUE" in output:
            with pytest.raises(EngineFailure) as caught:
                judge(program, ended(code, output))
            assert caught.value.code == 113
            continue
        good = ("tiny successful", "good run", "uninterrupted", "after kill9", "after term")
        assert title in SILENT or any(word in title for word in good), title
        judge(program, ended(code, output))


def test_real_logs_of_good_runs_are_good(shared: Path) -> None:
    for name in ("Si", "TiC", "NiAl"):
        folder = shared / "reference" / "emsoft" / f"{name}.inputs"
        for program in ("EMEBSDmaster", "EMMCOpenCL"):
            text = (folder / f"{program}.log").read_text(encoding="utf-8", errors="replace")
            judge(program, ended(0, text))


@pytest.mark.parametrize(
    ("code", "output", "number"),
    [
        (0, "nothing", 160),
        (127, "EMMC: error while loading shared libraries: libhdf5.so: cannot open", 100),
        (-11, "", 145),
        (-6, "Program received signal SIGABRT", 145),
        (-9, "", 146),
        (-15, "", 146),
        (2, "Fortran runtime error: Allocation would exceed memory limit", 141),
        (0, "clEnqueueNDRangeKernel: Error: CL_OUT_OF_RESOURCES", 141),
        (2, "Fortran runtime error: No space left on device", 140),
        (0, "========Program Aborted========", 120),
        (61, "STOP 99901", 101),
        (0, "clBuildProgram: Error: CL_BUILD_PROGRAM_FAILURE", 113),
        (0, " ----> Fatal error in routine X: y\nFinal data stored in file", 144),
        (-11, "   returned by routine readDatasetStringArray:Source", 143),
    ],
)
def test_other_ends_get_theirs(code: int, output: str, number: int) -> None:
    with pytest.raises(EngineFailure) as caught:
        judge("EMEBSDmaster", ended(code, output))
    assert caught.value.code == number


def test_the_end_of_emmc_is_known_by_its_last_line() -> None:
    """As the source of EMsoft 5.0 prints it; it tells no time."""
    whole = (
        " All threads complete; saving data to file montecarlo.h5\n"
        " Total number of electrons generated =         4000000\n"
        " Number of electrons on detector       =         2412000\n"
    )
    judge("EMMC", ended(0, whole))
    with pytest.raises(EngineFailure) as caught:
        judge("EMMC", ended(0, " Completed electron #   1000000; BSE hits =    603000\n"))
    assert caught.value.code == 160


def test_a_warning_does_not_make_a_finished_program_fail() -> None:
    missing = "Error in json_parse_file: Error opening file: /home/x/.config/EMsoftConfig.json\n"
    assert recognise(missing) is None
    fatal = missing.replace("/x/", "/ada lovelace/") + "Fatal error in routine X: y\n"
    found = recognise(fatal)
    assert found is not None and found[0].code == 144
    warned = "Monte Carlo input file does not exist\nFinal data stored in file x.h5\n"
    judge("EMEBSDmaster", ended(0, warned))
    with pytest.raises(EngineFailure):
        judge("EMEBSDmaster", ended(0, warned.split("\n")[0]))


def cell_of(crystal: Crystal, weight: float) -> str:
    """What EMsoft prints of a crystal of one element of that weight."""
    density = crystal.density * weight / crystal.mean_atomic_weight
    return (
        f" Total number of atoms in the unit cell : {crystal.n_atoms:11d}\n"
        f"Density, avZ, avA = {density:9.5f} {crystal.mean_atomic_number:9.5f},{weight:10.5f}\n"
    )


@pytest.mark.parametrize(
    ("element", "weight"), [("Tc", 98.9062), ("Bk", 251.0), ("Cf", 252.0), ("Ni", 58.6934)]
)
def test_the_density_is_that_of_emsofts_own_weights(element: str, weight: float) -> None:
    crystal = Crystal(
        *("x", (0.27, 0.27, 0.44, 90, 90, 120), 194, hall_number_for(194)),
        (Site(element, (1 / 3, 2 / 3, 0.25), 1, 0.004),),
    )
    check_cell(cell_of(crystal, weight), crystal)
    for other in (0.99, 1.01):
        with pytest.raises(EngineFailure, match="density") as caught:
            check_cell(cell_of(crystal, other * weight), crystal)
        assert caught.value.code == 123


def test_a_number_that_was_cut_off_with_its_program_is_not_compared() -> None:
    crystal = Crystal(
        *("Ni", (0.3524, 0.3524, 0.3524, 90, 90, 90), 225, hall_number_for(225)),
        (Site("Ni", (0, 0, 0), 1, 0.0035),),
    )
    printed = cell_of(crystal, 58.6934)
    for length in range(len(printed)):
        check_cell(printed[:length], crystal)
    with pytest.raises(EngineFailure, match="counts 4 atoms"):
        check_cell(printed, replace(crystal, space_group=221, hall_number=hall_number_for(221)))


def test_a_number_has_one_meaning_and_is_documented() -> None:
    assert len({kind.code for kind in KINDS}) == len({kind.name for kind in KINDS}) == len(KINDS)
    assert all(kind.rule in Rule and kind.text for kind in KINDS)
    page = (Path(__file__).parents[3] / "docs" / "explanation" / "failure_codes.md").read_text()
    for kind in KINDS:
        assert re.search(rf"^\| {kind.code} \| {re.escape(kind.name)} \|", page, re.M), kind
        assert str(kind.rule).split(";")[0].split(":")[0] in page
    assert kind_of(150).state == "timed_out"
    assert set(SUCCESS) == {"EMMCOpenCL", "EMMC", "EMEBSDmaster", "EMEBSD"}
    assert recognise("all is well") is None
