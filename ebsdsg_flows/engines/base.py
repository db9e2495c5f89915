"""What every engine promises: a crystal and parameters in, one checked master-pattern file out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from ebsdsg_sim.parameters import SimulationParameters

Progress = Callable[[str, int, int], None]
"""``progress(stage, done, total)``; the stage ``energies`` counts finished energies."""


@dataclass(frozen=True)
class EngineResult:
    """What an engine says of a finished simulation.

    Parameters
    ----------
    path : the checked master-pattern file.
    sha256, size : of that file; size in bytes.
    report : engine's own figures as plain JSON types (CPU seconds, beams per energy, threads ...).
    """

    path: Path
    sha256: str
    size: int
    report: dict[str, Any]


@dataclass
class Engine(ABC):
    """Computes master patterns.

    ``name`` and ``version`` are part of a simulation's identity: the version changes when the
    numbers do, not when the code gets faster.
    """

    name: ClassVar[str]
    version: ClassVar[str]

    @abstractmethod
    def simulate(
        self,
        crystal: dict[str, Any],
        parameters: SimulationParameters,
        path: Path,
        progress: Progress,
    ) -> EngineResult:
        """Write the master pattern of one crystal.

        Parameters
        ----------
        crystal : ``Crystal.to_dict()``.
        parameters : what to compute.
        path : file to write; appears complete and checked, or not at all.
        progress : told how far the work is, often enough to serve as a sign of life.

        Raises
        ------
        RuntimeError
            If the simulation fails; the message says at which stage and why.
        """
