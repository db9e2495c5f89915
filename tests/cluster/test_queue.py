"""Single things that happen to jobs of a real Slurm: requeue, reservation, dead controller."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from checkout import Checkout, wait_for
from slurm import Slurm

from ebsdsg_flows.cluster import job
from ebsdsg_flows.cluster import slurm as asking
from ebsdsg_flows.cluster.endings import CANCELLED

pytestmark = pytest.mark.slow

CAMPAIGN = """
name: one
structures: {{source: structures.jsonl, materials: [{material}]}}
simulation:
  parameters: {{npx: {npx}, dmin: 0.07, energy_step: 1.0, n_electrons: 50000, mc_pixels: 51}}
"""


@pytest.fixture
def one(checkout: Checkout, small_structures: Callable[[Path, int], list[str]]) -> str:
    """A structure whose master pattern is ready to be simulated for some seconds; its id."""
    (material,) = small_structures(checkout.folder / "structures.jsonl", 1)
    (checkout.folder / "one.yaml").write_text(CAMPAIGN.format(material=material, npx=150))
    checkout.run("ebsdsg", "submit", "one.yaml")
    checkout.run("ebsdsg", "rlaunch", "rapidfire", "--nlaunches", "3")
    return material


@pytest.fixture
def environment(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process can ask the private Slurm."""
    monkeypatch.setenv("SLURM_CONF", slurm.environment["SLURM_CONF"])
    monkeypatch.setenv("PATH", slurm.environment["PATH"])


def running(checkout: Checkout) -> dict[str, object] | None:
    return checkout.stores.runs.find_one({"state": "running", "energies_done": {"$gte": 1}})


def test_a_job_that_loses_its_node_is_done_again_by_itself(
    checkout: Checkout, slurm: Slurm, one: str
) -> None:
    checkout.run("qlaunch", "singleshot")
    run = wait_for("it computes", lambda: running(checkout), 120)
    slurm.set_node("down")
    try:
        wait_for(
            "it says so itself",
            lambda: checkout.stores.runs.find_one({"key": run["key"], "state": "lost"}),
            30,
        )
    finally:
        wait_for("no process", lambda: not Path(f"/proc/{run['owner']['pid']}").exists(), 30)
        slurm.set_node("resume")
    lost = checkout.stores.runs.find_one({"key": run["key"]})
    assert lost["failure"]["code"] in (22, 24), lost["failure"]
    assert "1 jobs ready again" in checkout.run("ebsdsg", "janitor")
    # Slurm starts the very same job again, after two minutes; we need not wait so long
    slurm.call("scontrol", "update", f"JobId={run['queue_id']}", "StartTime=now")
    wait_for(
        "it is completed",
        lambda: checkout.stores.simulations.find_one({"state": "completed"}),
        150,
    )
    attempts = checkout.stores.simulations.find_one()["attempts"]
    assert [attempt["state"] for attempt in attempts] == ["lost", "completed"]


def test_reservations_of_jobs_that_will_never_run_are_taken_back(
    checkout: Checkout, slurm: Slurm, one: str
) -> None:
    launchpad = checkout.stores.launchpad(strm_lvl="ERROR")
    slurm.set_node("drain")
    try:
        checkout.run("qlaunch", "-r", "singleshot")
        assert launchpad.fireworks.count_documents({"state": "RESERVED"}) == 1
        assert checkout.run("ebsdsg", "janitor").startswith("0 runs ended, 0 jobs ready again")
        assert launchpad.fireworks.count_documents({"state": "RESERVED"}) == 1, "it still waits"
        (number,) = slurm.call("squeue", "--noheader", "--format=%i").split()
        slurm.call("scancel", number)
        assert "1 reservations taken back" in checkout.run("ebsdsg", "janitor")
        assert launchpad.fireworks.count_documents({"state": "READY"}) == 1
    finally:
        slurm.set_node("resume")
    # one whose job cannot even begin would fail again and again: it is shown as failed
    broken = checkout.file("my_qadapter.yaml+broken", rocket_launch="no-such-program singleshot")
    checkout.run("qlaunch", "-r", "-q", broken, "singleshot")
    wait_for("the job has failed", lambda: not slurm.call("squeue", "--noheader").strip(), 30)
    assert "1 reservations taken back" in checkout.run("ebsdsg", "janitor")
    failed = launchpad.fireworks.find_one({"state": "FIZZLED"})
    launch = launchpad.launches.find_one({"launch_id": failed["launches"][-1]})
    assert "failed before it began" in launch["action"]["stored_data"]["_message"]
    assert "0 jobs ready again" in checkout.run("ebsdsg", "janitor")


def test_a_janitor_leaves_a_living_run_alone_whatever_its_heartbeat(
    checkout: Checkout, slurm: Slurm, one: str, environment: None
) -> None:
    from datetime import UTC, datetime, timedelta

    from ebsdsg_flows.cluster.janitor import Janitor

    checkout.run("qlaunch", "singleshot")
    run = wait_for("it computes", lambda: running(checkout), 120)
    # as after a database that was away for an hour: the heartbeat is old, its worker lives
    hour = datetime.now(UTC) - timedelta(hours=1)
    checkout.stores.runs.update_one(
        {"key": run["key"]}, {"$set": {"heartbeat": hour, "owner.host": "elsewhere"}}
    )
    launchpad = checkout.stores.launchpad(strm_lvl="ERROR")
    janitor = Janitor(checkout.stores, launchpad, watch=4.0)
    report = janitor.once()
    assert not report.runs
    assert checkout.stores.runs.find_one({"key": run["key"]})["state"] == "running"
    slurm.call("scancel", run["queue_id"])


def test_the_queue_tells_what_a_job_may_and_how_it_ended(
    slurm: Slurm, environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = slurm.submit("sleep 60", "--time=5")
    wait_for("it runs", lambda: asking.ask([number])[number].state == "RUNNING", 30)
    monkeypatch.setenv("SLURM_JOB_ID", number)
    left = job.seconds_left()
    assert left is not None and 280 < left <= 300
    assert asking.ask([number])[number].nodes == {slurm.node}
    assert asking.cause(number) is None
    slurm.call("scancel", number)
    wait_for("it is over", lambda: asking.ask([number])[number].over, 30)
    assert asking.cause(number) == CANCELLED
    assert asking.ask(["999999", "1.server"]) == {}


def test_qlaunch_works_from_elsewhere_with_the_files_of_a_folder(
    checkout: Checkout, slurm: Slurm, one: str, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    checkout.run("ebsdsg", "db", "launchpad", str(checkout.folder / "my_launchpad.yaml"))
    checkout.environment["EBSDSG_ROOT"] = str(checkout.root)
    checkout.run("qlaunch", "-c", str(checkout.folder), "rapidfire", cwd=elsewhere)
    wait_for(
        "it is completed",
        lambda: checkout.stores.simulations.find_one({"state": "completed"}),
        150,
    )
    assert list(elsewhere.glob("block_*/launcher_*/FW.json"))


def test_the_doctor_names_what_is_wrong_with_a_queue(checkout: Checkout, slurm: Slurm) -> None:
    def faults() -> list[str]:
        done = subprocess.run(
            [sys.executable, "-m", "ebsdsg_flows", "doctor", "--json"],
            cwd=checkout.folder,
            env=checkout.environment,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        found = [f for f in json.loads(done.stdout) if f["verdict"] == "fault"]
        assert done.returncode == (1 if found else 0)
        return [f["what"] for f in found if f["check"] == "queue"]

    assert faults() == []
    path = checkout.folder / "my_qadapter.yaml"
    text = path.read_text()
    path.write_text(text.replace("queue: null", "queue: night"))
    assert "no partition 'night'; it has: debug" in faults()[0]
    path.write_text(text)
    dead = checkout.folder / "slurm.conf"
    conf = (slurm.folder / "slurm.conf").read_text().splitlines()
    ports = [line for line in conf if not line.startswith("SlurmctldPort=")]
    dead.write_text("\n".join([*ports, "SlurmctldPort=9"]) + "\n")
    checkout.environment["SLURM_CONF"] = str(dead)
    begun = time.monotonic()
    assert "controller does not answer" in faults()[0]
    assert time.monotonic() - begun < 60
