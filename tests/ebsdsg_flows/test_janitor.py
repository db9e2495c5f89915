"""What the janitor does for workers that were killed, and what it leaves to those that live."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fireworks import Firework, FWAction, FWorker, LaunchPad, PyTask, Workflow

from ebsdsg_flows.campaign import load_campaign
from ebsdsg_flows.cluster import launch_ends, slurm
from ebsdsg_flows.cluster.deaths import Deaths
from ebsdsg_flows.cluster.janitor import Janitor
from ebsdsg_flows.cluster.launches import make_fworker
from ebsdsg_flows.submit import submit
from ebsdsg_flows.workflows import prepare
from stores import janitor as lost
from stores.collections import Stores

CAMPAIGN = """
name: one
structures: {source: demo, materials: [mp-23]}
simulation:
  parameters: {npx: 5, dmin: 0.1, n_electrons: 10000}
"""
KILLED = """
import os, signal
from ebsdsg_flows.cluster.launch import rapidfire
from ebsdsg_flows.engines import BuiltinEngine

def die(*arguments, **options):
    os.kill(os.getpid(), signal.SIGKILL)

BuiltinEngine.simulate = die
rapidfire(least=0, idle=0.1)
"""
"""A worker that is killed in the middle of a simulation."""


def test_a_structure_whose_worker_was_killed_has_ended_for_its_campaign(
    stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send_again = lost._send_again  # once lost is enough here, where five times are allowed
    monkeypatch.setattr(lost, "_send_again", lambda s, found, most: send_again(s, found, 1))
    path = tmp_path / "one.yaml"
    path.write_text(CAMPAIGN)
    assert len(submit(load_campaign(path), stores).new) == 1
    killed = subprocess.run(
        [sys.executable, "-c", KILLED], cwd=tmp_path, check=False, capture_output=True, timeout=240
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert stores.runs.find_one({}, {"state": 1})["state"] == "running"
    assert stores.members.find_one({}, {"outcome": 1})["outcome"] == "open"

    report = Janitor(stores, stores.launchpad(strm_lvl="ERROR")).round()
    assert (len(report.runs), report.ready, report.failed) == (1, 0, 1)
    assert stores.simulations.find_one({}, {"state": 1})["state"] == "lost"
    # or the campaign's learning would wait for it for ever
    assert stores.members.find_one({}, {"outcome": 1})["outcome"] == "ended"


@pytest.fixture
def two_jobs(stores: Stores) -> LaunchPad:
    """A workflow of two fireworks, one after the other, of which the first is ready."""
    launchpad = stores.launchpad(strm_lvl="ERROR")
    prepare(launchpad)
    first = Firework(PyTask(func="time.sleep", args=[0]), name="first")
    then = Firework(PyTask(func="time.sleep", args=[0]), name="then")
    launchpad.add_wf(Workflow([first, then], {first: [then]}))
    return launchpad


def states(launchpad: LaunchPad) -> dict[str, str]:
    return {fw["name"]: fw["state"] for fw in launchpad.fireworks.find({}, {"name": 1, "state": 1})}


BEGUN = """
from pathlib import Path
from ebsdsg_flows.cluster.launches import make_fworker
from ebsdsg_flows.session import open_stores
print(open_stores().launchpad(strm_lvl="ERROR").checkout_fw(make_fworker(Path("root")), "/tmp")[1])
"""
"""A process that begins a firework and is gone then."""


def begun(folder: Path) -> int:
    """Number of the launch that a process began which is gone now."""
    done = subprocess.run(
        [sys.executable, "-c", BEGUN], cwd=folder, check=True, capture_output=True
    )
    return int(done.stdout.split()[-1])


def meanwhile(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Let something happen while the janitor asks the queue, after it listed the launches."""
    begin = Deaths.begin

    def slow(self: Deaths, *arguments: Any) -> str:
        happens()
        monkeypatch.setattr(Deaths, "begin", begin)
        return begin(self, *arguments)

    monkeypatch.setattr(Deaths, "begin", slow)


def test_a_job_that_ends_well_under_the_janitors_eyes_is_left_alone(
    stores: Stores, two_jobs: LaunchPad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = begun(tmp_path)

    def ends_well() -> None:
        two_jobs.complete_launch(launch, FWAction(), "COMPLETED")
        assert two_jobs.checkout_fw(make_fworker(tmp_path), str(tmp_path))[0].name == "then"

    meanwhile(monkeypatch, ends_well)
    report = Janitor(stores, two_jobs).round()
    assert (report.ready, report.failed) == (0, 0)
    assert states(two_jobs) == {"first": "COMPLETED", "then": "RUNNING"}
    assert two_jobs.launches.find_one({"launch_id": launch})["state"] == "COMPLETED"


def test_a_job_that_begins_under_the_janitors_eyes_keeps_its_reservation(
    stores: Stores, two_jobs: LaunchPad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserved, launch = two_jobs.reserve_fw(FWorker(), str(tmp_path))
    two_jobs.set_reservation_id(launch, "7")
    over = slurm.Job("7", "CANCELLED", folder=tmp_path)
    monkeypatch.setattr(slurm, "installed", lambda: True)
    monkeypatch.setattr(slurm, "ask", lambda numbers: {"7": over})

    def ends_well() -> None:
        two_jobs.checkout_fw(FWorker(), str(tmp_path), reserved.fw_id)
        two_jobs.complete_launch(launch, FWAction(), "COMPLETED")

    meanwhile(monkeypatch, ends_well)
    assert Janitor(stores, two_jobs).round().reservations == 0
    assert states(two_jobs) == {"first": "COMPLETED", "then": "READY"}
    assert two_jobs.launches.count_documents({"launch_id": launch}) == 1


def test_a_job_of_the_queue_that_ended_well_is_given_time_to_say_so(
    stores: Stores, two_jobs: LaunchPad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, launch = two_jobs.reserve_fw(FWorker(), str(tmp_path))
    two_jobs.set_reservation_id(launch, "7")
    over = slurm.Job("7", "COMPLETED", folder=tmp_path)
    monkeypatch.setattr(slurm, "installed", lambda: True)
    monkeypatch.setattr(slurm, "ask", lambda numbers: {"7": over})
    janitor = Janitor(stores, two_jobs, watch=0.1)
    first = janitor.round()
    assert (first.reservations, first.suspects) == (0, 1)
    time.sleep(0.1)
    assert janitor.round().reservations == 1
    assert states(two_jobs) == {"first": "READY", "then": "WAITING"}


def test_only_a_lock_that_stays_is_broken(
    stores: Stores, two_jobs: LaunchPad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(tmp_path)
    two_jobs.workflows.update_one({}, {"$set": {"locked": True}})
    kept: list[bool] = []

    def give_back() -> None:
        found = two_jobs.workflows.find_one_and_update({}, {"$unset": {"locked": True}})
        kept.append("locked" in found)

    living = threading.Timer(1.0, give_back)
    living.start()
    Janitor(stores, two_jobs).round()
    living.join()
    assert kept == [True]
    assert states(two_jobs) == {"first": "READY", "then": "WAITING"}
    monkeypatch.setattr(launch_ends, "LOCK_SECONDS", 0.2)
    begun(tmp_path)
    two_jobs.workflows.update_one({}, {"$set": {"locked": True}})
    Janitor(stores, two_jobs).round()
    assert states(two_jobs) == {"first": "READY", "then": "WAITING"}
