"""From a crystal and parameters to a checked master-pattern file, through any interruption.

Monte Carlo first, then one energy after the other from the highest down.  What is finished is kept
in ``<path>.partial.h5``, rewritten whole and swapped in after every energy, so a process killed at
any moment loses at most the energy it was computing.  The final file appears under its name only
after it has been read back and checked.
"""

from __future__ import annotations

import fcntl
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from ebsdsg_sim.crystal import Crystal
from ebsdsg_sim.device import usable_device
from ebsdsg_sim.emsoft_layout import nominal_electrons, origin_setting
from ebsdsg_sim.hdf5 import (
    MasterPatternFileError,
    program_version,
    read_master_pattern,
    read_monte_carlo,
    read_unfinished,
    write_master_pattern,
    write_monte_carlo,
)
from ebsdsg_sim.hdf5_file import FileRefusedError
from ebsdsg_sim.masterpattern import MasterPattern, compute_energy
from ebsdsg_sim.montecarlo import MonteCarlo, simulate_monte_carlo
from ebsdsg_sim.parameters import SimulationParameters
from ebsdsg_sim.simulation_report import SimulationReport

__all__ = ["SimulationError", "SimulationReport", "partial_path", "simulate"]

#: Called with (stage, done, total); the stages are "monte carlo" (electrons), "directions" (of the
#: energy being computed) and "energies" (finished and safely on disk).
Progress = Callable[[str, int, int], None]


class SimulationError(RuntimeError):
    """A simulation cannot start, go on or be believed; the message says what to do."""


def partial_path(path: str | os.PathLike[str]) -> Path:
    """Where the unfinished work for ``path`` lives.

    Parameters
    ----------
    path : the final file.
    """
    return Path(f"{os.fspath(path)}.partial.h5")


def simulate(
    crystal: Crystal,
    parameters: SimulationParameters,
    path: str | os.PathLike[str],
    *,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
    monte_carlo: MonteCarlo | None = None,
    memory: int | None = None,
) -> SimulationReport:
    """Simulate a master pattern into a file, or finish, or recognise one that is there.

    Parameters
    ----------
    crystal, parameters : what to simulate; together they are the simulation's identity (the
        crystal's name is not part of it).
    path : file to make.  Unfinished work is kept beside it (:func:`partial_path`) and taken up
        again; a complete file of the same simulation is returned without work.
    device : "cpu" or "cuda".
    progress : called with (stage, done, total), see :data:`Progress`.
    monte_carlo : histograms to use instead of running a Monte Carlo: the same crystal with other
        Debye-Waller factors has the same ones.
    memory : bytes the dynamical calculation may take on the device; half of what is free where not
        given.

    Returns
    -------
    SimulationReport

    Raises
    ------
    SimulationError
        If ``path`` or the unfinished file belongs to another simulation or is broken, the given
        Monte Carlo does not fit, another process is working on the file, or the finished file
        does not pass its checks.
    DeviceError
        If torch cannot compute on the device.
    MonteCarloError, MasterPatternError, MasterPatternFileError
        If the physics or the file layout refuses the crystal.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise SimulationError(f"{path}: the folder {path.parent} does not exist; create it first")
    if path.is_dir():
        raise SimulationError(f"{path} is a folder; name the file to write")
    # What the file cannot express is refused before hours of work, not after.
    origin_setting(crystal)
    nominal_electrons(parameters.n_electrons)
    with _lock(path):
        if path.exists():
            return _complete(path, crystal, parameters)
        work = _Work(crystal, parameters, path, usable_device(device), progress, memory)
        mp = work.run(monte_carlo)
        write_master_pattern(path, mp, check=lambda file: _believe(file, mp))
        partial_path(path).unlink(missing_ok=True)
        return SimulationReport.of(path, mp, resumed=work.resumed)


class _Work:
    """One attempt: what was taken over, what is computed, what it costs."""

    def __init__(
        self,
        crystal: Crystal,
        parameters: SimulationParameters,
        path: Path,
        device: torch.device,
        progress: Progress | None,
        memory: int | None,
    ) -> None:
        self.crystal, self.parameters = crystal, parameters
        self.partial = partial_path(path)
        self.device = device
        self.memory = memory
        self.progress = progress or (lambda stage, done, total: None)
        self.resumed = 0
        self._cpu, self._wall = time.process_time(), time.time()

    def run(self, monte_carlo: MonteCarlo | None) -> MasterPattern:
        mp, finished = self._take_up(monte_carlo)
        n = len(mp.energies)
        self.resumed = n - finished
        self.progress("energies", self.resumed, n)
        for index in range(finished - 1, -1, -1):
            mp.north[:, index], mp.south[:, index], statistics = compute_energy(
                self.crystal,
                self.parameters,
                mp.monte_carlo,
                index,
                device=self.device,
                memory=self.memory,
                progress=lambda done, total: self.progress("directions", done, total),
            )
            mp = self._with_costs(mp, index, asdict(statistics))
            if index > 0:
                write_master_pattern(self.partial, mp, last_energy=index)
            self.progress("energies", n - index, n)
        return mp

    def _take_up(self, monte_carlo: MonteCarlo | None) -> tuple[MasterPattern, int]:
        """The pattern so far and the index of the lowest finished energy (n: none)."""
        n = len(self.parameters.energies)
        if self.partial.exists():
            try:
                mc, crystal, parameters = read_monte_carlo(self.partial)
                _same(self.partial, crystal, parameters, self.crystal, self.parameters)
                try:
                    mp, last = read_unfinished(self.partial)
                except FileRefusedError:
                    raise
                except MasterPatternFileError:
                    return self._empty(mc), n
            except FileRefusedError:
                raise  # what it holds is not known: no reason to start over
            except MasterPatternFileError as error:
                raise SimulationError(
                    f"{error}; delete this unfinished file to start over"
                ) from None
            return replace(mp, crystal=self.crystal), last
        if monte_carlo is None:
            monte_carlo = simulate_monte_carlo(
                self.crystal,
                self.parameters,
                device=self.device,
                progress=lambda done, total: self.progress("monte carlo", done, total),
            )
        _belongs(monte_carlo, self.parameters)
        write_monte_carlo(self.partial, monte_carlo, self.crystal, self.parameters)
        return self._empty(monte_carlo), n

    def _empty(self, monte_carlo: MonteCarlo) -> MasterPattern:
        side = 2 * self.parameters.npx + 1
        shape = (len(self.crystal.sites), len(self.parameters.energies), side, side)
        return MasterPattern(
            north=np.zeros(shape, dtype=np.float32),
            south=np.zeros(shape, dtype=np.float32),
            energies=self.parameters.energies,
            crystal=self.crystal,
            parameters=self.parameters,
            monte_carlo=monte_carlo,
            provenance={
                "engine": "builtin",
                "started": datetime.now(UTC).isoformat(timespec="seconds"),
                "cpu_seconds": 0.0,
                "wall_seconds": 0.0,
                "energies": {},
            },
        )

    def _with_costs(self, mp: MasterPattern, index: int, statistics: dict) -> MasterPattern:
        """The pattern with provenance brought up to now."""
        cpu, wall = time.process_time(), time.time()
        old = mp.provenance
        provenance = {
            **old,
            "version": program_version(),
            "torch": torch.__version__,
            "device": _device_name(self.device),
            "threads": torch.get_num_threads(),
            "host": platform.node(),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "cpu_seconds": old["cpu_seconds"] + cpu - self._cpu,
            "wall_seconds": old["wall_seconds"] + wall - self._wall,
            "energies": {**old["energies"], str(index): statistics},
        }
        self._cpu, self._wall = cpu, wall
        return replace(mp, provenance=provenance)


def _belongs(monte_carlo: MonteCarlo, parameters: SimulationParameters) -> None:
    """Raise unless histograms have the bins, tilt and number of electrons of the parameters."""
    mc, p = monte_carlo, parameters
    for name, found, wanted in (
        ("energies", mc.energies.tolist(), p.energies.tolist()),
        ("depth_step", mc.depth_step, p.depth_step),
        ("depth bins", mc.accum_z.shape[1], p.n_depths),
        ("sample_tilt", mc.sample_tilt, p.sample_tilt),
        ("n_electrons", mc.n_electrons, p.n_electrons),
        ("mc_pixels", mc.accum_e.shape[1], p.mc_pixels),
    ):
        if found != wanted:
            raise SimulationError(
                f"the Monte Carlo given does not belong to these parameters: {name} is {found}, "
                f"not {wanted}"
            )


def _complete(path: Path, crystal: Crystal, parameters: SimulationParameters) -> SimulationReport:
    """Report of a file that is there already."""
    try:
        mp = read_master_pattern(path)
    except FileRefusedError:
        raise
    except MasterPatternFileError as error:
        raise SimulationError(f"{error}; move the file away to simulate into this name") from None
    _same(path, mp.crystal, mp.parameters, crystal, parameters)
    return replace(SimulationReport.of(path, mp, resumed=len(mp.energies)), already_complete=True)


def _same(
    path: Path,
    found_crystal: Crystal,
    found_parameters: SimulationParameters,
    crystal: Crystal,
    parameters: SimulationParameters,
) -> None:
    """Raise unless a file belongs to this simulation; says what differs."""
    found = {**replace(found_crystal, name="").to_dict(), **found_parameters.to_dict()}
    wanted = {**replace(crystal, name="").to_dict(), **parameters.to_dict()}
    different = sorted(key for key in wanted if found[key] != wanted[key])
    if different:
        raise SimulationError(
            f"{path} belongs to another simulation (it differs in {', '.join(different)}): "
            "use another file name, or delete it"
        )


def _believe(file: Path, mp: MasterPattern) -> None:
    """Read a written file back and compare it with what it should hold."""
    back = read_master_pattern(file)
    if not np.array_equal(back.energies, mp.energies):
        raise SimulationError(f"{file}: energies were not written as computed")
    for name, values, wanted in (
        ("north", back.north, mp.north),
        ("south", back.south, mp.south),
    ):
        if not np.array_equal(values, wanted):
            raise SimulationError(f"{file}: {name} was not written as computed; is the disk full?")
        if values.min() < 0:
            raise SimulationError(
                f"{mp.crystal.name}: negative intensities ({values.min():.3g}): the calculation "
                "failed; compute in float64 and report this crystal"
            )
        dark = ~values.any(axis=(0, 2, 3)) & (mp.monte_carlo.energy_histogram > 0)
        if dark.any():
            raise SimulationError(
                f"{mp.crystal.name}: no intensity at {mp.energies[dark]} keV, where electrons are"
            )


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return str(device)


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold a file's lock; the kernel releases it when the process dies, however it dies."""
    name = path.with_name(f".{path.name}.lock")
    while True:
        with name.open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SimulationError(
                    f"{path}: another process is simulating into this file; wait for it"
                ) from None
            # The holder before us may have removed this very file between our two calls.
            if not name.exists() or not os.path.samestat(os.fstat(handle.fileno()), name.stat()):
                continue
            try:
                yield
            finally:
                name.unlink(missing_ok=True)
            return
