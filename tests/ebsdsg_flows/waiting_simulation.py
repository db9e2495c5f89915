"""A simulation that waits, for tests of what is done with it and not of what it computes."""

from __future__ import annotations

from typing import Any

from stores.collections import Stores
from stores.documents import EngineReference, SimulationDocument


def waiting_simulation(
    stores: Stores, *, material_id: str = "mp-23", cell: float = 0.35, **parameters: Any
) -> SimulationDocument:
    """Add one; another cell or parameter makes another simulation."""
    simulation = SimulationDocument.of(
        material_id=material_id,
        formula="Ni",
        crystal={"cell": [cell], "sites": [], "space_group": 225, "hall_number": 523},
        parameters=parameters,
        engine=EngineReference(name="builtin", physics_version="1"),
        space_group=225,
        relabelled=225,
    )
    stores.add(simulation)
    return simulation
