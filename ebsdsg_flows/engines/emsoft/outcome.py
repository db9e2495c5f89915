"""What a program's end really was: the success line and the file's content decide.

EMsoft's exit codes do not tell: its fatal errors end with 0, and so do runs that left a broken
file.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ebsdsg_flows.engines.emsoft.failures import (
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
    WRONG_FILE,
    recognise,
)
from ebsdsg_flows.engines.emsoft.supervise import Ended
from ebsdsg_flows.engines.emsoft.xtal_file import check_xtal
from ebsdsg_sim.crystal import Crystal
from ebsdsg_sim.hdf5 import (
    MasterPatternFileError,
    read_master_pattern,
    read_monte_carlo,
)
from ebsdsg_sim.masterpattern import MasterPattern
from ebsdsg_sim.montecarlo import MonteCarlo
from ebsdsg_sim.parameters import SimulationParameters

SUCCESS = {
    "EMMCOpenCL": r"Total execution time \[s\]",
    "EMMC": r"Total execution time \[s\]|Execution time \[s\]",
    "EMEBSDmaster": r"Final data stored in file",
    "EMEBSD": r"Completed cycle",
}
"""What each program prints when it has finished."""

DAMAGING = (DISK_FULL, FORTRAN, HDF5, FATAL, CRASHED)
"""What may have broken the file although the program says that it finished; all else that a
finished program mentions is a warning."""

_SAME = (
    *("voltage", "energy_min", "energy_step", "depth_max", "depth_step", "sample_tilt"),
    *("mc_pixels", "n_electrons"),
)


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
    if code == -9:
        kind = OUT_OF_MEMORY if _memory_killer_struck() else KILLED
        raise kind.failure(f"{program} was killed by SIGKILL", log_tail=tail, exit_code=code)
    if code in (-15, -2, -1, -24):
        raise KILLED.failure(f"{program}, by signal {-code}", log_tail=tail, exit_code=code)
    if code < 0:
        raise CRASHED.failure(f"{program}, by signal {-code}", log_tail=tail, exit_code=code)
    raise NO_SUCCESS_LINE.failure(f"{program}, exit code {code}", log_tail=tail, exit_code=code)


def check_cell(output: str, crystal: Crystal) -> None:
    """Compare the atoms and the density that EMsoft counted with the crystal's.

    Parameters
    ----------
    output : of EMMCOpenCL or EMEBSDmaster.
    crystal : what was simulated.

    Raises
    ------
    EngineFailure
        If EMsoft built another cell, for example with the other origin.
    """
    atoms = re.search(r"Total number of atoms in the unit cell :\s+(\d+)", output)
    if atoms and int(atoms[1]) != crystal.n_atoms:
        raise CRYSTAL_DIFFERS.failure(
            f"EMsoft counts {atoms[1]} atoms in the cell of {crystal.name}, not {crystal.n_atoms}"
        )
    density = re.search(r"Density, avZ, avA =\s+([\d.]+)", output)
    if density and abs(float(density[1]) / crystal.density - 1) > 0.005:
        raise CRYSTAL_DIFFERS.failure(
            f"EMsoft finds a density of {density[1]} g/cm3 for {crystal.name}, "
            f"not {crystal.density:.4f}"
        )


def check_monte_carlo(path: Path, crystal: Crystal, parameters: SimulationParameters) -> MonteCarlo:
    """Read a Monte Carlo file and compare it with what was asked.

    Parameters
    ----------
    path : the file.
    crystal, parameters : what it should be of.

    Raises
    ------
    EngineFailure
        If the file is broken, of something else, or holds no electrons.
    """
    check_xtal(path, crystal)
    try:
        monte_carlo, _, found = read_monte_carlo(path)
    except MasterPatternFileError as error:
        raise WRONG_FILE.failure(str(error)) from None
    check_parameters(path, found, parameters, master=False)
    side = parameters.mc_pixels
    if monte_carlo.accum_e.shape != (len(parameters.energies), side, side):
        raise WRONG_FILE.failure(f"{path.name}: accum_e has shape {monte_carlo.accum_e.shape}")
    if (monte_carlo.accum_e < 0).any() or (monte_carlo.accum_z < 0).any():
        raise WRONG_FILE.failure(f"{path.name}: negative electron counts")
    counted = int(monte_carlo.accum_e.sum())
    if not 0 < counted <= monte_carlo.n_simulated or not monte_carlo.accum_z.any():
        raise WRONG_FILE.failure(
            f"{path.name}: {counted} electrons came back of {monte_carlo.n_simulated}"
        )
    return monte_carlo


def check_master(path: Path, crystal: Crystal, parameters: SimulationParameters) -> MasterPattern:
    """Read a finished master-pattern file and compare it with what was asked.

    Parameters
    ----------
    path : the file.
    crystal, parameters : what it should be of.

    Raises
    ------
    EngineFailure
        If an energy is missing, a shape is wrong, a value is not finite or negative, a map is
        constant although electrons came back with its energy, or it is of something else.
    """
    check_xtal(path, crystal)
    try:
        pattern = read_master_pattern(path)
    except MasterPatternFileError as error:
        raise WRONG_FILE.failure(str(error)) from None
    check_parameters(path, pattern.parameters, parameters, master=True)
    check_maps(path, pattern, first=0)
    return pattern


def check_maps(path: Path, pattern: MasterPattern, first: int) -> None:
    """Check the finished maps of a file.

    Parameters
    ----------
    path : named in the message.
    pattern : its content.
    first : index of the lowest finished energy.

    Raises
    ------
    EngineFailure
        See :func:`check_master`.
    """
    electrons = pattern.monte_carlo.accum_z.sum(axis=(1, 2, 3))
    for name, half in (("northern", pattern.north), ("southern", pattern.south)):
        for index in range(first, len(pattern.energies)):
            maps = half[:, index]
            label = f"{path.name}: {name} map of {pattern.energies[index]:g} keV"
            if not np.isfinite(maps).all():
                raise WRONG_FILE.failure(f"{label} holds values that are not finite")
            if (maps < 0).any():
                raise WRONG_FILE.failure(f"{label} holds negative intensities")
            total = maps.sum(axis=0)
            # an energy without electrons is empty, as those of heavy elements at 10 keV
            if electrons[index] > 0 and not np.ptp(total) > 1e-6 * abs(total).max():
                what = "zero" if not total.any() else "the same value"
                raise WRONG_FILE.failure(f"{label} is {what} everywhere")


def check_parameters(
    path: Path, found: SimulationParameters, asked: SimulationParameters, *, master: bool
) -> None:
    """Compare a file's parameters with those asked for.

    Parameters
    ----------
    path : named in the message.
    found, asked : parameters.
    master : also those of the master pattern.

    Raises
    ------
    EngineFailure
        If one differs.
    """
    for name in (*_SAME, "npx", "dmin", "bethe") if master else _SAME:
        there, wanted = np.asarray(getattr(found, name)), np.asarray(getattr(asked, name))
        if there.shape != wanted.shape or not np.allclose(there, wanted, rtol=1e-6, atol=0):
            raise WRONG_FILE.failure(
                f"{path.name}: {name} is {getattr(found, name)} instead of {getattr(asked, name)}"
            )


def _memory_killer_struck() -> bool:
    """Whether this control group has seen the kernel's out-of-memory killer."""
    try:
        events = Path("/sys/fs/cgroup/memory.events").read_text()
    except OSError:
        return False
    found = re.search(r"^oom_kill (\d+)", events, re.M)
    return found is not None and int(found[1]) > 0
