"""What a program's end really was: the success line and the file's content decide.

EMsoft's exit codes do not tell: its fatal errors end with 0, and so do runs that left a broken
file.
"""

from __future__ import annotations

import re
from pathlib import Path

from ebsdsg_flows.engines.base import EngineFailure
from ebsdsg_flows.engines.emsoft.failures import (
    CONFIGURATION,
    CRASHED,
    CRYSTAL_DIFFERS,
    DISK_FULL,
    FATAL,
    FORTRAN,
    HDF5,
    HUNG,
    KILLED,
    MISSING_PROGRAM,
    NO_SUCCESS_LINE,
    OUT_OF_MEMORY,
    QUEUE_ENDED,
    TIME_OUT,
    recognise,
)
from ebsdsg_flows.engines.emsoft.supervise import Ended
from ebsdsg_sim.crystal import Crystal
from ebsdsg_sim.elements import atomic_weight

SUCCESS = {
    "EMMCOpenCL": r"Total execution time \[s\]",
    "EMMC": r"Number of electrons on detector\s+=",
    "EMEBSDmaster": r"Final data stored in file",
    "EMEBSD": r"Completed cycle",
}
"""What each program prints when it has finished.

EMMC measures no time: its last line, after the file was closed, counts the electrons on the
detector (EMsoft 5.0, ``Source/SEM/EMMC.f90``, end of ``DoMCsimulation``).
"""

WEIGHTS = {"Tc": 98.9062, "Bk": 251.0, "Cf": 252.0}
"""Atomic weights of EMsoft that differ from ours by more than 0.1 %: elements without a stable
isotope (EMsoft 5.0, ``Source/EMsoftLib/constants.f90``, ``ATOM_weights``)."""

DAMAGING = (DISK_FULL, FORTRAN, HDF5, FATAL, CRASHED)
"""What may have broken the file although the program says that it finished; all else that a
finished program mentions is a warning."""


def judge(program: str, ended: Ended) -> None:
    """Raise what went wrong with a program, as far as its end and its output show it.

    Parameters
    ----------
    program : its name.
    ended : how it ended.

    Raises
    ------
    EngineFailure
        Unless it ended by itself, said that it had finished and reported no error.
    """
    detail, tail, code = program, ended.tail, ended.exit_code
    if ended.reason == "walltime":
        detail += f" was ended after {ended.wall_seconds:.0f} s"
        detail += " and had to be killed, it ignored SIGTERM" if ended.killed else ""
        raise TIME_OUT.failure(detail, log_tail=tail, exit_code=code)
    if ended.reason == "stalled":
        detail += f" did nothing any more after {ended.cpu_seconds:.1f} s of processor time"
        raise HUNG.failure(detail, log_tail=tail, exit_code=code)
    if ended.reason == "asked to leave":
        raise QUEUE_ENDED.failure(f"{detail} was ended", log_tail=tail, exit_code=code)
    finished = re.search(SUCCESS[program], ended.output) is not None
    found = recognise(ended.output)
    if found and (not finished or found[0] in DAMAGING):
        kind, line = found
        raise kind.failure(f"{program}: {line}", log_tail=tail, exit_code=code)
    if finished:
        return
    if code == 127 and "cannot run" in ended.output:
        raise MISSING_PROGRAM.failure(ended.output.strip(), exit_code=code)
    if code < 0:
        raise ended_by_signal(program, code, tail)
    raise NO_SUCCESS_LINE.failure(f"{program}, exit code {code}", log_tail=tail, exit_code=code)


def ended_by_signal(program: str, code: int, tail: str) -> EngineFailure:
    """What a signal that ended a program means.

    Parameters
    ----------
    program : its name.
    code : the signal's number, negative.
    tail : end of its output.
    """
    if code == -9:
        kind = OUT_OF_MEMORY if _memory_killer_struck() else KILLED
        return kind.failure(f"{program} was killed by SIGKILL", log_tail=tail, exit_code=code)
    kind = KILLED if code in (-15, -2, -1, -24) else CRASHED
    return kind.failure(f"{program}, by signal {-code}", log_tail=tail, exit_code=code)


def check_version(program: str, text: str) -> None:
    """Refuse another EMsoft than 5.0, by what a program prints of itself.

    Parameters
    ----------
    program : its name.
    text : any part of its output; what does not name a version is let through.

    Raises
    ------
    EngineFailure
        If it is another version, whose numbers and files nobody has compared with these.
    """
    found = re.search(r"Source code version\s*:\s*(\S+)", text)
    if found and not known_version(found[1]):
        raise CONFIGURATION.failure(
            f"{program} is of EMsoft {found[1]}, this engine knows 5_0_x only; set "
            "EBSDSG_EMSOFT_PATH and EBSDSG_EMSOFT_BIN to an EMsoft 5.0"
        )


def known_version(version: str) -> bool:
    """Whether this engine knows a version that EMsoft writes as ``5_0_4_d50c973``."""
    return re.match(r"5_0_\d", version) is not None


def check_cell(output: str, crystal: Crystal) -> None:
    """Compare the atoms and the density that EMsoft counted with the crystal's.

    Parameters
    ----------
    output : of EMMCOpenCL or EMEBSDmaster, whole or cut off anywhere.
    crystal : what was simulated.

    Raises
    ------
    EngineFailure
        If EMsoft built another cell, for example with the other origin.
    """
    atoms = re.search(r"Total number of atoms in the unit cell :\s+(\d+)\s", output)
    if atoms and int(atoms[1]) != crystal.n_atoms:
        raise CRYSTAL_DIFFERS.failure(
            f"EMsoft counts {atoms[1]} atoms in the cell of {crystal.name}, not {crystal.n_atoms}"
        )
    density = re.search(r"Density, avZ, avA =\s+([\d.]+)\s", output)
    expected = _density(crystal)
    if density and abs(float(density[1]) / expected - 1) > 0.005:
        raise CRYSTAL_DIFFERS.failure(
            f"EMsoft finds a density of {density[1]} g/cm3 for {crystal.name}, not {expected:.4f}"
        )


def _density(crystal: Crystal) -> float:
    """Density [g/cm^3] with EMsoft's atomic weights."""
    sites = list(zip(crystal.multiplicities, crystal.sites, strict=True))
    heavier = sum(
        n * site.occupancy * (WEIGHTS[site.element] - atomic_weight(site.element))
        for n, site in sites
        if site.element in WEIGHTS
    )
    return crystal.density * (1 + heavier / crystal.mass)


def _memory_killer_struck() -> bool:
    """Whether this control group has seen the kernel's out-of-memory killer."""
    try:
        events = Path("/sys/fs/cgroup/memory.events").read_text()
    except OSError:
        return False
    found = re.search(r"^oom_kill (\d+)", events, re.M)
    return found is not None and int(found[1]) > 0
