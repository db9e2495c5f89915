"""What EMsoft's files hold, against what was asked: parameters, crystal, electrons and maps."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from ebsdsg_flows.engines.emsoft.broken_file import reading
from ebsdsg_flows.engines.emsoft.failures import WRONG_FILE
from ebsdsg_flows.engines.emsoft.outcome import known_version
from ebsdsg_flows.engines.emsoft.xtal_file import check_xtal
from ebsdsg_sim.crystal import Crystal
from ebsdsg_sim.emsoft_layout import emmc_threads, text_of
from ebsdsg_sim.hdf5 import read_master_pattern, read_monte_carlo, read_unfinished
from ebsdsg_sim.masterpattern import MasterPattern
from ebsdsg_sim.montecarlo import MonteCarlo
from ebsdsg_sim.parameters import SimulationParameters

MASTER = "EMData/EBSDmaster"
_SAME = (
    *("voltage", "energy_min", "energy_step", "depth_max", "depth_step", "sample_tilt"),
    *("mc_pixels", "n_electrons"),
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
    return check_histograms(path, parameters)


def check_histograms(path: Path, parameters: SimulationParameters) -> MonteCarlo:
    """As :func:`check_monte_carlo`, whatever the Debye-Waller factors of the crystal in the file.

    Parameters
    ----------
    path : the file.
    parameters : what it should be of.

    Raises
    ------
    EngineFailure
        If the file is broken, of other parameters, or holds no electrons.
    """
    with reading(path):
        _check_version(path, "MCOpenCL")
        return _histograms(path, parameters)


def _histograms(path: Path, parameters: SimulationParameters) -> MonteCarlo:
    monte_carlo, _, found = read_monte_carlo(path)
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
    with reading(path):
        pattern = read_master_pattern(path)
        _check_version(path, "EBSDmaster")
        check_parameters(path, pattern.parameters, parameters, master=True)
        check_maps(path, pattern, first=0)
        check_stereographic_maps(path, pattern, first=0)
    return pattern


def lowest_energy(
    path: Path,
    crystal: Crystal,
    parameters: SimulationParameters,
    original: MonteCarlo | None = None,
) -> int:
    """Index of the lowest energy that is finished and good in a file that a run left.

    Parameters
    ----------
    path : the file.
    crystal, parameters : what it should be of.
    original : Monte Carlo with which it must have been made; ``None`` does not look.

    Raises
    ------
    EngineFailure
        If the file is broken, of something else, or none of its energies is finished; and as in
        :func:`check_master` for those that are.

    Notes
    -----
    Directions tell which Monte Carlo it was: a run that continues another changes depths only.
    """
    check_xtal(path, crystal)
    with reading(path):
        pattern, lowest = read_unfinished(path)
        _check_version(path, "EBSDmaster")
        check_parameters(path, pattern.parameters, parameters, master=True)
        if original is not None and not np.array_equal(
            pattern.monte_carlo.accum_e, original.accum_e
        ):
            raise WRONG_FILE.failure(f"{path.name} was made with another Monte Carlo")
        check_maps(path, pattern, first=lowest)
        check_stereographic_maps(path, pattern, first=lowest)
    return lowest


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


def check_stereographic_maps(path: Path, pattern: MasterPattern, first: int) -> None:
    """Check the stereographic maps, which other programs read and a continued run writes to.

    Parameters
    ----------
    path : the file.
    pattern : its other content.
    first : index of the lowest finished energy.

    Raises
    ------
    EngineFailure
        If one is missing or of another shape, or a finished energy is not finite.
    """
    wanted = (len(pattern.energies), *pattern.north.shape[2:])
    with h5py.File(path) as file:
        for name in ("masterSPNH", "masterSPSH"):
            if name not in file[MASTER]:
                raise WRONG_FILE.failure(f"{path.name}: {name} is missing")
            maps = file[MASTER][name][()]
            if maps.shape != wanted:
                raise WRONG_FILE.failure(
                    f"{path.name}: {name} has shape {maps.shape} instead of {wanted}"
                )
            if not np.isfinite(maps[first:]).all():
                raise WRONG_FILE.failure(f"{path.name}: {name} holds values that are not finite")


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
        surplus = there - wanted if name == "n_electrons" else -1
        if 0 <= surplus < _rounding(path):
            continue  # EMMC gives all its threads the same number
        if there.shape != wanted.shape or not np.allclose(there, wanted, rtol=1e-6, atol=0):
            raise WRONG_FILE.failure(
                f"{path.name}: {name} is {getattr(found, name)} instead of {getattr(asked, name)}"
            )


def _check_version(path: Path, stage: str) -> None:
    """Refuse a file of another EMsoft than 5.0."""
    with h5py.File(path) as file:
        version = text_of(file[f"EMheader/{stage}/Version"]).strip()
    if not known_version(version):
        raise WRONG_FILE.failure(
            f"{path.name} was written by EMsoft {version}, this engine knows 5_0_x only"
        )


def _rounding(path: Path) -> int:
    """EMMC runs fewer electrons than this beyond those asked for; 0 for EMMCOpenCL."""
    with h5py.File(path) as file:
        return emmc_threads(file) or 0
