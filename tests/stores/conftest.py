"""An embedded server for the session, an empty database per test, and sample documents."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sample_values import nickel, structure_values

from stores.collections import Stores
from stores.connect import connect
from stores.documents import EngineReference, SimulationDocument, StructureDocument
from stores.embedded import stop


def pytest_configure(config: pytest.Config) -> None:
    # FireWorks imports its own tests, which carry this mark, when it looks for a task's class
    config.addinivalue_line("markers", "mongodb: of FireWorks' own tests")


@pytest.fixture(scope="session")
def server_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("root")
    yield root
    stop(root)


@pytest.fixture
def stores(server_root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stores]:
    """Stores of an empty database that is dropped afterwards."""
    monkeypatch.delenv("EBSDSG_MONGO_URI", raising=False)
    opened = connect(root=server_root, database=f"test_{uuid4().hex}")
    yield opened
    opened.client.drop_database(opened.database.name)
    opened.close()


@pytest.fixture
def structure() -> StructureDocument:
    return StructureDocument(**structure_values())


@pytest.fixture
def make_simulation(stores: Stores) -> Callable[..., SimulationDocument]:
    """Adds a waiting simulation; another ``dmin`` makes another simulation."""

    def make(dmin: float = 0.05, material_id: str = "mp-23", **fields: Any) -> SimulationDocument:
        simulation = SimulationDocument.of(
            **{
                "material_id": material_id,
                "formula": "Ni",
                "crystal": nickel(),
                "parameters": {"dmin": dmin, "voltage": 20.0},
                "engine": EngineReference(name="builtin", physics_version="1"),
                "space_group": 225,
                "relabelled": 225,
                **fields,
            }
        )
        assert stores.add(simulation)
        return simulation

    return make
