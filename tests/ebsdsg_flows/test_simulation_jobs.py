"""What a simulation's job leaves behind when it ends in a way that nobody planned."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
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
from ebsdsg_flows.learning_promise import ADDING, is_promised
from ebsdsg_flows.rerun import rerun
from ebsdsg_flows.run import run_until_idle
from ebsdsg_flows.submit import submit
from stores.collections import Stores
from stores.documents import MasterPatternDocument
from stores.janitor import MAX_ATTEMPTS
from stores.states import now

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


def learns(stores: Stores, folder: Path) -> None:
    """Let the campaign learn from its simulation."""
    path = folder / "one.yaml"
    path.write_text(CAMPAIGN + "datasets:\n  d: {size: 32, patterns_per_class: 10}\n")
    submit(load_campaign(path), stores)


def learnings(launchpad: LaunchPad) -> int:
    return launchpad.workflows.count_documents({"metadata.learning": {"$exists": True}})


def simulated(launchpad: LaunchPad, state: str) -> int:
    return launchpad.fireworks.count_documents(
        {"name": {"$regex": "master pattern"}, "state": state}
    )


@pytest.mark.parametrize("stored", ["nothing", "fireworks", "all"])
def test_learning_that_could_not_be_added_is_added_by_the_next_round(
    stores: Stores,
    launchpad: LaunchPad,
    work: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    stored: str,
) -> None:
    learns(stores, tmp_path)
    real = LaunchPad.add_wf

    def gone(self: LaunchPad, workflow: Any) -> None:
        if stored == "all":
            real(self, workflow)
        elif stored == "fireworks":
            self._upsert_fws(list(workflow.id_fw.values()), reassign_all=True)
        raise AutoReconnect("the database went away")

    with monkeypatch.context() as away:
        away.setattr(LaunchPad, "add_wf", gone)
        work()
    assert stores.members.find_one({})["outcome"] == "ended"
    assert learnings(launchpad) == (stored == "all")  # only the answer was lost: it is there
    assert simulated(launchpad, "FIZZLED") == (stored != "all")
    assert launchpad.fireworks.count_documents({"name": "data set d"}) == (stored == "all")

    report = Janitor(stores, launchpad).round()
    assert report.learning == ([] if stored == "all" else ["one"])
    assert learnings(launchpad) == 1
    launchpad.fireworks.update_many({"name": "data set d"}, {"$set": {"state": "PAUSED"}})
    work()
    assert simulated(launchpad, "COMPLETED") == 1
    assert launchpad.fireworks.find_one({"state": "FIZZLED"}) is None
    assert stores.campaigns.find_one({})["progress"]["learning_added"]
    assert (learnings(launchpad), stores.runs.count_documents({})) == (1, 1)
    assert not Janitor(stores, launchpad).round()


def test_learning_promised_by_a_worker_that_died_is_added_by_the_janitor(
    stores: Stores,
    launchpad: LaunchPad,
    work: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    learns(stores, tmp_path)
    with monkeypatch.context() as dead:  # it promised, and did nothing any more
        dead.setattr("ebsdsg_flows.learning_promise._add_learning_workflow", lambda *a: False)
        work()
    died = {"progress.learning_added": False}
    stores.campaigns.update_one({}, {"$set": {**died, "progress.promised": now()}})
    assert not Janitor(stores, launchpad).round().learning  # it may be about to add it
    assert is_promised(stores)  # so that `ebsdsg run` does not end
    stores.campaigns.update_one({}, {"$set": {"progress.promised": now() - ADDING}})
    assert is_promised(stores)
    assert "learning added to one" in str(Janitor(stores, launchpad).round())
    assert (learnings(launchpad), is_promised(stores)) == (1, False)


def test_run_does_not_end_before_promised_learning_is_added(
    stores: Stores,
    launchpad: LaunchPad,
    work: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    learns(stores, tmp_path)
    with monkeypatch.context() as dead:
        dead.setattr("ebsdsg_flows.learning_promise._add_learning_workflow", lambda *a: False)
        work()
    died = {"progress.learning_added": False, "progress.promised": now()}
    stores.campaigns.update_one({}, {"$set": died})
    monkeypatch.setattr("ebsdsg_flows.learning_promise.ADDING", timedelta(seconds=2))
    monkeypatch.setattr("ebsdsg_flows.run.RECOVER_EVERY", 0.5)
    monkeypatch.setattr("ebsdsg_flows.run._work_left", lambda launchpad: False)
    sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
    monkeypatch.setattr(
        "ebsdsg_flows.run._start_worker",
        lambda *arguments: subprocess.Popen(sleeper, start_new_session=True),
    )
    run_until_idle(stores, workers=1, quiet=True)
    assert learnings(launchpad) == 1


def test_one_campaign_that_cannot_be_read_does_not_end_the_janitors_round(
    stores: Stores, launchpad: LaunchPad, work: Callable[[], None], tmp_path: Path
) -> None:
    learns(stores, tmp_path)
    stores.campaigns.update_one({}, {"$set": {"progress.learning_added": False, "typo": 1}})
    work()
    assert simulated(launchpad, "FIZZLED") == 1
    for _ in range(2 * MAX_ATTEMPTS):
        Janitor(stores, launchpad).round()
        work()
    fizzled = launchpad.fireworks.find_one({"state": "FIZZLED"})
    assert len(fizzled["archived_launches"] + fizzled["launches"]) == MAX_ATTEMPTS
    stores.campaigns.update_one({}, {"$unset": {"typo": ""}})
    assert Janitor(stores, launchpad).round().learning == ["one"]
    assert rerun(stores, launchpad).fireworks == 1


def test_a_campaign_that_can_never_be_told_is_told_a_few_times(
    stores: Stores,
    launchpad: LaunchPad,
    work: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(*arguments: Any, **options: Any) -> None:
        raise ValueError("never")

    with monkeypatch.context() as broken:
        broken.setattr("ebsdsg_flows.advance.settle", refused)
        work()
        for _ in range(2 * MAX_ATTEMPTS):
            Janitor(stores, launchpad).round()
            work()
        assert simulated(launchpad, "FIZZLED") == 1
        assert launchpad.launches.count_documents({"state": "FIZZLED"}) == MAX_ATTEMPTS
    # a person who has mended it sends it again
    assert rerun(stores, launchpad).fireworks == 1
    work()
    assert simulated(launchpad, "COMPLETED") == 1
    assert stores.members.find_one({})["outcome"] == "ended"


@pytest.mark.parametrize("tried_before", [False, True])
def test_a_job_that_always_fails_before_its_simulation_is_launched_a_few_times(
    stores: Stores,
    launchpad: LaunchPad,
    work: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    tried_before: bool,
) -> None:
    def refused(*arguments: Any, **options: Any) -> None:
        raise ValueError("never")

    if tried_before:
        with monkeypatch.context() as broken:
            broken.setattr(BuiltinEngine, "simulate", no_space)
            work()
        rerun(stores, launchpad)
    before = launchpad.launches.count_documents({"state": "FIZZLED"})
    with monkeypatch.context() as broken:
        broken.setattr("ebsdsg_flows.advance.begin", refused)
        work()
        for _ in range(2 * MAX_ATTEMPTS):
            Janitor(stores, launchpad).round()
            work()
        assert stores.simulations.find_one({})["state"] == "waiting"
        assert simulated(launchpad, "FIZZLED") == 1
        launches = launchpad.launches.count_documents({"state": "FIZZLED"})
        assert launches == MAX_ATTEMPTS + (before and before - 1)
    assert rerun(stores, launchpad).fireworks == 1
    work()
    assert stores.simulations.find_one({})["state"] == "completed"


def test_a_completed_simulation_without_its_pattern_is_launched_once_more(
    stores: Stores, launchpad: LaunchPad, work: Callable[[], None], tmp_path: Path
) -> None:
    work()
    stores.master_patterns.delete_many({})
    path = tmp_path / "two.yaml"
    path.write_text(CAMPAIGN.replace("name: one", "name: two"))
    launchpad.workflows.update_many({}, {"$set": {"state": "RUNNING"}})  # so that it has its own
    submit(load_campaign(path), stores)
    work()
    for rounds in (1, 0, 0):  # its member has ended: there is nothing to tell
        assert simulated(launchpad, "FIZZLED") == 1
        assert Janitor(stores, launchpad).round().ready == rounds
        work()


def test_a_job_that_told_its_campaign_and_then_failed_does_not_stay_failed(
    stores: Stores,
    launchpad: LaunchPad,
    work: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    learns(stores, tmp_path)
    real, calls = LaunchPad.add_wf, []

    def gone_once(self: LaunchPad, workflow: Any) -> Any:
        calls.append(workflow)
        if len(calls) == 1:
            raise AutoReconnect("the database went away")
        added = real(self, workflow)
        self.fireworks.update_many({"name": "data set d"}, {"$set": {"state": "PAUSED"}})
        return added

    monkeypatch.setattr(LaunchPad, "add_wf", gone_once)
    work()
    assert (simulated(launchpad, "FIZZLED"), learnings(launchpad)) == (1, 1)
    assert Janitor(stores, launchpad).round().ready == 1
    work()
    assert (simulated(launchpad, "COMPLETED"), learnings(launchpad)) == (1, 1)
