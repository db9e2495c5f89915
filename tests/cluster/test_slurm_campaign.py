"""Forty structures through a real Slurm, and one of everything that goes wrong on a cluster.

``qlaunch rapidfire`` feeds the queue and ``ebsdsg janitor --service`` runs beside it, as a user
would have it; the test only does the damage and then looks.  What happens, in the words of
``docs/howto/cluster.md``: a worker hangs until its wall time, a job is cancelled, a worker is
killed with SIGKILL, the node is drained and put back, the database server is restarted.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from checkout import Checkout, wait_for
from slurm import Slurm

from stores.embedded import ensure_running, stop

pytestmark = pytest.mark.slow

N_STRUCTURES = 40
N_SLOW = 4
FAST = "{npx: 20, dmin: 0.07, energy_step: 5.0, n_electrons: 100000, mc_pixels: 51}"
SLOW = "{npx: 100, dmin: 0.05, energy_step: 1.0, n_electrons: 100000, mc_pixels: 51}"
CAMPAIGN = """
name: {name}
structures: {{source: structures.jsonl, materials: [{materials}]}}
simulation:
  parameters: {parameters}
"""
ENDED = ("completed", "failed", "timed_out")


class Story:
    """What the test does to the cluster, each thing once, as soon as it can be done."""

    def __init__(self, checkout: Checkout, slurm: Slurm, victims: dict[str, str]) -> None:
        self.checkout = checkout
        self.slurm = slurm
        self.victims = victims
        self.done: dict[str, Any] = {}

    def go_on(self) -> None:
        """Do what can be done now."""
        for what in ("hang", "cancel", "kill"):
            run = self.running(self.victims[what])
            if what not in self.done and run is not None:
                self.done[what] = run
                if what == "cancel":
                    self.slurm.call("scancel", run["queue_id"])
                elif what == "kill":
                    os.kill(run["owner"]["pid"], signal.SIGKILL)
                else:
                    # it stands still until its time is over, however fast this machine is
                    os.kill(run["owner"]["pid"], signal.SIGSTOP)
                    self.slurm.call("scontrol", "update", f"JobId={run['queue_id']}", "TimeLimit=1")
        completed = self.checkout.stores.simulations.count_documents({"state": "completed"})
        if "drain" not in self.done and completed >= 6:
            self.done["drain"] = time.monotonic()
            self.slurm.set_node("drain")
            self.submitted = self.slurm.submit("true", "--time=1")
        elif "resume" not in self.done and time.monotonic() > self.done.get("drain", 1e99) + 8:
            # what runs goes on, and nothing new begins
            assert "DRAIN" in self.slurm.node_state()
            assert self.slurm.job(self.submitted)["JobState"] == "PENDING"
            self.slurm.set_node("resume")
            self.done["resume"] = True
        if "restart" not in self.done and completed >= 16:
            self.done["restart"] = True
            stop(self.checkout.root)
            time.sleep(2)
            ensure_running(self.checkout.root)

    def running(self, material_id: str) -> dict[str, Any] | None:
        """The run of a victim that has finished an energy."""
        return self.checkout.stores.runs.find_one(
            {"material_id": material_id, "state": "running", "energies_done": {"$gte": 1}}
        )


def by_material(checkout: Checkout) -> dict[str, dict[str, Any]]:
    return {s["material_id"]: s for s in checkout.stores.simulations.find()}


def end(process: Any) -> None:
    process.terminate()
    process.wait(60)


def test_forty_structures_and_one_of_everything(
    checkout: Checkout, slurm: Slurm, small_structures: Callable[[Path, int], list[str]]
) -> None:
    materials = small_structures(checkout.folder / "structures.jsonl", N_STRUCTURES)
    slow, fast = materials[:N_SLOW], materials[N_SLOW:]
    victims = dict(zip(("hang", "cancel", "kill"), slow, strict=False))
    for name, members, parameters in (("slow", slow, SLOW), ("fast", fast, FAST)):
        text = CAMPAIGN.format(name=name, materials=", ".join(members), parameters=parameters)
        (checkout.folder / f"{name}.yaml").write_text(text)
        checkout.run("ebsdsg", "submit", f"{name}.yaml")
    # the long jobs go one by one into jobs of the queue of their own, the others many into one
    launchpad = checkout.stores.launchpad(strm_lvl="ERROR")
    long_jobs = launchpad.fireworks.update_many(
        {"name": {"$in": [f"{material} master pattern" for material in slow]}},
        {"$set": {"spec._category": "long"}},
    )
    assert long_jobs.matched_count == N_SLOW
    few = checkout.file("my_fworker.yaml+long", category="long")
    many = checkout.file("my_fworker.yaml+short", category="__none__")
    singles = checkout.file("my_qadapter.yaml+singles", walltime="00:30:00")
    rows = checkout.file(
        "my_qadapter.yaml+rows",
        walltime="00:10:00",
        rocket_launch="ebsdsg rlaunch rapidfire --fworker "
        f"{checkout.folder / many} --timeout 90 --idle 3 --least 5",
    )
    singles_rocket = f"ebsdsg rlaunch singleshot --fworker {checkout.folder / few}"
    singles = checkout.file(f"{singles}+singles", rocket_launch=singles_rocket)
    feeding = ("--nlaunches", "infinite", "--sleep", "1")

    crew = [
        checkout.start("janitor.log", "ebsdsg", "janitor", "--service", "--interval", "2"),
        checkout.start(
            "rows.log", "qlaunch", "-w", many, "-q", rows, "rapidfire", "-m", "3", *feeding
        ),
        checkout.start(
            "singles.log", "qlaunch", "-r", "-w", few, "-q", singles, "rapidfire", *feeding
        ),
    ]
    story = Story(checkout, slurm, victims)

    def everything_ended() -> bool:
        story.go_on()
        states = Counter(s["state"] for s in checkout.stores.simulations.find({}, {"state": 1}))
        return sum(states[state] for state in ENDED) == N_STRUCTURES

    try:
        wait_for("every simulation has ended", everything_ended, 600)
        wait_for("no job is left", lambda: not slurm.call("squeue", "-h").strip(), 60)
    finally:
        for process in crew:
            end(process)
    assert set(story.done) == {"hang", "cancel", "kill", "drain", "resume", "restart"}

    # without anybody looking, each is in the state that tells what happened to it
    states = by_material(checkout)
    told = {m: (s["state"], s["attempts"][-1]["failure_code"]) for m, s in states.items()}
    assert told.pop(victims["hang"]) == ("timed_out", 20)
    assert told.pop(victims["cancel"]) == ("failed", 21)
    assert set(told.values()) == {("completed", None)}, told
    killed = states[victims["kill"]]["attempts"]
    assert [attempt["state"] for attempt in killed] == ["lost", "completed"]
    for material in (victims["hang"], victims["cancel"]):
        run = checkout.stores.runs.find_one({"key": states[material]["attempts"][0]["run"]})
        assert run["queue_id"] in run["failure"]["message"] and run["energies_done"] >= 1
        assert states[material]["next_action"].startswith("rerun")
    # FireWorks says the same
    ends = launchpad.fireworks.aggregate([{"$group": {"_id": "$state", "n": {"$sum": 1}}}])
    assert {entry["_id"]: entry["n"] for entry in ends} == {"COMPLETED": 158, "FIZZLED": 2}

    # sent again with more time, the rest is completed, and nothing else is done
    sent = checkout.run("ebsdsg", "rerun", "--state", "timed_out", "--walltime", "1h")
    assert sent.startswith("1 simulations sent again, 1 jobs ready"), sent
    sent = checkout.run("ebsdsg", "rerun", "--code", "21")
    assert sent.startswith("1 simulations sent again, 1 jobs ready"), sent
    checkout.run("qlaunch", "-r", "-w", few, "-q", singles, "rapidfire", "--nlaunches", "2")
    wait_for(
        "everything is completed",
        lambda: all(s["state"] == "completed" for s in by_material(checkout).values()),
        120,
    )
    wait_for("no job is left", lambda: not slurm.call("squeue", "-h").strip(), 60)
    assert launchpad.fireworks.count_documents({"state": "COMPLETED"}) == 4 * N_STRUCTURES

    # every simulation was done exactly once
    runs = list(checkout.stores.runs.find())
    completed = Counter(run["simulation"] for run in runs if run["state"] == "completed")
    assert len(completed) == N_STRUCTURES and set(completed.values()) == {1}
    assert len(runs) == N_STRUCTURES + 3, [(r["material_id"], r["state"]) for r in runs]
    assert all(run["queue_id"] and run["fw_id"] for run in runs)
    assert checkout.stores.master_patterns.count_documents({}) == N_STRUCTURES
    for run in runs:
        assert run["state"] != "completed" or run["files"][0]["bytes"] > 0
    for material in victims.values():
        # what was finished before the end was not computed again
        attempts = by_material(checkout)[material]["attempts"]
        again = checkout.stores.runs.find_one({"key": attempts[-1]["run"]})
        whole = checkout.stores.runs.find_one({"material_id": slow[3], "state": "completed"})
        assert attempts[0]["energies_done"] >= 1
        assert again["energies_done"] == whole["energies_done"] == 11
    assert not launchpad.launches.count_documents({"state": {"$in": ["RUNNING", "RESERVED"]}})
    assert not launchpad.workflows.count_documents({"locked": True})
