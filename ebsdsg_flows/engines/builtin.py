"""The engine that needs nothing but this package: :mod:`ebsdsg_sim` in this very process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ebsdsg_flows.engines.base import Control, Engine, EngineResult, Progress

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
        report = simulate(
            Crystal.from_dict(crystal),
            parameters,
            path,
            device=settings.device,
            progress=progress,
            memory=settings.memory_bytes,
        )
        return EngineResult(path, report.sha256, report.bytes, report.to_dict())
