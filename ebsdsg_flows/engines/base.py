"""What every engine promises: a crystal and parameters in, one checked master-pattern file out.

What goes wrong is an :class:`EngineFailure` with a number, and what the engine needs to know about
the attempt it belongs to (time limit, where to report) comes in a :class:`Control`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from ebsdsg_sim.parameters import SimulationParameters

Progress = Callable[[str, int, int], None]
"""``progress(stage, done, total)``; the stage ``energies`` counts finished energies."""


class EngineFailure(RuntimeError):
    """A simulation ended badly, as data.

    Parameters
    ----------
    code, name : number and short name in the engine's list of failures.
    message : one sentence for a person.
    log_tail : last lines of the program's output.
    state : ``failed``, or ``timed_out`` if more time is what is missing.
    next_action : what the engine's rules say should happen next.
    exit_code : of the program, if one was run; negative for a signal.
    """

    def __init__(
        self,
        code: int,
        name: str,
        message: str,
        *,
        log_tail: str = "",
        state: Literal["failed", "timed_out"] = "failed",
        next_action: str = "",
        exit_code: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.name = name
        self.message = message
        self.log_tail = log_tail
        self.state = state
        self.next_action = next_action
        self.exit_code = exit_code


def _ignore_stage(stage: str, program: str) -> None:
    """What happens with stages when nobody listens."""


def _ignore_time(seconds: float) -> None:
    """What happens with the time left when nobody listens."""


def _ignore_failure(failure: EngineFailure) -> None:
    """What happens with an early failure when nobody listens."""


@dataclass
class Control:
    """What an engine is told about the attempt it works for.

    Parameters
    ----------
    stage : called with the name of a stage and of its program when the stage begins.
    ending : called with the failure of an attempt that is about to be ended from outside, before
        its program is stopped, so that the record survives whatever comes next.
    time_left : called with the estimated time [s] until the present stage ends.
    walltime : time limit of one stage [s]; ``None`` leaves it to the engine's settings.
    threads : threads of this attempt; ``None`` leaves them to the settings.
    """

    stage: Callable[[str, str], None] = field(default=_ignore_stage)
    ending: Callable[[EngineFailure], None] = field(default=_ignore_failure)
    time_left: Callable[[float], None] = field(default=_ignore_time)
    walltime: float | None = None
    threads: int | None = None


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

    @property
    def physics_version(self) -> str:
        """``version`` with whatever options change the numbers."""
        return self.version

    @property
    def keeps_monte_carlo(self) -> bool:
        """Whether a Monte Carlo can be computed apart and serves all simulations of its crystal."""
        return False

    def compute_monte_carlo(
        self,
        crystal: dict[str, Any],
        parameters: SimulationParameters,
        path: Path,
        progress: Progress,
        control: Control | None = None,
    ) -> dict[str, Any]:
        """Compute the Monte Carlo that :meth:`simulate` will find, unless it is there.

        Parameters
        ----------
        crystal, parameters, path, progress, control : as for :meth:`simulate`, ``path`` being the
            master pattern's.

        Returns
        -------
        Engine's own figures as plain JSON types.

        Raises
        ------
        EngineFailure
            If it fails in one of the ways that the engine knows and numbers.
        NotImplementedError
            If this engine does not keep Monte Carlos.
        """
        raise NotImplementedError(f"the engine {self.name} keeps no Monte Carlo")

    def check(self, parameters: SimulationParameters) -> None:
        """Refuse parameters that this engine does not have.

        Raises
        ------
        ValueError
            If a parameter asks for what the engine cannot do.
        """
        del parameters  # an engine that has all of them refuses none

    def resources(self) -> tuple[int, str | None]:
        """Threads and accelerator of one simulation on this machine, for the record."""
        from ebsdsg_flows.settings import get_settings

        settings = get_settings()
        return settings.threads, settings.device if settings.device != "cpu" else None

    @abstractmethod
    def simulate(
        self,
        crystal: dict[str, Any],
        parameters: SimulationParameters,
        path: Path,
        progress: Progress,
        control: Control | None = None,
    ) -> EngineResult:
        """Write the master pattern of one crystal.

        Parameters
        ----------
        crystal : ``Crystal.to_dict()``.
        parameters : what to compute.
        path : file to write; appears complete and checked, or not at all.
        progress : told how far the work is, often enough to serve as a sign of life.
        control : limits of this attempt, and where to report its stages.

        Raises
        ------
        EngineFailure
            If the simulation fails in one of the ways that the engine knows and numbers.
        RuntimeError
            If it fails in another; the message says at which stage and why.
        """
