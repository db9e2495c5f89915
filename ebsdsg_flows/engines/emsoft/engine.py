"""EMsoft as an engine: crystal file, Monte Carlo, master pattern, each supervised and checked.

A simulation has one folder below the data root; every run of it has its own below that.  What a run
finished and what was checked is never computed again: a Monte Carlo is kept for all simulations of
the crystal, an unfinished master pattern is continued from a verified copy.
"""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from uuid import uuid4

from ebsdsg_flows.engines.base import Control, Engine, EngineFailure, EngineResult, Progress
from ebsdsg_flows.engines.emsoft.configuration import Installation, RunFolder, threads_of
from ebsdsg_flows.engines.emsoft.failures import (
    CONFIGURATION,
    DISK_FULL,
    HDF5,
    INEXPRESSIBLE,
    QUEUE_ENDED,
)

if TYPE_CHECKING:
    from ebsdsg_flows.engines.emsoft.supervise import Ended, Reason
    from ebsdsg_flows.settings import Settings
    from ebsdsg_sim.crystal import Crystal
    from ebsdsg_sim.montecarlo import MonteCarlo
    from ebsdsg_sim.parameters import SimulationParameters

EMSOFT_VERSION = "5.0.4"
SPARE_BYTES = 50e6
QUEUE_MARGIN = 60.0
"""Seconds before the queue's end at which a stage is ended."""


@dataclass
class EMsoftEngine(Engine):
    """Master patterns by EMsoft's programs.

    Parameters
    ----------
    crystal_file : ``dialogue`` lets EMmkxtal make the crystal file, ``direct`` writes it.
    monte_carlo : ``opencl`` uses EMMCOpenCL on a GPU, ``cpu`` uses EMMC, whose statistics are its
        own (Ni at 20 keV and 70 degrees: backscatter yield 0.603 instead of 0.569): its results are
        other simulations.
    """

    name: ClassVar[str] = "emsoft"
    version: ClassVar[str] = EMSOFT_VERSION

    crystal_file: Literal["dialogue", "direct"] = "dialogue"
    monte_carlo: Literal["opencl", "cpu"] = "opencl"

    def __post_init__(self) -> None:
        for option, known in (
            ("crystal_file", ("dialogue", "direct")),
            ("monte_carlo", ("opencl", "cpu")),
        ):
            if getattr(self, option) not in known:
                raise ValueError(
                    f"{option} = {getattr(self, option)!r}: must be one of {', '.join(known)}"
                )

    @property
    def physics_version(self) -> str:
        """EMsoft's version; the Monte Carlo program is named if it is not the usual one."""
        return self.version if self.monte_carlo == "opencl" else f"{self.version} EMMC"

    def check(self, parameters: SimulationParameters) -> None:
        """Refuse parameters that EMsoft does not have.

        Raises
        ------
        ValueError
            If a parameter asks for what EMsoft cannot do.
        """
        from ebsdsg_sim.emsoft_layout import EMSOFT_SCATTERINGS

        if self.monte_carlo == "opencl" and parameters.max_scatterings != EMSOFT_SCATTERINGS:
            raise ValueError(
                f"max_scatterings = {parameters.max_scatterings}: EMMCOpenCL stops every electron "
                f"after {EMSOFT_SCATTERINGS} scatterings; write max_scatterings: 300"
            )
        for name in ("absorption_length", "thickness"):
            if getattr(parameters, name) != "emsoft":
                raise ValueError(
                    f"{name} = {getattr(parameters, name)!r}: EMsoft has only 'emsoft'"
                )

    def resources(self) -> tuple[int, str | None]:
        """See :meth:`ebsdsg_flows.engines.base.Engine.resources`."""
        from ebsdsg_flows.settings import get_settings

        settings = get_settings()
        gpu = f"OpenCL {settings.emsoft_platform}/{settings.emsoft_device}"
        return threads_of(settings), gpu if self.monte_carlo == "opencl" else None

    def simulate(
        self,
        crystal: dict[str, Any],
        parameters: SimulationParameters,
        path: Path,
        progress: Progress,
        control: Control | None = None,
    ) -> EngineResult:
        """See :meth:`ebsdsg_flows.engines.base.Engine.simulate`."""
        from ebsdsg_flows.engines.emsoft.crystal_file import rhombohedral
        from ebsdsg_flows.settings import get_settings
        from ebsdsg_sim.crystal import Crystal

        settings = get_settings()
        try:
            self.check(parameters)
        except ValueError as error:
            raise CONFIGURATION.failure(str(error)) from None
        built = Crystal.from_dict(crystal)
        if rhombohedral(built):
            # EMEBSDmaster refuses such a cell, long after EMmkxtal and the Monte Carlo took it
            raise INEXPRESSIBLE.failure(f"{built.name} is on rhombohedral axes; use hexagonal ones")
        folder = settings.root / "emsoft" / "simulations" / path.stem[:2] / path.stem
        stamp = time.strftime("%Y%m%dT%H%M%S")
        attempt = _Attempt(
            engine=self,
            settings=settings,
            installation=Installation.find(settings),
            crystal=built,
            parameters=parameters,
            folder=folder,
            run=RunFolder.make(folder / f"{stamp}-{uuid4().hex[:8]}"),
            progress=progress,
            control=control or Control(),
        )
        return attempt.compute(path)


@dataclass
class _Attempt:
    """One attempt at one simulation."""

    engine: EMsoftEngine
    settings: Settings
    installation: Installation
    crystal: Crystal
    parameters: SimulationParameters
    folder: Path
    run: RunFolder
    progress: Progress
    control: Control
    cpu_seconds: float = 0.0
    gpu: str | None = None
    stages: dict[str, float] = field(default_factory=dict)

    @property
    def threads(self) -> int:
        return self.control.threads or threads_of(self.settings)

    @property
    def xtal(self) -> str:
        """Name of the crystal file; EMsoft stores it, and readers take the phase's name from it."""
        kept = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in self.name)
        return f"{kept[:60]}.xtal"

    @property
    def name(self) -> str:
        return self.crystal.name or "crystal"

    @property
    def source(self) -> str:
        printable = "".join(c if c.isascii() and c.isprintable() else "?" for c in self.name)
        return f"{printable[:400]} by ebsdsg"

    def compute(self, path: Path) -> EngineResult:
        """All stages; the finished file under its name."""
        from ebsdsg_flows.engines.emsoft.outcome import check_master

        if path.is_file():
            # a worker that died here had only to say that it was finished
            check_master(path, self.crystal, self.parameters)
            return self._result(path)
        self.make_crystal_file()
        histograms = self.make_monte_carlo()
        master, resumed = self.make_master_pattern(histograms)
        check_master(master, self.crystal, self.parameters)
        _install(master, path)
        result = self._result(path, **resumed)
        self._clean_up()
        return result

    def _result(self, path: Path, **resumed: Any) -> EngineResult:
        """What is said of a finished file."""
        import hashlib

        from ebsdsg_flows.engines.emsoft.progress import beams_in
        from ebsdsg_sim.hdf5 import read_master_pattern

        pattern = read_master_pattern(path)
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        logs = "\n".join(
            log.read_text(encoding="utf-8", errors="replace")
            for log in sorted(self.folder.glob("*/EMEBSDmaster.log"))
        )
        beams = beams_in(logs)
        strong = [beams.get(round(float(e), 2)) for e in pattern.energies]
        return EngineResult(
            path,
            sha256,
            path.stat().st_size,
            {
                "engine": "EMsoft",
                "engine_version": str(pattern.provenance.get("version", "")),
                "cpu_seconds": round(self.cpu_seconds, 3),
                "threads": self.threads,
                "gpu": self.gpu,
                "mean_strong": strong if None not in strong else [],
                "stage_seconds": self.stages,
                **resumed,
            },
        )

    def make_crystal_file(self) -> None:
        """Stage 1: the crystal file of this run."""
        from ebsdsg_flows.engines.emsoft.xtal_file import check_xtal, make_xtal, write_xtal

        path = self.run.crystals / self.xtal
        with self._stage("crystal file", "EMmkxtal"):
            self.progress("crystal file", 0, 1)
            if self.engine.crystal_file == "direct":
                write_xtal(path, self.crystal, self.source)
                check_xtal(path, self.crystal, self.source)
                return
            program = self.installation.program("EMmkxtal")
            environment = self.run.environment(self.installation)
            screen = make_xtal(path, self.crystal, self.source, [program], environment=environment)
            (self.run.path / "EMmkxtal.log").write_text(screen, encoding="utf-8")

    def make_monte_carlo(self) -> Path:
        """Stage 2: the Monte Carlo of this crystal, kept for all its simulations."""
        from ebsdsg_flows.engines.emsoft.monte_carlo import keep, monte_carlo_key
        from ebsdsg_flows.engines.emsoft.namelists import CpuMonteCarloNamelist, MonteCarloNamelist
        from ebsdsg_flows.engines.emsoft.outcome import check_cell, check_monte_carlo

        program = "EMMCOpenCL" if self.engine.monte_carlo == "opencl" else "EMMC"
        key = monte_carlo_key(self.crystal, self.parameters, program)
        kept = self.settings.root / "emsoft" / "montecarlo" / key[:2] / f"{key}.h5"
        if kept.is_file():
            return kept
        with self._stage("monte carlo", program):
            self.progress("monte carlo", 0, 1)
            namelist: MonteCarloNamelist | CpuMonteCarloNamelist
            if program == "EMMCOpenCL":
                self.gpu = self._check_gpu()
                namelist = MonteCarloNamelist.of(
                    self.parameters,
                    self.xtal,
                    "montecarlo.h5",
                    self.settings.emsoft_platform,
                    self.settings.emsoft_device,
                )
            else:
                namelist = CpuMonteCarloNamelist.of(
                    self.parameters, self.xtal, "montecarlo.h5", self.threads
                )
            namelist.write(self.run.path / f"{program}.nml")
            made = self.run.data / "montecarlo.h5"
            output = self._run(program, ("monte carlo", 0, 1))
            check_cell(output, self.crystal)
            check_monte_carlo(made, self.crystal, self.parameters)
            keep(made, kept)
            made.unlink()
        return kept

    def make_master_pattern(self, kept: Path) -> tuple[Path, dict[str, Any]]:
        """Stage 3: the master pattern, continued where an earlier run left it."""
        from ebsdsg_flows.engines.emsoft.monte_carlo import hand_out
        from ebsdsg_flows.engines.emsoft.outcome import check_cell, check_monte_carlo
        from ebsdsg_flows.engines.emsoft.resume import settle

        n = len(self.parameters.energies)
        master = self.run.data / "master.h5"
        with self._stage("master pattern", "EMEBSDmaster"):
            self._check_space(kept)
            hand_out(kept, master, self.crystal, self.source, self.xtal)
            original = check_monte_carlo(master, self.crystal, self.parameters)
            lowest = self._continue(master, original)
            resumed: dict[str, Any] = {}
            if lowest is not None:
                done = n - lowest
                resumed = {"resumed_after_energies": done, "restart": "depth weights corrected"}
                self.progress("energies", done, n)
            if lowest != 0:
                done = 0 if lowest is None else n - lowest
                self._write_master_namelists(restart=lowest is not None)
                output = self._run("EMEBSDmaster", ("energies", done, n))
                check_cell(output, self.crystal)
                settle(master, original)
            self.progress("energies", n, n)
        return master, resumed

    def _continue(self, master: Path, original: MonteCarlo) -> int | None:
        """Replace the fresh file by a copy of the best unfinished one; index of its last energy."""
        from ebsdsg_flows.engines.emsoft.resume import best_unfinished, copy_for_restart

        earlier = [path for path in sorted(self.folder.glob("*/data/master.h5")) if path != master]
        best = best_unfinished(earlier, self.crystal, self.parameters)
        if best is None:
            return None
        copy = master.with_name("restart.h5")
        lowest = copy_for_restart(best, copy, original, self.crystal, self.parameters)
        copy.replace(master)
        return lowest

    def _write_master_namelists(self, *, restart: bool) -> None:
        from ebsdsg_flows.engines.emsoft.namelists import BetheNamelist, MasterNamelist

        BetheNamelist.of(self.parameters).write(self.run.path / "BetheParameters.nml")
        MasterNamelist.of(
            self.parameters, "master.h5", "BetheParameters.nml", self.threads, restart=restart
        ).write(self.run.path / "EMEBSDmaster.nml")

    def _check_gpu(self) -> str:
        from ebsdsg_flows.engines.emsoft.opencl import check_device, probe

        settings = self.settings
        return check_device(probe(), settings.emsoft_platform, settings.emsoft_device)

    def _run(self, program: str, at: tuple[str, int, int]) -> str:
        """Run a program in this run's folder; its output, if all is well with it."""
        from ebsdsg_flows.engines.emsoft.outcome import judge
        from ebsdsg_flows.engines.emsoft.progress import MasterProgress
        from ebsdsg_flows.engines.emsoft.supervise import Limits, run_program

        stage, done, total = at
        energies = MasterProgress(total, done)

        def on_line(line: str) -> None:
            if stage == "energies" and energies.feed(line):
                self.progress(stage, energies.energies_done, total)
                if energies.seconds_left is not None:
                    self.control.time_left(energies.seconds_left)

        def before_end(reason: Reason) -> None:
            if reason == "asked to leave":
                self.control.ending(QUEUE_ENDED.failure(f"{program} is being ended"))

        ended = run_program(
            [self.installation.program(program), f"{program}.nml"],
            folder=self.run.path,
            environment=self.run.environment(self.installation, self.threads),
            log=self.run.path / f"{program}.log",
            limits=Limits(self._walltime(), self.settings.emsoft_stall, self.settings.emsoft_grace),
            on_line=on_line,
            on_poll=lambda: self.progress(stage, energies.energies_done, total),
            before_end=before_end,
        )
        self.cpu_seconds += ended.cpu_seconds
        try:
            judge(program, ended)
        except EngineFailure as failure:
            raise self._full_disk(failure, ended) from None
        return ended.output

    def _walltime(self) -> float:
        """Seconds for one stage: the limit, or what the queue still gives."""
        limit = self.control.walltime or self.settings.emsoft_walltime * 3600
        end = os.environ.get("SLURM_JOB_END_TIME", "")
        if end.isdigit():
            left = int(end) - time.time() - QUEUE_MARGIN - self.settings.emsoft_grace
            limit = max(1.0, min(limit, left))
        return limit

    def _check_space(self, kept: Path) -> None:
        """Refuse to begin what the disk cannot hold."""
        p = self.parameters
        side, sites, n = 2 * p.npx + 1, len(self.crystal.sites), len(p.energies)
        need = 8 * n * side * side * (sites + 1) + 12 * n * p.mc_pixels**2 + SPARE_BYTES
        free = shutil.disk_usage(self.run.path).free
        if free < need:
            raise DISK_FULL.failure(
                f"{self.run.path} has {free / 1e9:.2f} GB left, {need / 1e9:.2f} GB are needed"
            )

    def _full_disk(self, failure: EngineFailure, ended: Ended) -> EngineFailure:
        """An HDF5 error on a full disk is called by its cause."""
        if failure.code == HDF5.code and shutil.disk_usage(self.run.path).free < SPARE_BYTES:
            return DISK_FULL.failure(
                failure.message, log_tail=ended.tail, exit_code=failure.exit_code
            )
        return failure

    def _stage(self, stage: str, program: str) -> _Stage:
        return _Stage(self, stage, program)

    def _clean_up(self) -> None:
        """Drop the data of all runs; namelists and logs stay."""
        for folder in self.folder.iterdir():
            for part in ("data", "xtal", "tmp"):
                shutil.rmtree(folder / part, ignore_errors=True)


class _Stage:
    """Tells that a stage begins, and keeps its wall time."""

    def __init__(self, attempt: _Attempt, stage: str, program: str) -> None:
        self._attempt, self._stage, self._program = attempt, stage, program

    def __enter__(self) -> None:
        self._begun = time.monotonic()
        self._attempt.control.stage(self._stage, self._program)

    def __exit__(self, *error: object) -> None:
        seconds = round(time.monotonic() - self._begun, 3)
        self._attempt.stages[self._stage] = seconds


def _install(made: Path, path: Path) -> None:
    """Give a checked file its final name."""
    from ebsdsg_sim.atomic_file import new_file

    path.parent.mkdir(parents=True, exist_ok=True)
    with new_file(path) as temporary:
        shutil.copyfile(made, temporary)
