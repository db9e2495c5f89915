"""Master patterns and Monte Carlo histograms in HDF5 files of EMsoft's layout.

What EMsoft wrote and what we wrote are read into the same objects; kikuchipy opens our files as
EMsoft's.  Our files hold one more group, ``ebsdsg``: crystal, parameters, Monte Carlo and
provenance as JSON, exact where the layout rounds.  A file appears under its name only when it is
complete on disk.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import torch

from ebsdsg_sim.crystal import Crystal
from ebsdsg_sim.emsoft_layout import (
    nominal_electrons,
    put,
    read_crystal,
    read_parameters,
    simulated_electrons,
    text_of,
    write_crystal,
    write_header,
    write_namelists,
)
from ebsdsg_sim.hdf5_file import MasterPatternFileError, new_hdf5, open_hdf5
from ebsdsg_sim.lambert import to_stereographic
from ebsdsg_sim.montecarlo import MonteCarlo
from ebsdsg_sim.parameters import SimulationParameters

if TYPE_CHECKING:
    from ebsdsg_sim.masterpattern import MasterPattern

__all__ = [
    "MasterPatternFileError",
    "program_version",
    "read_master_pattern",
    "read_monte_carlo",
    "read_unfinished",
    "write_master_pattern",
    "write_monte_carlo",
]

_MC, _MASTER = "EMData/MCOpenCL", "EMData/EBSDmaster"


def program_version() -> str:
    """Installed version of ebsdsg."""
    try:
        return installed_version("ebsdsg")
    except PackageNotFoundError:
        return "0 (not installed)"


def write_monte_carlo(
    path: str | os.PathLike[str],
    monte_carlo: MonteCarlo,
    crystal: Crystal,
    parameters: SimulationParameters,
) -> None:
    """Write a Monte Carlo file, as EMMCOpenCL leaves it.

    Parameters
    ----------
    path : file to write; replaced if it exists.
    monte_carlo, crystal, parameters : what was simulated, and of what.

    Raises
    ------
    MasterPatternFileError
        If the crystal cannot be expressed in this layout.
    """
    with new_hdf5(Path(path)) as file:
        _write_base(file, monte_carlo, crystal, parameters)


def write_master_pattern(
    path: str | os.PathLike[str],
    master_pattern: MasterPattern,
    *,
    last_energy: int = 0,
    check: Callable[[Path], object] | None = None,
) -> None:
    """Write a master-pattern file.

    Parameters
    ----------
    path : file to write; replaced if it exists.
    master_pattern : the pattern.
    last_energy : index of the lowest energy that is finished; above 0 the file is an unfinished
        one, which :func:`read_master_pattern` refuses and :func:`read_unfinished` takes.
    check : called with the name of the complete file before it gets its final name; an exception
        raised here leaves ``path`` as it was.

    Notes
    -----
    An unfinished file is rewritten after every energy, so it is neither compressed nor does it
    hold the stereographic maps.

    Raises
    ------
    MasterPatternFileError
        If the crystal cannot be expressed in this layout.
    """
    mp = master_pattern
    north, south = (np.asarray(half, dtype=np.float32) for half in (mp.north, mp.south))
    sites = mp.crystal.sites
    counts = [
        s.atomic_number**2 * s.occupancy * m
        for s, m in zip(sites, mp.crystal.multiplicities, strict=True)
    ]
    with new_hdf5(Path(path), check) as file:
        _write_base(file, mp.monte_carlo, mp.crystal, mp.parameters)
        seconds = float(mp.provenance.get("wall_seconds", 0.0))
        write_header(file, "EBSDmaster", "EMEBSDmaster.f90", f"ebsdsg_{program_version()}", seconds)
        group = _data_group(file, _MASTER)
        put(group, "BetheParameters", np.array([*mp.parameters.bethe, 1], dtype=np.float32))
        put(group, "EkeVs", np.asarray(mp.energies, dtype=np.float32))
        put(group, "Z2percent", np.asarray(counts, dtype=np.float32) / (sum(counts) / 100))
        put(group, "lastEnergy", last_energy + 1)
        put(group, "numEbins", len(mp.energies))
        put(group, "numset", north.shape[0])
        put(group, "xtalname", f"{mp.crystal.name}.xtal")
        for name, half in (("NH", north), ("SH", south)):
            if last_energy > 0:
                group.create_dataset(f"mLP{name}", data=half)
                continue
            _put_array(group, f"mLP{name}", half)
            disc = to_stereographic(torch.from_numpy(half.sum(axis=0)))
            _put_array(group, f"masterSP{name}", disc.numpy())
        put(file["ebsdsg"], "provenance", json.dumps(mp.provenance, sort_keys=True))


def read_monte_carlo(
    path: str | os.PathLike[str],
) -> tuple[MonteCarlo, Crystal, SimulationParameters]:
    """Read the Monte Carlo part of a file, ours or EMsoft's.

    Parameters
    ----------
    path : file to read.

    Returns
    -------
    histograms, crystal and parameters.

    Raises
    ------
    MasterPatternFileError
        If the file is missing, broken, or holds no Monte Carlo data.
    """
    with open_hdf5(Path(path)) as file:
        crystal, parameters = _identity(file)
        return _monte_carlo(file, parameters), crystal, parameters


def read_master_pattern(path: str | os.PathLike[str]) -> MasterPattern:
    """Read a complete master-pattern file, ours or EMsoft's.

    Parameters
    ----------
    path : file to read.

    Returns
    -------
    MasterPattern

    Raises
    ------
    MasterPatternFileError
        If the file is missing, broken or unfinished, if an array has the wrong shape, or if an
        intensity is not finite.
    """
    mp, last = read_unfinished(path)
    if last > 0:
        raise MasterPatternFileError(
            f"{path}: unfinished: the {last} lowest of {len(mp.energies)} energies are missing "
            f"(lastEnergy = {last + 1}); simulate it again to finish it"
        )
    return mp


def read_unfinished(path: str | os.PathLike[str]) -> tuple[MasterPattern, int]:
    """Read a master-pattern file whose low energies may be missing.

    Parameters
    ----------
    path : file to read.

    Returns
    -------
    master_pattern : zero below the lowest finished energy.
    last_energy : index of the lowest finished energy; 0 means complete.

    Raises
    ------
    MasterPatternFileError
        As :func:`read_master_pattern`, but for the missing energies.
    """
    from ebsdsg_sim.masterpattern import MasterPattern

    with open_hdf5(Path(path)) as file:
        if _MASTER not in file:
            raise MasterPatternFileError(f"{path}: holds no master pattern (no group {_MASTER})")
        crystal, parameters = _identity(file)
        monte_carlo = _monte_carlo(file, parameters)
        group = file[_MASTER]
        energies = np.round(group["EkeVs"][()].astype(np.float64), 6)
        last = int(group["lastEnergy"][0]) - 1
        if not 0 <= last < len(energies):
            raise MasterPatternFileError(f"{path}: no energy is finished (lastEnergy = {last + 1})")
        side = 2 * parameters.npx + 1
        expected = (int(group["numset"][0]), len(energies), side, side)
        halves = []
        for name in ("mLPNH", "mLPSH"):
            values = group[name][()].astype(np.float32, copy=False)
            if values.shape != expected:
                raise MasterPatternFileError(
                    f"{path}: {name} has shape {values.shape}, but {expected} follows from its "
                    "sites, energies and npx; the file was overwritten with another npx"
                )
            if not np.isfinite(values).all():
                raise MasterPatternFileError(f"{path}: {name} holds values that are not finite")
            halves.append(values)
        if expected[0] not in (1, len(crystal.sites)):
            raise MasterPatternFileError(
                f"{path}: {expected[0]} maps for {len(crystal.sites)} sites of {crystal.name}"
            )
        if "ebsdsg/provenance" in file:
            provenance = json.loads(text_of(file["ebsdsg/provenance"]))
        else:
            header = file["EMheader/EBSDmaster"]
            provenance = {
                "engine": "EMsoft",
                "version": text_of(header["Version"]).strip(),
                "wall_seconds": float(header["Duration"][0]) if "Duration" in header else 0.0,
            }
    mp = MasterPattern(
        north=halves[0],
        south=halves[1],
        energies=energies,
        crystal=crystal,
        parameters=parameters,
        monte_carlo=monte_carlo,
        provenance=provenance,
    )
    return mp, last


def _write_base(
    file: h5py.File,
    monte_carlo: MonteCarlo,
    crystal: Crystal,
    parameters: SimulationParameters,
) -> None:
    """Everything a Monte Carlo file holds."""
    mc = monte_carlo
    write_crystal(file, crystal)
    write_namelists(file, crystal, parameters)
    version = f"ebsdsg_{program_version()}"
    write_header(file, "MCOpenCL", "EMMCOpenCL.f90", version, mc.cpu_seconds)
    group = _data_group(file, _MC)
    multiplier, total = nominal_electrons(mc.n_electrons)
    # Fortran's (E, x, y) and (E, z, x, y) appear in HDF5 with their axes reversed.
    _put_array(group, "accum_e", mc.accum_e.astype(np.int32).transpose(2, 1, 0))
    _put_array(group, "accum_z", mc.accum_z.astype(np.int32).transpose(3, 2, 1, 0))
    put(group, "multiplier", multiplier)
    put(group, "totnum_el", total)
    put(group, "numEbins", mc.accum_z.shape[0])
    put(group, "numzbins", mc.accum_z.shape[1])
    ours = file.create_group("ebsdsg")
    put(ours, "version", program_version())
    put(ours, "crystal", json.dumps(crystal.to_dict(), sort_keys=True))
    put(ours, "parameters", json.dumps(parameters.to_dict(), sort_keys=True))
    facts = {"seed": mc.seed, "n_simulated": mc.n_simulated, "cpu_seconds": mc.cpu_seconds}
    put(ours, "monte_carlo", json.dumps(facts, sort_keys=True))


def _data_group(file: h5py.File, name: str) -> h5py.Group:
    group = file.create_group(name)
    group.attrs.create("HDF_FileVersion", np.array([b"4.0"], dtype="S4"))
    return group


def _put_array(group: h5py.Group, name: str, values: np.ndarray) -> None:
    """Compressed array; master patterns one chunk per map, so that one energy is read alone."""
    chunks: Any = values.shape
    if name.startswith(("mLP", "masterSP")):
        chunks = (1,) * (values.ndim - 2) + values.shape[-2:]
    group.create_dataset(
        name, data=values, chunks=chunks, compression="gzip", compression_opts=1, shuffle=True
    )


def _identity(file: h5py.File) -> tuple[Crystal, SimulationParameters]:
    """Crystal and parameters, exact where we wrote them."""
    if "ebsdsg" not in file:
        return read_crystal(file), read_parameters(file)
    ours = file["ebsdsg"]
    return (
        Crystal.from_dict(json.loads(text_of(ours["crystal"]))),
        SimulationParameters.from_dict(json.loads(text_of(ours["parameters"]))),
    )


def _monte_carlo(file: h5py.File, parameters: SimulationParameters) -> MonteCarlo:
    if _MC not in file:
        raise MasterPatternFileError(f"{file.filename}: no Monte Carlo data (no group {_MC})")
    group = file[_MC]
    facts: dict[str, Any] = {"seed": None, "n_simulated": 0}
    if "ebsdsg" in file:
        facts = json.loads(text_of(file["ebsdsg/monte_carlo"]))
    else:
        facts["n_simulated"] = simulated_electrons(file)
    return MonteCarlo(
        accum_e=np.ascontiguousarray(group["accum_e"][()].transpose(2, 1, 0)),
        accum_z=np.ascontiguousarray(group["accum_z"][()].transpose(3, 2, 1, 0)),
        energies=parameters.energies,
        depth_step=parameters.depth_step,
        n_electrons=int(group["totnum_el"][0]) * int(group["multiplier"][0]),
        sample_tilt=parameters.sample_tilt,
        **facts,
    )
