"""One attempt at one simulation: its folders, its limits, and how a program is run in it.

Every run of a simulation has a folder of its own below that of the simulation.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ebsdsg_flows.cluster.job import seconds_left
from ebsdsg_flows.engines.base import Control, EngineFailure, Progress
from ebsdsg_flows.engines.emsoft.configuration import Installation, RunFolder, threads_of
from ebsdsg_flows.engines.emsoft.failures import DISK_FULL, HDF5, QUEUE_ENDED

if TYPE_CHECKING:
    from ebsdsg_flows.engines.emsoft.engine import EMsoftEngine
    from ebsdsg_flows.engines.emsoft.supervise import Ended, Reason
    from ebsdsg_flows.settings import Settings
    from ebsdsg_sim.crystal import Crystal
    from ebsdsg_sim.parameters import SimulationParameters

SPARE_BYTES = 50e6
QUEUE_MARGIN = 60.0
"""Seconds before the queue's end at which a stage is ended."""


@dataclass
class Attempt:
    """What all stages of one attempt share.

    Parameters
    ----------
    engine, settings, installation : how EMsoft is to be used, and where it is.
    crystal, parameters : what is computed.
    folder : of the simulation.
    run : of this run of it.
    progress, control : see :meth:`ebsdsg_flows.engines.base.Engine.simulate`.
    cpu_seconds, gpu, stage_seconds : kept for the record.
    """

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
    stage_seconds: dict[str, float] = field(default_factory=dict)

    @property
    def threads(self) -> int:
        """Threads of its programs."""
        return self.control.threads or threads_of(self.settings)

    @property
    def xtal(self) -> str:
        """Name of the crystal file; EMsoft stores it, and readers take the phase's name from it."""
        kept = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in self.name)
        return f"{kept[:60]}.xtal"

    @property
    def name(self) -> str:
        """Of the crystal."""
        return self.crystal.name or "crystal"

    @property
    def source(self) -> str:
        """Text that its crystal files hold as their source."""
        printable = "".join(c if c.isascii() and c.isprintable() else "?" for c in self.name)
        return f"{printable[:400]} by ebsdsg"

    @contextmanager
    def stage(self, stage: str, program: str) -> Iterator[None]:
        """Tell that a stage begins, and keep its wall time."""
        begun = time.monotonic()
        self.control.stage(stage, program)
        try:
            yield
        finally:
            self.stage_seconds[stage] = round(time.monotonic() - begun, 3)

    def run_program(self, program: str, at: tuple[str, int, int]) -> str:
        """Run a program in this run's folder.

        Parameters
        ----------
        program : its name; its namelist file has been written.
        at : stage of the progress, what is done of it and its total.

        Returns
        -------
        Its output.

        Raises
        ------
        EngineFailure
            Unless it is of EMsoft 5.0, built the cell that was asked for, ended by itself, said
            that it had finished and reported no error.
        """
        from ebsdsg_flows.engines.emsoft.outcome import check_cell, check_version, judge
        from ebsdsg_flows.engines.emsoft.progress import MasterProgress
        from ebsdsg_flows.engines.emsoft.supervise import Limits, run_program

        stage, done, total = at
        energies = MasterProgress(total, done)

        def on_line(line: str) -> None:
            check_version(program, line)
            if stage == "energies" and energies.feed(line):
                self.progress(stage, energies.energies_done, total)
                if energies.seconds_left is not None:
                    self.control.time_left(energies.seconds_left)

        def before_end(reason: Reason) -> None:
            if reason == "asked to leave":
                self.leaving(program)

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
        check_cell(ended.output, self.crystal)
        try:
            judge(program, ended)
        except EngineFailure as failure:
            raise self._full_disk(failure, ended) from None
        return ended.output

    def leaving(self, program: str) -> None:
        """Have it recorded that a program is ended because this worker was asked to leave."""
        self.control.ending(QUEUE_ENDED.failure(f"{program} is being ended"))

    def _walltime(self) -> float:
        """Seconds for one stage: the limit, or what the queue still gives."""
        limit = self.control.walltime or self.settings.emsoft_walltime * 3600
        left = seconds_left()
        if left is not None:
            limit = max(1.0, min(limit, left - QUEUE_MARGIN - self.settings.emsoft_grace))
        return limit

    def check_space(self, *, resuming: bool = False) -> None:
        """Refuse to begin a master pattern that the disk cannot hold.

        Parameters
        ----------
        resuming : whether there is a file that may be continued.

        Notes
        -----
        There are two files at the end, the run's and the copy that gets the final name.  A resume
        has three at a time: the fresh one, the copy of what is continued, and that copy's own while
        it is settled.

        Raises
        ------
        EngineFailure
            If the disk of the run's folder has too little space.
        """
        p = self.parameters
        side, sites, n = 2 * p.npx + 1, len(self.crystal.sites), len(p.energies)
        one = 8 * n * side * side * (sites + 1) + 12 * n * p.mc_pixels**2
        need = (3 if resuming else 2) * one + SPARE_BYTES
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
