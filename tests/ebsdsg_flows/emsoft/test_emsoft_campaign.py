"""Twenty structures, three workers, and one of everything that goes wrong on a cluster."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import pytest

from ebsdsg_flows.campaign import load_campaign
from ebsdsg_flows.story import structure_story
from ebsdsg_flows.submit import submit
from stores.collections import Stores

MATERIALS = [
    *("mp-1487", "mp-2658", "mp-2593", "mp-1418", "mp-2258", "mp-729", "mp-1275", "mp-2567"),
    *("mp-23", "mp-134", "mp-30", "mp-631", "mp-910", "mp-1086", "mp-1265", "mp-66", "mp-149"),
    *("mp-32", "mp-13", "mp-91"),
]
CAMPAIGN = f"""
name: cluster
structures: {{source: demo, materials: [{", ".join(MATERIALS)}]}}
simulation:
  engine: emsoft
  parameters: {{npx: 5, dmin: 0.1, n_electrons: 224999, mc_pixels: 51, max_scatterings: 300}}
"""
ORDERS = {
    "EMEBSDmaster AlFe.xtal": {"do": "crash", "energy": 4},
    "EMEBSDmaster AlNi3.xtal": {"do": "slow", "energy": 6, "once": True},
    "EMEBSDmaster FeNi3.xtal": {"do": "hang in energy", "energy": 8},
    "EMEBSDmaster Cu3Au.xtal": {"do": "ignore SIGTERM and wait", "energy": 9, "once": True},
    "EMEBSDmaster Cr3Si.xtal": {"do": "corrupt", "energy": 3, "how": "NaN"},
    "EMMCOpenCL SiMo3.xtal": {"do": "no GPU"},
    "EMEBSDmaster V3Si.xtal": {"do": "disk full", "energy": 5},
    "EMEBSDmaster Al.xtal": {"do": "slow", "energy": 7, "once": True},
}
EXPECTED = {
    "mp-2658": ("failed", 145, 7),
    "mp-2593": ("timed_out", 150, 5),
    "mp-1418": ("failed", 152, 3),
    "mp-2258": ("timed_out", 150, 2),
    "mp-729": ("failed", 161, 11),
    "mp-1275": ("failed", 111, 0),
    "mp-2567": ("failed", 140, 6),
}
"""State, failure code and energies done of those that end badly."""
KILLED = "mp-134"


def processes(text: str) -> list[str]:
    """Command lines that hold a text."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if text in command:
                found.append(command)
    return found


def wait_for(condition: Callable[[], object], seconds: float) -> object:
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.1)
    return found


@pytest.fixture
def cluster(
    stores: Stores, root: Path, tmp_path: Path, emsoft: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Settings of the workers; returns the file with the orders."""
    orders = tmp_path / "orders.json"
    orders.write_text(json.dumps(ORDERS))
    for name, value in (
        ("EMSOFT_STAND_IN", orders),
        ("EBSDSG_EMSOFT_PATH", emsoft),
        ("EBSDSG_EMSOFT_WALLTIME", 16 / 3600),
        ("EBSDSG_EMSOFT_STALL", 7),
        ("EBSDSG_EMSOFT_GRACE", 1),
        ("EBSDSG_WORKERS", 3),
    ):
        monkeypatch.setenv(name, str(value))
    return orders


def bins_of(log: Path) -> list[int]:
    """Energy bins that a run of EMEBSDmaster stored."""
    text = log.read_text(errors="replace")
    started = [int(n) for n in re.findall(r"reverse order\)\s+(\d+) of", text)]
    return started[: text.count("data stored in file")]


@pytest.mark.slow
def test_a_campaign_in_which_everything_goes_wrong(
    stores: Stores,
    root: Path,
    tmp_path: Path,
    emsoft: Path,
    cluster: Path,
    ebsdsg: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    (tmp_path / "cluster.yaml").write_text(CAMPAIGN)
    assert len(submit(load_campaign(tmp_path / "cluster.yaml"), stores).new) == 20
    worker_log = (tmp_path / "run.log").open("wb")
    running = subprocess.Popen(
        [sys.executable, "-m", "ebsdsg_flows", "run", "-n", "3", "-q"],
        cwd=tmp_path,
        stdout=worker_log,
        stderr=subprocess.STDOUT,
    )
    victim = wait_for(
        lambda: stores.runs.find_one(
            {"material_id": KILLED, "state": "running", "energies_done": 4}
        ),
        240,
    )
    os.kill(victim["owner"]["pid"], signal.SIGKILL)  # type: ignore[index]
    running.wait(400)
    shown = (tmp_path / "run.log").read_text()
    assert running.returncode == 1 and "7 failed" in shown, shown
    assert not processes(str(emsoft / "bin")), "a program survived"

    # the database tells what happened to each
    states = {s["material_id"]: s for s in stores.simulations.find()}
    assert len(states) == 20
    for material, (state, code, done) in EXPECTED.items():
        simulation = states[material]
        last = simulation["attempts"][-1]
        told = (simulation["state"], last["failure_code"], last["energies_done"])
        assert told == (state, code, done), (material, told, last["reason"])
        run = stores.runs.find_one({"key": last["run"]})
        assert run["failure"]["message"] and run["failure"]["code"] == code
        assert simulation["next_action"]
    runs = {r["material_id"]: r for r in stores.runs.find({"state": {"$ne": "lost"}})}
    assert runs["mp-1275"]["stage"] == "monte carlo" and runs["mp-1275"]["program"] == "EMMCOpenCL"
    assert runs["mp-2658"]["exit_code"] == -signal.SIGSEGV
    assert "SIGSEGV" in runs["mp-2658"]["failure"]["log_tail"]
    assert "ignored SIGTERM" in runs["mp-2258"]["failure"]["message"]
    assert "not finite" in runs["mp-729"]["failure"]["message"]
    completed = [m for m, s in states.items() if s["state"] == "completed"]
    assert sorted(completed) == sorted(set(MATERIALS) - set(EXPECTED))
    killed = states[KILLED]["attempts"]
    assert [a["state"] for a in killed] == ["lost", "completed"]
    assert all(len(states[m]["attempts"]) == 1 for m in MATERIALS if m != KILLED)

    # the questions of the how-to are answered
    page = (Path(__file__).parents[3] / "docs" / "howto" / "emsoft.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", page, re.S)
    names: dict[str, object] = {}
    exec(compile(block, "emsoft.md", "exec"), names)
    late = names["late"]
    assert [(e["material_id"], e["energies_done"]) for e in late] == [  # type: ignore[attr-defined]
        ("mp-2593", 5),
        ("mp-2258", 2),
    ]
    codes = {e["code"]: e["count"] for e in names["kinds"]}  # type: ignore[attr-defined]
    assert codes == {150: 2, 0: 1, 145: 1, 152: 1, 161: 1, 111: 1, 140: 1}
    assert len(names["slow"]) == 10  # type: ignore[arg-type]
    assert len(names["here"]) == 21  # type: ignore[arg-type]
    about = names["about"]
    assert about["structure"]["formula"] == "AlNi3"  # type: ignore[index]
    assert [r["state"] for r in about["runs"]] == ["timed_out"]  # type: ignore[index]

    # the stories of one that ran out of time and of one that failed
    story = structure_story(stores, "mp-2593")
    assert "timed_out, 5 of 11 energies, stage master pattern\n" in story
    assert "\n    failure 150 (" in story and "\n  next: " in story
    assert "master pattern master_patterns/" not in story
    story = structure_story(stores, "mp-2658")
    assert "failed, 7 of 11 energies" in story and "\n    failure 145 (" in story
    story = structure_story(stores, KILLED)
    assert "\n  attempt 1: master pattern by EMEBSDmaster on " in story
    assert ": lost" in story and "\n  attempt 2: master pattern by EMEBSDmaster on " in story
    told = json.loads(ebsdsg("status", "--json").stdout)
    assert told["by_state"] == {"completed": 13, "failed": 5, "timed_out": 2}
    assert told["per_hour"] > 0 and told["left"] == 0 and told["expected_end"] is None
    assert {e["code"]: e["count"] for e in told["failures"]} == codes

    # more time finishes those that ran out of it
    sent = ebsdsg("rerun", "--state", "timed_out", "--walltime", "24h")
    assert sent.returncode == 0 and "2 simulations sent again, 2 jobs ready" in sent.stdout, sent
    again = ebsdsg("run", "-n", "2", "-q", timeout=300)
    assert "2 jobs done" in again.stdout, again
    for material in ("mp-2593", "mp-2258", KILLED):
        simulation = stores.simulations.find_one({"material_id": material})
        assert simulation["state"] == "completed", simulation["attempts"]
        folder = root / "emsoft" / "simulations" / simulation["key"][:2] / simulation["key"]
        logs = sorted(folder.glob("*/EMEBSDmaster.log"), key=lambda p: p.stat().st_mtime)
        stored = [bins_of(log) for log in logs]
        # no energy and no Monte Carlo was computed twice
        assert len(stored) == 2 and sorted(chain(*stored)) == list(range(1, 12)), stored
        assert len(list(folder.glob("*/EMMCOpenCL.log"))) == 1
        assert simulation["attempts"][-1]["walltime"] == (None if material == KILLED else 86400)
        assert not list(folder.glob("*/data"))
    assert not processes(str(emsoft / "bin"))
    assert stores.runs.count_documents({}) == 23
    story = structure_story(stores, "mp-2593")
    lines = [line for line in story.splitlines() if line.startswith("  attempt ")]
    assert [line.split(": ")[2].split(",")[0] for line in lines] == ["timed_out", "completed"]
    assert "\n    file master_patterns/" in story and "  next:" not in story
    assert submit(load_campaign(tmp_path / "cluster.yaml"), stores).new == ()

    # what a rule gives up is not sent again unasked; what may work is
    sent = ebsdsg("rerun", "--code", "111")
    assert "1 simulations sent again" in sent.stdout
    patterns = list(stores.master_patterns.find())
    assert len(patterns) == 15
    for pattern in patterns:
        assert (root / pattern["file"]["path"]).stat().st_size == pattern["file"]["bytes"]
        assert len(pattern["beams"]) == 11 and pattern["engine"]["name"] == "emsoft"


@pytest.mark.slow
@pytest.mark.parametrize("queue", [False, True], ids=["by hand", "by the queue"])
def test_a_worker_asked_to_end_says_so_before_it_goes(
    queue: bool,
    stores: Stores,
    root: Path,
    tmp_path: Path,
    emsoft: Path,
    cluster: Path,
    monkeypatch: pytest.MonkeyPatch,
    ebsdsg: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    if queue:
        monkeypatch.setenv("SLURM_JOB_ID", "4711")
    text = CAMPAIGN.replace(", ".join(MATERIALS), KILLED)
    (tmp_path / "one.yaml").write_text(text)
    submit(load_campaign(tmp_path / "one.yaml"), stores)
    running = subprocess.Popen(
        [sys.executable, "-m", "ebsdsg_flows", "run", "-n", "1", "-q"],
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
    )
    wait_for(lambda: stores.runs.find_one({"state": "running", "energies_done": 4}), 120)
    running.send_signal(signal.SIGTERM)
    assert running.wait(60) == 130
    (simulation,) = stores.simulations.find()
    assert simulation["state"] == "timed_out" and simulation["energies_done"] == 4
    run = stores.runs.find_one()
    assert run["failure"]["code"] == 151 and run["queue_id"] == ("4711" if queue else None)
    assert not processes(str(emsoft / "bin"))
    if queue:
        # the firework has failed with it; without a queue its worker is gone and it goes on
        assert stores.launchpad().fireworks.count_documents({"state": "FIZZLED"}) == 1
        sent = ebsdsg("rerun", "--state", "timed_out").stdout
        assert sent.startswith("1 simulations sent again, 1 jobs ready")
        (simulation,) = stores.simulations.find()
        assert simulation["state"] == "waiting" and len(simulation["attempts"]) == 2
        return
    assert ebsdsg("run", "-n", "1", "-q").returncode == 0
    (simulation,) = stores.simulations.find()
    assert simulation["state"] == "completed" and len(simulation["attempts"]) == 2
    logs = sorted(root.glob("emsoft/simulations/*/*/*/EMEBSDmaster.log"))
    assert sorted(chain(*map(bins_of, logs))) == list(range(1, 12))
