"""What a person asks of a campaign happens once, beside workers that go on working."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fireworks import FWAction, FWorker, LaunchPad
from waiting_simulation import waiting_simulation

from ebsdsg_flows.campaign import Campaign, load_campaign
from ebsdsg_flows.control import ControlError, cancel, pause, regulate, resume
from ebsdsg_flows.submit import submit
from stores.collections import Stores
from stores.documents import MemberDocument, SimulationDocument
from stores.runs import claim
from stores.states import State

CAMPAIGN = """
name: {name}
structures: {{source: demo}}
simulation: {{parameters: {{npx: 5, dmin: 0.1}}}}
queue: {{{queue}}}
"""


def written(folder: Path, queue: str = "", name: str = "held") -> Campaign:
    path = folder / f"{name}.yaml"
    path.write_text(CAMPAIGN.format(name=name, queue=queue))
    return load_campaign(path)


def states(stores: Stores) -> Counter[str]:
    return Counter(firework["state"] for firework in stores.database["fireworks"].find())


def consistent(stores: Stores) -> None:
    """The workflows' copies of the states are those of their fireworks."""
    real = {fw["fw_id"]: fw["state"] for fw in stores.database["fireworks"].find()}
    for workflow in stores.database["workflows"].find():
        told = {int(node): state for node, state in workflow["fw_states"].items()}
        assert told == {node: real[node] for node in workflow["nodes"]}
        assert "locked" not in workflow


class Workers:
    """Threads that take jobs and end them, as ``rlaunch`` does, without the work."""

    def __init__(self, stores: Stores, n: int, folder: Path) -> None:
        self.stores, self.folder = stores, folder
        self.done: Counter[int] = Counter()
        self.errors: list[BaseException] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(i,)) for i in range(n)]
        for thread in self._threads:
            thread.start()

    def _work(self, number: int) -> None:
        launchpad: LaunchPad = self.stores.launchpad(strm_lvl="ERROR")
        worker = FWorker(f"thread {number}")
        while not self._stop.is_set():
            try:
                firework, launch = launchpad.checkout_fw(worker, str(self.folder))
                if firework is None:
                    time.sleep(0.02)
                    continue
                time.sleep(0.01)
                launchpad.complete_launch(launch, FWAction(), "COMPLETED")
                self.done[firework.fw_id] += 1
            except BaseException as error:
                self.errors.append(error)
                return

    def busy(self) -> bool:
        """Whether a job runs, or has just ended and is not counted yet."""
        found = states(self.stores)
        running = {"RUNNING", "RESERVED"} & set(found)
        return bool(running) or sum(self.done.values()) < found["COMPLETED"]

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
        assert not self.errors, self.errors


def test_pause_holds_and_resume_lets_go_once_beside_workers(stores: Stores, tmp_path: Path) -> None:
    submit(written(tmp_path), stores)
    n = sum(states(stores).values())
    assert n == 24 * 4
    workers = Workers(stores, 3, tmp_path)
    try:
        for _ in range(3):
            time.sleep(0.4)
            summary = pause(stores, "held")
            assert summary.control == "paused"
            while workers.busy():
                time.sleep(0.02)
            before = sum(workers.done.values())
            time.sleep(0.3)
            assert sum(workers.done.values()) == before, "something started while paused"
            assert not states(stores)["READY"]
            assert "nothing to do" in str(pause(stores, "held"))
            consistent(stores)
            resume(stores, "held")
        until = time.monotonic() + 60
        while states(stores)["COMPLETED"] < n and time.monotonic() < until:
            time.sleep(0.05)
    finally:
        workers.stop()
    assert states(stores) == {"COMPLETED": n}
    assert set(workers.done.values()) == {1}
    consistent(stores)


def test_a_cap_is_kept_and_what_ends_makes_room(stores: Stores, tmp_path: Path) -> None:
    campaign = written(tmp_path, "max_open: 5")
    added = submit(campaign, stores)
    assert "19 are held back: at most 5" in str(added)
    assert states(stores) == {"READY": 5, "PAUSED": 19, "WAITING": 72}
    consistent(stores)
    # the smallest come first
    launchpad = stores.launchpad(strm_lvl="ERROR")
    order = sorted(added.members.values(), key=lambda member: member.volume)
    firework, launch = launchpad.checkout_fw(FWorker("w"), str(tmp_path))
    assert firework.name.startswith(order[0].material_id)
    launchpad.complete_launch(launch, FWAction(defuse_children=True), "COMPLETED")
    assert submit(campaign, stores).new == ()  # which also tops up
    assert states(stores)["READY"] == 5
    assert states(stores)["PAUSED"] == 18
    # a smaller cap holds what nobody began
    submit(written(tmp_path, "max_open: 2"), stores)
    assert states(stores)["READY"] == 2
    submit(written(tmp_path), stores)
    assert states(stores)["PAUSED"] == 0


def test_a_paused_campaign_that_is_submitted_stays_paused(stores: Stores, tmp_path: Path) -> None:
    submit(written(tmp_path, "max_open: 3"), stores)
    pause(stores, "held")
    other = written(tmp_path)
    changed = other.model_copy(
        update={"simulation": other.simulation.model_copy(update={"debye_waller": 0.006})}
    )
    added = submit(changed, stores)
    assert len(added.new) == 24 and "paused" in added.note
    assert not states(stores)["READY"]
    resume(stores, "held")
    assert states(stores)["READY"] == 48


def test_what_somebody_paused_with_lpad_stays_paused(stores: Stores, tmp_path: Path) -> None:
    submit(written(tmp_path), stores)
    launchpad = stores.launchpad(strm_lvl="ERROR")
    launchpad.pause_wf(1)
    pause(stores, "held")
    resume(stores, "held")
    assert launchpad.get_fw_by_id(1).state == "PAUSED"
    assert states(stores)["READY"] == 23


def begin_first(stores: Stores, campaign: str = "held", **place: Any) -> tuple[Any, Any]:
    """A running simulation of the first member, as a worker makes it."""
    member = stores.members.find_one({"campaign": campaign})
    simulation = waiting_simulation(stores, material_id=member["material_id"], of=campaign)
    stores.members.update_one(
        {"key": member["key"]}, {"$set": {"simulation": simulation.key, "outcome": "open"}}
    )
    return simulation, claim(stores, simulation.key, stage="master pattern", program="p", **place)


def test_cancel_stops_what_runs_and_can_be_taken_back(stores: Stores, tmp_path: Path) -> None:
    submit(written(tmp_path), stores)
    simulation, run = begin_first(stores)
    summary = cancel(stores, "held")
    assert (summary.defused, summary.stopped) == (24, 1)
    assert run.heartbeat() is False and run.taken_away.is_set()
    ended = stores.get(SimulationDocument, simulation.key)
    assert ended.state is State.FAILED
    assert ended.attempts[-1].failure_code == 21
    assert set(states(stores)) == {"DEFUSED"}
    consistent(stores)
    again = cancel(stores, "held")
    assert (again.defused, again.stopped, again.held) == (0, 0, 0)
    assert submit(written(tmp_path), stores).new == ()
    assert set(states(stores)) == {"DEFUSED"}
    assert resume(stores, "held").released == 24
    assert states(stores) == {"READY": 24, "WAITING": 72}
    consistent(stores)


def test_cancel_leaves_what_another_campaign_waits_for(stores: Stores, tmp_path: Path) -> None:
    submit(written(tmp_path), stores)
    submit(written(tmp_path, name="other"), stores)
    simulation, run = begin_first(stores)
    stores.members.update_one(
        {"campaign": "other"}, {"$set": {"simulation": simulation.key, "outcome": "open"}}
    )
    assert cancel(stores, "held").stopped == 0
    assert run.heartbeat() is True
    assert cancel(stores, "other").stopped == 1
    assert run.heartbeat() is False


@pytest.fixture
def scancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Jobs that a stand-in for Slurm was told to cancel."""
    folder = tmp_path / "bin"
    folder.mkdir()
    told = tmp_path / "cancelled"
    told.touch()
    (folder / "scancel").write_text(f'#!/bin/sh\necho "$@" >> {told}\n')
    (folder / "scancel").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return lambda: told.read_text().split()


def test_cancel_leaves_a_job_of_the_queue_that_does_more(
    stores: Stores, tmp_path: Path, scancelled: Callable[[], list[str]]
) -> None:
    # `ebsdsg rlaunch multi 8` runs simulations of several campaigns in one job
    submit(written(tmp_path), stores)
    submit(written(tmp_path, name="other"), stores)
    _, mine = begin_first(stores, queue_id="4711", fw_id=1)
    _, theirs = begin_first(stores, "other", queue_id="4711", fw_id=97)
    assert cancel(stores, "held").stopped == 1
    assert scancelled() == []
    assert mine.heartbeat() is False and mine.taken_away.is_set()
    assert theirs.heartbeat() is True


@pytest.mark.parametrize("called", ["4711", "4711.server"])
def test_cancel_ends_the_job_that_was_submitted_for_a_firework(
    stores: Stores, tmp_path: Path, scancelled: Callable[[], list[str]], called: str
) -> None:
    submit(written(tmp_path), stores)
    launchpad = stores.launchpad(strm_lvl="ERROR")
    firework, launch = launchpad.reserve_fw(FWorker("w"), str(tmp_path))
    launchpad.set_reservation_id(launch, 4711)
    launchpad.checkout_fw(FWorker("w"), str(tmp_path), fw_id=firework.fw_id)
    begin_first(stores, queue_id=called, fw_id=firework.fw_id)
    assert cancel(stores, "held").stopped == 1
    assert scancelled() == [called]


def test_reservations_are_cancelled_in_the_queue(
    stores: Stores, tmp_path: Path, scancelled: Callable[[], list[str]]
) -> None:
    submit(written(tmp_path), stores)
    launchpad = stores.launchpad(strm_lvl="ERROR")
    _, launch = launchpad.reserve_fw(FWorker("w"), str(tmp_path))
    launchpad.set_reservation_id(launch, 4711)
    assert pause(stores, "held").reservations == 1
    assert scancelled() == ["4711"]
    assert states(stores) == {"PAUSED": 24, "WAITING": 72}
    assert pause(stores, "held").reservations == 0
    consistent(stores)


def test_a_command_that_was_killed_in_the_middle_is_finished_by_the_next(
    stores: Stores, tmp_path: Path
) -> None:
    submit(written(tmp_path), stores)
    # killed after the fireworks were changed, before their workflows
    stores.campaigns.update_one({"key": "held"}, {"$set": {"control": "paused"}})
    stores.database["fireworks"].update_many(
        {"state": "READY", "fw_id": {"$lt": 40}}, {"$set": {"state": "PAUSED"}}
    )
    regulate(stores, "held")
    assert not states(stores)["READY"]
    consistent(stores)
    resume(stores, "held")
    assert states(stores) == {"READY": 24, "WAITING": 72}


def test_an_unknown_campaign_is_named(stores: Stores) -> None:
    for command in (pause, resume, cancel):
        with pytest.raises(ControlError, match="no campaign 'nobody'"):
            command(stores, "nobody")


def test_members_are_of_the_file_that_was_submitted_last(stores: Stores, tmp_path: Path) -> None:
    campaign = written(tmp_path)
    submit(campaign, stores)
    few = campaign.model_copy(
        update={"structures": campaign.structures.model_copy(update={"materials": ("mp-23",)})}
    )
    assert submit(few, stores).new == ()
    current = stores.members.find({"campaign": "held", "current": True})
    assert [member["material_id"] for member in current] == ["mp-23"]
    submit(campaign, stores)
    assert stores.members.count_documents({"campaign": "held", "current": True}) == 24
    key = stores.members.find_one({})["key"]
    assert stores.get(MemberDocument, key).outcome == "open"
