"""The engine on a data root of its own, with stand-in programs that can be given orders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ebsdsg_flows.engines import Control, EMsoftEngine, EngineFailure
from ebsdsg_flows.settings import get_settings
from ebsdsg_sim.crystal import Crystal, Site
from ebsdsg_sim.parameters import SimulationParameters
from ebsdsg_sim.symmetry import hall_number_for

TIC = Crystal(
    "TiC",
    (0.4328, 0.4328, 0.4328, 90, 90, 90),
    225,
    hall_number_for(225),
    (Site("Ti", (0, 0, 0), 1, 0.003), Site("C", (0.5, 0.5, 0.5), 1, 0.0035)),
)
SMALL = SimulationParameters(npx=5, mc_pixels=51, n_electrons=224_999, max_scatterings=300)
DIRECT = EMsoftEngine(crystal_file="direct")


class Bench:
    """One data root with stand-in programs that can be given orders."""

    def __init__(self, root: Path, orders: Path) -> None:
        self.root, self.orders = root, orders
        self.stages: list[tuple[str, str]] = []
        self.progress: list[tuple[str, int, int]] = []

    def order(self, **orders: dict[str, Any]) -> None:
        self.orders.write_text(json.dumps({f"{k} TiC.xtal": v for k, v in orders.items()}))

    def simulate(
        self,
        key: str = "a" * 8,
        engine: EMsoftEngine = DIRECT,
        crystal: Crystal = TIC,
        parameters: SimulationParameters = SMALL,
        **control: Any,
    ) -> Any:
        get_settings.cache_clear()
        return engine.simulate(
            crystal.to_dict(),
            parameters,
            self.root / "master_patterns" / f"{key}.h5",
            lambda *step: self.progress.append(step),
            Control(stage=lambda *stage: self.stages.append(stage), **control),
        )

    def fail(self, key: str = "a" * 8, **arguments: Any) -> EngineFailure:
        with pytest.raises(EngineFailure) as caught:
            self.simulate(key, **arguments)
        assert not (self.root / "master_patterns" / f"{key}.h5").exists()
        return caught.value

    def logs(self, program: str) -> list[Path]:
        return sorted(self.root.glob(f"emsoft/simulations/*/*/*/{program}.log"))
