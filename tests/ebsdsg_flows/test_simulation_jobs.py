"""What a simulation's job leaves behind when it ends in a way that nobody planned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fireworks import LaunchPad
from fireworks.core.rocket_launcher import rapidfire
from pymongo.errors import AutoReconnect

from ebsdsg_flows.campaign import load_campaign
from ebsdsg_flows.cluster.janitor import Janitor
from ebsdsg_flows.cluster.launches import make_fworker
from ebsdsg_flows.engines import BuiltinEngine
from ebsdsg_flows.engines.base import EngineResult
from ebsdsg_flows.rerun import rerun
from ebsdsg_flows.submit import submit
from stores.collections import Stores
from stores.documents import MasterPatternDocument

CAMPAIGN = """
name: one
structures: {source: demo, materials: [mp-23]}
simulation:
  parameters: {npx: 5, dmin: 0.1, n_electrons: 10000}
"""


def no_space(*arguments: Any, **options: Any) -> EngineResult:
    """As h5py and the file system answer when the disk is full."""
    raise OSError(28, "No space left on device")


def no_beams(engine: Any, crystal: Any, parameters: Any, path: Path, *more: Any) -> EngineResult:
    """An engine whose report is refused after its work."""
    return EngineResult(path, "0" * 64, 1, {"mean_strong": [float("nan")]})


def restarted(engine: Any, crystal: Any, parameters: Any, path: Path, *more: Any) -> EngineResult:
    """An engine that says which program it was, and that it was restarted."""
    report = {
        "engine_version": "5_0_4_d50c973",
        "resumed_after_energies": 5,
        "restart": "corrected",
    }
    return EngineResult(path, "0" * 64, 1, report)


@pytest.fixture
def launchpad(stores: Stores, tmp_path: Path) -> LaunchPad:
    """That of one submitted campaign with one simulation."""
    path = tmp_path / "one.yaml"
    path.write_text(CAMPAIGN)
    submit(load_campaign(path), stores)
    return stores.launchpad(strm_lvl="CRITICAL")


@pytest.fixture
def work(launchpad: LaunchPad, root: Path, tmp_path: Path) -> Callable[[], None]:
    """Run what is ready."""
    launches = tmp_path / "launches"
    launches.mkdir()

    def run() -> None:
        worker = make_fworker(root)
        rapidfire(launchpad, worker, m_dir=str(launches), max_loops=1, sleep_time=0.1)

    return run


def test_a_pattern_says_which_program_made_it_and_whether_it_was_restarted(
    stores: Stores, work: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BuiltinEngine, "simulate", restarted)
    work()
    stored = stores.master_patterns.find_one({"resumed_after_energies": {"$gt": 0}})
    assert stored["engine"]["version"] == "5_0_4_d50c973" and stored["restart"] == "corrected"
    assert "restart=corrected" in repr(MasterPatternDocument.from_mongo(stored))
    # those of earlier releases do not say it
    for field in ("resumed_after_energies", "restart"):
        del stored[field]
    old = MasterPatternDocument.from_mongo(stored)
    assert old.resumed_after_energies is None and "restart" not in repr(old)


@pytest.mark.parametrize(
    ("simulate", "says"), [(no_space, "No space left on device"), (no_beams, "beam counts [nan]")]
)
def test_whatever_ends_a_simulation_it_can_be_sent_again(
    stores: Stores,
    launchpad: LaunchPad,
    work: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    simulate: Any,
    says: str,
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(BuiltinEngine, "simulate", simulate)
        work()
    simulation = stores.simulations.find_one({})
    assert simulation["state"] == "failed"
    assert says in simulation["attempts"][-1]["reason"]
    # its campaign's learning need not wait for it
    assert stores.members.find_one({})["outcome"] == "ended"

    summary = rerun(stores, launchpad)
    assert (len(summary.simulations), summary.fireworks) == (1, 1)
    assert stores.members.find_one({})["outcome"] == "open"
    work()
    simulation = stores.simulations.find_one({})
    assert (simulation["state"], len(simulation["attempts"])) == ("completed", 2)
    assert stores.members.find_one({})["outcome"] == "ended"


def test_a_completed_simulation_whose_campaign_was_not_told_tells_it_by_itself(
    stores: Stores,
    launchpad: LaunchPad,
    work: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def gone(*arguments: Any, **options: Any) -> None:
        raise AutoReconnect("the database went away")

    with monkeypatch.context() as away:
        away.setattr("ebsdsg_flows.advance.settle", gone)
        work()
    assert stores.simulations.find_one({})["state"] == "completed"
    assert launchpad.fireworks.find_one({"state": "FIZZLED"}) is not None
    assert stores.members.find_one({})["outcome"] == "open"

    assert Janitor(stores, launchpad).round().ready == 1
    work()
    assert launchpad.fireworks.find_one({"state": "FIZZLED"}) is None
    assert stores.members.find_one({})["outcome"] == "ended"
    assert stores.runs.count_documents({}) == 1  # nothing was computed twice
    assert Janitor(stores, launchpad).round().ready == 0
