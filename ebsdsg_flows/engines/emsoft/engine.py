"""EMsoft as an engine: crystal file, Monte Carlo, master pattern, each supervised and checked.

A simulation has one folder below the data root, every attempt its own below that (:mod:`.attempt`);
what is done there, and what is kept of it, is in :mod:`.stages`.
"""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from uuid import uuid4

from ebsdsg_flows.engines.base import Control, Engine, EngineFailure, EngineResult, Progress
from ebsdsg_flows.engines.emsoft.attempt import Attempt
from ebsdsg_flows.engines.emsoft.broken_file import naming_refusals
from ebsdsg_flows.engines.emsoft.configuration import Installation, RunFolder, threads_of
from ebsdsg_flows.engines.emsoft.failures import CONFIGURATION
from ebsdsg_flows.engines.emsoft.namelist import LARGEST_INTEGER
from ebsdsg_flows.engines.emsoft.refusals import check_bins, check_simulable
from ebsdsg_flows.engines.emsoft.stages import (
    make_crystal_file,
    make_master_pattern,
    make_monte_carlo,
)

if TYPE_CHECKING:
    from ebsdsg_sim.parameters import SimulationParameters

EMSOFT_VERSION = "5.0.4"

log = logging.getLogger(__name__)


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
        if self.monte_carlo == "cpu" and parameters.n_electrons > LARGEST_INTEGER:
            raise ValueError(
                f"n_electrons = {parameters.n_electrons}: EMMC counts to {LARGEST_INTEGER}; write "
                "fewer, or use monte_carlo: opencl"
            )
        check_bins(parameters)
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

    @property
    def keeps_monte_carlo(self) -> bool:
        """A Monte Carlo is kept below the data root for all simulations of its crystal."""
        return True

    def compute_monte_carlo(
        self,
        crystal: dict[str, Any],
        parameters: SimulationParameters,
        path: Path,
        progress: Progress,
        control: Control | None = None,
    ) -> dict[str, Any]:
        """See :meth:`ebsdsg_flows.engines.base.Engine.compute_monte_carlo`."""
        with naming_refusals():
            attempt = self._attempt(crystal, parameters, path, progress, control)
            make_crystal_file(attempt)
            make_monte_carlo(attempt)
        shutil.rmtree(attempt.run.data, ignore_errors=True)
        return {"stage_seconds": attempt.stage_seconds, "cpu_seconds": attempt.cpu_seconds}

    def simulate(
        self,
        crystal: dict[str, Any],
        parameters: SimulationParameters,
        path: Path,
        progress: Progress,
        control: Control | None = None,
    ) -> EngineResult:
        """See :meth:`ebsdsg_flows.engines.base.Engine.simulate`."""
        with naming_refusals():
            return _compute(self._attempt(crystal, parameters, path, progress, control), path)

    def _attempt(
        self,
        crystal: dict[str, Any],
        parameters: SimulationParameters,
        path: Path,
        progress: Progress,
        control: Control | None,
    ) -> Attempt:
        """An attempt in a folder of its own, if the engine can do what is asked."""
        from ebsdsg_flows.settings import get_settings
        from ebsdsg_sim.crystal import Crystal

        settings = get_settings()
        try:
            self.check(parameters)
        except ValueError as error:
            raise CONFIGURATION.failure(str(error)) from None
        built = Crystal.from_dict(crystal)
        check_simulable(built)
        folder = settings.root / "emsoft" / "simulations" / path.stem[:2] / path.stem
        stamp = time.strftime("%Y%m%dT%H%M%S")
        return Attempt(
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


def _compute(attempt: Attempt, path: Path) -> EngineResult:
    """All stages; the finished file under its name."""
    from ebsdsg_flows.engines.emsoft.result_file import check_master

    if path.is_file():
        # a worker that died here had only to say that it was finished
        try:
            check_master(path, attempt.crystal, attempt.parameters)
        except EngineFailure as failure:
            log.warning("%s is damaged and will be replaced: %s", path, failure)
        else:
            return _result(attempt, path)
    make_crystal_file(attempt)
    histograms = make_monte_carlo(attempt)
    master = make_master_pattern(attempt, histograms)
    check_master(master, attempt.crystal, attempt.parameters)
    _install(master, path)
    result = _result(attempt, path)
    _clean_up(attempt)
    return result


def _result(attempt: Attempt, path: Path) -> EngineResult:
    """What is said of a finished file."""
    import hashlib

    from ebsdsg_flows.engines.emsoft.progress import beams_in
    from ebsdsg_sim.hdf5 import read_master_pattern

    pattern = read_master_pattern(path)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    logs = "\n".join(
        log.read_text(encoding="utf-8", errors="replace")
        for log in sorted(attempt.folder.glob("*/EMEBSDmaster.log"))
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
            "cpu_seconds": round(attempt.cpu_seconds, 3),
            "threads": attempt.threads,
            "gpu": attempt.gpu,
            "mean_strong": strong if None not in strong else [],
            "stage_seconds": attempt.stage_seconds,
            **_restarted(path, len(pattern.energies)),
        },
    )


def _restarted(path: Path, n_energies: int) -> dict[str, Any]:
    """What the record says of a file in which energies were made by restarts; else nothing."""
    from ebsdsg_flows.engines.emsoft.resume import corrected_below

    below = corrected_below(path)
    if not below:
        return {}
    return {
        "resumed_after_energies": n_energies - below,
        "restart": "depth weights corrected",
    }


def _install(made: Path, path: Path) -> None:
    """Give a checked file its final name."""
    from ebsdsg_sim.atomic_file import new_file

    path.parent.mkdir(parents=True, exist_ok=True)
    with new_file(path) as temporary:
        shutil.copyfile(made, temporary)


def _clean_up(attempt: Attempt) -> None:
    """Drop the data of all runs; namelists and logs stay."""
    for folder in attempt.folder.iterdir():
        for part in ("data", "xtal", "tmp"):
            shutil.rmtree(folder / part, ignore_errors=True)
