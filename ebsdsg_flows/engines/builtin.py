"""The engine that needs nothing but this package: :mod:`ebsdsg_sim` in this very process."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ebsdsg_flows.cluster.endings import ASKED, TIME_OUT, Ending
from ebsdsg_flows.engines.base import Control, Engine, EngineFailure, EngineResult, Progress
from ebsdsg_flows.leaving import asked_to_leave, noticing_sigterm

if TYPE_CHECKING:
    from ebsdsg_sim.parameters import SimulationParameters


@dataclass
class BuiltinEngine(Engine):
    """Monte Carlo and dynamical calculation of :mod:`ebsdsg_sim`."""

    name: ClassVar[str] = "builtin"
    version: ClassVar[str] = "1"

    def simulate(
        self,
        crystal: dict[str, Any],
        parameters: SimulationParameters,
        path: Path,
        progress: Progress,
        control: Control | None = None,
    ) -> EngineResult:
        """See :meth:`ebsdsg_flows.engines.base.Engine.simulate`."""
        import torch

        from ebsdsg_flows.settings import get_settings
        from ebsdsg_sim.crystal import Crystal
        from ebsdsg_sim.simulate import simulate

        settings = get_settings()
        torch.set_num_threads(settings.threads)
        path.parent.mkdir(parents=True, exist_ok=True)
        control = control or Control()
        limit = control.walltime
        begun = time.monotonic()

        def go_on(stage: str, done: int, total: int) -> None:
            if asked_to_leave():
                raise _failure(ASKED)
            if limit is not None and time.monotonic() - begun > limit:
                raise _failure(TIME_OUT, f"{limit:g} s")
            progress(stage, done, total)

        # recorded at once: a long call of torch may outlast the time until SIGKILL
        with noticing_sigterm(lambda: control.ending(_failure(ASKED))):
            report = simulate(
                Crystal.from_dict(crystal),
                parameters,
                path,
                device=settings.device,
                progress=go_on,
                memory=settings.memory_bytes,
            )
        return EngineResult(path, report.sha256, report.bytes, report.to_dict())


def _failure(ending: Ending, detail: str = "") -> EngineFailure:
    message = f"{ending.text}: {detail}" if detail else ending.text
    return EngineFailure(
        ending.code, ending.name, message, state="timed_out", next_action=ending.next_action
    )
