"""A web site on an embedded database with a campaign whose members are in every state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from fastapi.testclient import TestClient
from web_training import add_training

from ebsdsg_flows.web.access import Access
from ebsdsg_flows.web.app import create_app
from ebsdsg_sim.crystal import Crystal
from ebsdsg_sim.hdf5 import write_master_pattern
from ebsdsg_sim.masterpattern import MasterPattern
from ebsdsg_sim.montecarlo import MonteCarlo
from ebsdsg_sim.parameters import SimulationParameters
from stores.collections import Stores
from stores.connect import connect
from stores.documents import (
    CampaignDocument,
    EngineReference,
    Failure,
    FileReference,
    MasterPatternDocument,
    MemberDocument,
    SimulationDocument,
    StructureDocument,
    crystal_hash,
)
from stores.embedded import stop
from stores.identity import content_hash
from stores.runs import claim
from stores.states import State

TOKEN = "a token of this test, long enough"
SCRIPT = "<script>alert('x')</script>"
"""Formula of one structure: what a hostile source could put there."""

TIME_OUT = Failure(code=150, name="time-out", message="ran out of time", log_tail="last <line>")
CRASH = Failure(code=145, name="crash", message="it crashed & burnt", log_tail="Segmentation fault")

PARAMETERS = SimulationParameters(
    npx=8, dmin=0.1, energy_min=18.0, energy_step=1.0, n_electrons=20000, mc_pixels=21
)


def nickel() -> dict[str, Any]:
    return {
        "name": "Ni",
        "cell": [0.3524, 0.3524, 0.3524, 90.0, 90.0, 90.0],
        "space_group": 225,
        "hall_number": 523,
        "sites": [
            {"element": "Ni", "position": [0.0, 0.0, 0.0], "occupancy": 1.0, "debye_waller": 0.004}
        ],
    }


def structure(material_id: str, formula: str, relabelled: int = 225) -> StructureDocument:
    crystal = nickel()
    group = {"number": 225, "symbol": "Fm-3m", "hall_number": 523, "point_group": "m-3m"}
    return StructureDocument(
        key=material_id,
        material_id=material_id,
        formula=formula,
        elements=["Ni"],
        composition={"Ni": 4.0},
        crystal=crystal,
        crystal_hash=crystal_hash(crystal),
        space_group=group,
        relabel={
            "number": relabelled,
            "symbol": {225: "Fm-3m", 221: "Pm-3m"}[relabelled],
            "symprec": 0.01,
            "by_tolerance": [{"symprec": 0.01, "number": relabelled}],
            "sensitive": False,
        },
        volume_conventional=43.76,
        volume_primitive=10.94,
        n_atoms=4,
        n_atoms_primitive=1,
        n_sites=1,
        density=8.9,
        mean_atomic_number=28.0,
        symprec=0.1,
        source={"kind": "python", "identifier": material_id},
        licence="CC-BY-4.0",
    )


def pattern_file(root: Path, key: str) -> FileReference:
    """A master-pattern file with a different gradient at every energy."""
    crystal = Crystal.from_dict(nickel())
    n = len(PARAMETERS.energies)
    side = 2 * PARAMETERS.npx + 1
    ramp = np.linspace(1, 2, side, dtype=np.float32)
    maps = np.stack([ramp[:, None] ** (i + 1) + 0.1 * ramp[None] for i in range(n)])[None]
    pixels = PARAMETERS.mc_pixels
    monte_carlo = MonteCarlo(
        accum_e=np.ones((n, pixels, pixels), dtype=np.int64),
        accum_z=np.ones((n, 4, 5, 5), dtype=np.int64),
        energies=PARAMETERS.energies,
        depth_step=PARAMETERS.depth_step,
        n_electrons=20000,
        sample_tilt=PARAMETERS.sample_tilt,
        seed=1,
        n_simulated=20000,
        cpu_seconds=1.0,
    )
    path = root / "master_patterns" / f"{key}.h5"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_master_pattern(
        path, MasterPattern(maps, maps, PARAMETERS.energies, crystal, PARAMETERS, monte_carlo)
    )
    return FileReference(
        path=f"master_patterns/{key}.h5", bytes=path.stat().st_size, sha256=content_hash(key)
    )


def add_member(stores: Stores, root: Path, material_id: str, formula: str, end: str) -> str:
    """A structure of the campaign whose simulation ended, or goes on, as ``end`` says."""
    stores.save(structure(material_id, formula, 221 if end == "failed" else 225))
    simulation = SimulationDocument.of(
        material_id=material_id,
        formula=formula,
        crystal=nickel() | {"name": "Ni"},
        parameters={**PARAMETERS.to_dict(), "seed_of_test": material_id},
        engine=EngineReference(name="builtin", physics_version="1"),
        space_group=225,
        relabelled=225,
    )
    stores.add(simulation)
    stores.add(
        MemberDocument(
            key=MemberDocument.key_of("little", simulation.key),
            campaign="little",
            member=simulation.key,
            material_id=material_id,
            space_group=225,
            outcome="open" if end in ("waiting", "running") else "ended",
            simulation=simulation.key,
        )
    )
    if end == "waiting":
        return simulation.key
    run = claim(
        stores, simulation.key, stage="master pattern", program="ebsdsg builtin", n_energies=3
    )
    if end == "completed":
        file = pattern_file(root, simulation.key)
        stores.save(
            MasterPatternDocument(
                key=simulation.key,
                simulation=simulation.key,
                material_id=material_id,
                run=run.key,
                file=file,
                npx=PARAMETERS.npx,
                n_sites=1,
                energies=list(map(float, PARAMETERS.energies)),
                engine=simulation.engine,
                parameters=simulation.parameters,
            )
        )
        run.finish(State.COMPLETED, files=[file], energies_done=3)
    elif end == "failed":
        run.finish(State.FAILED, failure=CRASH, energies_done=0, next_action="retry")
    elif end == "timed_out":
        run.finish(State.TIMED_OUT, failure=TIME_OUT, energies_done=2, next_action="more time")
    return simulation.key


@pytest.fixture(scope="session")
def server_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One embedded server for all tests of the pages: starting one takes longer than a test."""
    folder = tmp_path_factory.mktemp("server")
    yield folder
    stop(folder)


@pytest.fixture
def stores(server_root: Path, root: Path) -> Iterator[Stores]:
    """An empty database that is dropped afterwards."""
    opened = connect(root=server_root, database=f"test_{uuid4().hex}")
    yield opened
    opened.client.drop_database(opened.database.name)
    opened.close()


def add_members(stores: Stores, root: Path) -> dict[str, str]:
    """Key of one simulation in each state, of the campaign ``little``."""
    ends = ("completed", "failed", "timed_out", "running", "waiting")
    keys = {
        end: add_member(stores, root, f"mp-{i}", SCRIPT if end == "failed" else "Ni", end)
        for i, end in enumerate(ends, 1)
    }
    stores.save(
        CampaignDocument(
            key="little",
            name="little",
            query={"description": "a little <b>campaign</b>"},
            parameters={"datasets": {}, "queue": {}},
            structures=[f"mp-{i}" for i in range(1, 6)],
        )
    )
    return keys


@pytest.fixture
def members(stores: Stores, root: Path) -> dict[str, str]:
    """See :func:`add_members`."""
    return add_members(stores, root)


@pytest.fixture
def dataset(stores: Stores, root: Path) -> str:
    """Key of the data set; see :func:`web_training.add_training`."""
    return add_training(stores, root)


@pytest.fixture
def site(stores: Stores, root: Path) -> Callable[..., TestClient]:
    """Makes a client of a server: ``site()`` is read-only, ``site(token=TOKEN)`` is not."""

    def make(host: str = "127.0.0.1", token: str | None = None, **options: Any) -> TestClient:
        tries, largest = options.pop("tries", None), options.pop("largest_upload", 1_000_000)
        access = Access.of(host, token, **options)
        app = create_app(stores, root, access, largest_upload=largest, tries=tries)
        return TestClient(app, base_url="http://127.0.0.1", follow_redirects=False)

    return make
