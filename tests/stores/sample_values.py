"""Values of valid documents, for the tests of the stores."""

from __future__ import annotations

from typing import Any

from stores.documents import (
    FileReference,
    MasterPatternDocument,
    SimulationDocument,
    crystal_hash,
)

SHA = "0123456789abcdef" * 4


def nickel(**changes: Any) -> dict[str, Any]:
    """Crystal dictionary of nickel."""
    return {
        "name": "Ni",
        "cell": [0.3524, 0.3524, 0.3524, 90.0, 90.0, 90.0],
        "space_group": 225,
        "hall_number": 523,
        "sites": [
            {"element": "Ni", "position": [0.0, 0.0, 0.0], "occupancy": 1.0, "debye_waller": 0.004}
        ],
        **changes,
    }


def structure_values(material_id: str = "mp-23", **changes: Any) -> dict[str, Any]:
    """Values of a valid structure document."""
    crystal = nickel()
    group = {"number": 225, "symbol": "Fm-3m", "hall_number": 523, "point_group": "m-3m"}
    return {
        "key": material_id,
        "material_id": material_id,
        "formula": "Ni",
        "elements": ["Ni"],
        "composition": {"Ni": 4.0},
        "crystal": crystal,
        "crystal_hash": crystal_hash(crystal),
        "space_group": group,
        "relabel": {
            "number": 225,
            "symbol": "Fm-3m",
            "symprec": 0.01,
            "by_tolerance": [{"symprec": 0.01, "number": 225}],
            "sensitive": False,
        },
        "volume_conventional": 43.76,
        "volume_primitive": 10.94,
        "n_atoms": 4,
        "n_atoms_primitive": 1,
        "n_sites": 1,
        "density": 8.9,
        "mean_atomic_number": 28.0,
        "symprec": 0.1,
        "source": {"kind": "python", "identifier": material_id},
        "licence": "CC-BY-4.0",
        **changes,
    }


def master_pattern(simulation: SimulationDocument, run: str = "r") -> MasterPatternDocument:
    """Document of a master pattern of a simulation."""
    return MasterPatternDocument(
        key=simulation.key,
        simulation=simulation.key,
        material_id=simulation.material_id,
        run=run,
        file=FileReference(path="master_patterns/ni.h5", bytes=1000, sha256=SHA),
        npx=60,
        n_sites=1,
        energies=[19.0, 20.0],
        engine=simulation.engine,
        parameters=simulation.parameters,
        beams=[20.0, 21.5],
    )
