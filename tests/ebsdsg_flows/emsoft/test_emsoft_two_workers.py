"""EMsoft's Monte Carlo by a worker with a GPU, its master patterns by one with many cores."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from itertools import chain
from pathlib import Path

import pytest

from ebsdsg_flows.campaign import load_campaign
from ebsdsg_flows.cluster.janitor import Janitor
from ebsdsg_flows.cluster.launch import rapidfire
from ebsdsg_flows.overview import overview
from ebsdsg_flows.rerun import queue_walltime, rerun
from ebsdsg_flows.settings import get_settings
from ebsdsg_flows.submit import submit
from stores.collections import Stores

CAMPAIGN = """
name: two
structures: {{source: demo, materials: [{materials}]}}
simulation:
  engine: emsoft
  engine_options: {{crystal_file: direct}}
  parameters: {{npx: 5, dmin: 0.1, n_electrons: 224999, mc_pixels: 51, max_scatterings: 300}}
resources:
  structure: {{category: cpu}}
  monte_carlo: {{category: gpu}}
  master_pattern: {{category: cpu}}
"""
SLOW_MONTE_CARLO, SLOW_PATTERN, USUAL = "mp-2593", "mp-134", "mp-23"
ORDERS = {
    "EMMCOpenCL AlNi3.xtal": {"do": "slow", "once": True},
    "EMEBSDmaster Al.xtal": {"do": "slow", "energy": 6, "once": True},
}
KILLED = """
import os, signal, sys
from pathlib import Path
import stores.runs
from ebsdsg_flows.cluster.launch import rapidfire

settle = stores.runs.settle

def die(*arguments, **options):
    if sys.argv[1] == "FireWorks":
        settle(*arguments, **options)
    os.kill(os.getpid(), signal.SIGKILL)

stores.runs.settle = die
rapidfire(Path(sys.argv[2]), idle=1)
"""
"""A worker that is killed when its run has ended, before the simulation or FireWorks knows."""


@pytest.fixture
def workers(
    root: Path, tmp_path: Path, emsoft: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], int]:
    """Let the worker of a category run what is ready for it, in this process."""
    (tmp_path / "orders.json").write_text(json.dumps(ORDERS))
    for name, value in (
        ("EMSOFT_STAND_IN", tmp_path / "orders.json"),
        ("EBSDSG_EMSOFT_PATH", emsoft),
        ("EBSDSG_EMSOFT_WALLTIME", 20 / 3600),
        ("EBSDSG_EMSOFT_GRACE", 1),
    ):
        monkeypatch.setenv(name, str(value))
    get_settings.cache_clear()
    for category in ("cpu", "gpu"):
        (tmp_path / f"{category}.yaml").write_text(
            f"name: {category}\ncategory: {category}\nquery: '{{}}'\n"
        )
    monkeypatch.chdir(tmp_path)
    return lambda category: rapidfire(tmp_path / f"{category}.yaml", least=0, idle=0.1)


def submitted(stores: Stores, folder: Path, *materials: str) -> None:
    path = folder / "two.yaml"
    path.write_text(CAMPAIGN.format(materials=", ".join(materials)))
    assert len(submit(load_campaign(path), stores).new) == len(materials)


def logs(root: Path, stores: Stores, material: str, program: str) -> list[str]:
    """Output of all runs of a program for a structure, oldest first."""
    key = stores.simulations.find_one({"material_id": material})["key"]
    folder = root / "emsoft" / "simulations" / key[:2] / key
    found = sorted(folder.glob(f"*/{program}.log"), key=lambda path: path.stat().st_mtime)
    return [path.read_text(errors="replace") for path in found]


def stored(log: str) -> list[int]:
    """Energy bins that a run of EMEBSDmaster stored."""
    started = [int(n) for n in re.findall(r"reverse order\)\s+(\d+) of", log)]
    return started[: log.count("data stored in file")]


@pytest.mark.slow
def test_each_worker_takes_its_stage_and_each_stage_can_run_out_of_time(
    stores: Stores, root: Path, tmp_path: Path, workers: Callable[[str], int]
) -> None:
    submitted(stores, tmp_path, SLOW_MONTE_CARLO, SLOW_PATTERN, USUAL)
    assert workers("gpu") == 0
    assert workers("cpu") == 9
    assert stores.simulations.count_documents({}) == 0

    assert workers("gpu") == 3
    found = {s["material_id"]: s for s in stores.simulations.find()}
    for material in (SLOW_PATTERN, USUAL):
        simulation = found[material]
        assert (simulation["state"], simulation["stage"]) == ("waiting", "master pattern")
        assert simulation["claim"] is None and simulation["energies_done"] == 0
        assert [a["state"] for a in simulation["attempts"]] == ["waiting"]
        run = stores.runs.find_one({"material_id": material})
        assert (run["state"], run["next_stage"]) == ("completed", "master pattern")
        assert (run["program"], run["gpu"]) == ("EMMCOpenCL", "OpenCL 1/1")
        assert not logs(root, stores, material, "EMEBSDmaster")
    late = found[SLOW_MONTE_CARLO]
    last = late["attempts"][-1]
    assert (late["state"], late["stage"], last["failure_code"]) == ("timed_out", "monte carlo", 150)
    assert stores.master_patterns.count_documents({}) == 0
    told = overview(stores, stores.campaigns.find_one({"key": "two"}))
    stages = {(e["stage"], e["state"]): e["count"] for e in told["by_stage"]}
    assert stages == {("master pattern", "waiting"): 2, ("monte carlo", "timed_out"): 1}
    assert told["per_hour"] is None and told["left"] == 2

    assert workers("cpu") == 2
    states = {s["material_id"]: s["state"] for s in stores.simulations.find()}
    assert states == {
        **{USUAL: "completed", SLOW_PATTERN: "timed_out", SLOW_MONTE_CARLO: "timed_out"}
    }
    found = {s["material_id"]: s for s in stores.simulations.find()}
    assert [a["state"] for a in found[USUAL]["attempts"]] == ["completed"]
    assert found[SLOW_PATTERN]["energies_done"] == 5
    assert stores.members.count_documents({"outcome": "ended"}) == 3

    sent = rerun(stores, stores.launchpad(strm_lvl="ERROR"), states=("timed_out",), walltime=86400)
    asked = stores.database["fireworks"].distinct("spec._queueadapter.walltime")
    assert asked == [queue_walltime(86400)] == ["26:34:00"]
    assert (len(sent.simulations), sent.fireworks) == (2, 2)
    assert stores.members.count_documents({"outcome": "open"}) == 2
    assert workers("cpu") == 1  # the Monte Carlo of the other is not there yet
    assert workers("gpu") == 1
    assert workers("cpu") == 1
    assert stores.simulations.count_documents({"state": "completed"}) == 3
    assert stores.members.count_documents({"outcome": "ended"}) == 3
    states_of = stores.launchpad().fireworks.distinct("state")
    assert states_of == ["COMPLETED"]
    runs = {
        material: [(r["stage"], r["state"]) for r in stores.runs.find({"material_id": material})]
        for material in (SLOW_MONTE_CARLO, SLOW_PATTERN, USUAL)
    }
    done = [("monte carlo", "completed"), ("master pattern", "completed")]
    assert runs == {
        SLOW_MONTE_CARLO: [("monte carlo", "timed_out"), *done],
        SLOW_PATTERN: [done[0], ("master pattern", "timed_out"), done[1]],
        USUAL: done,
    }
    # nothing was computed twice
    for material, monte_carlos in ((SLOW_MONTE_CARLO, 2), (SLOW_PATTERN, 1), (USUAL, 1)):
        assert len(logs(root, stores, material, "EMMCOpenCL")) == monte_carlos
        energies = [stored(log) for log in logs(root, stores, material, "EMEBSDmaster")]
        assert sorted(chain(*energies)) == list(range(1, 12)), energies
    assert not list(root.glob("emsoft/simulations/*/*/*/data"))


@pytest.mark.slow
def test_a_worker_killed_between_the_stages_loses_nothing(
    stores: Stores, root: Path, tmp_path: Path, workers: Callable[[str], int]
) -> None:
    submitted(stores, tmp_path, USUAL, SLOW_PATTERN)
    (tmp_path / "orders.json").write_text("{}")
    assert workers("cpu") == 6
    janitor = Janitor(stores, stores.launchpad(strm_lvl="ERROR"), stale=timedelta(minutes=5))
    for number, unaware in enumerate(("simulation", "FireWorks"), 1):
        killed = subprocess.run(
            [sys.executable, "-c", KILLED, unaware, str(tmp_path / "gpu.yaml")],
            cwd=tmp_path,
            check=False,
            capture_output=True,
            timeout=240,
        )
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        runs = list(stores.runs.find())
        assert [r["state"] for r in runs] == ["completed"] * number
        last = stores.simulations.find_one({"key": runs[-1]["simulation"]})
        assert last["state"] == ("running" if unaware == "simulation" else "waiting")

        report = janitor.round()
        assert (report.runs, report.ready, report.failed) == ([], 1, 0)
        last = stores.simulations.find_one({"key": runs[-1]["simulation"]})
        assert (last["state"], last["stage"]) == ("waiting", "master pattern")
        assert last["claim"] is None and [a["state"] for a in last["attempts"]] == ["waiting"]
        # the other structure's turn
        stores.database["fireworks"].update_many(
            {"name": f"{last['material_id']} monte carlo"}, {"$set": {"state": "PAUSED"}}
        )
    stores.database["fireworks"].update_many({"state": "PAUSED"}, {"$set": {"state": "READY"}})
    assert workers("gpu") == 2
    assert workers("cpu") == 2
    assert stores.simulations.count_documents({"state": "completed"}) == 2
    for material in (USUAL, SLOW_PATTERN):
        assert len(logs(root, stores, material, "EMMCOpenCL")) == 1
        simulation = stores.simulations.find_one({"material_id": material})
        assert len(simulation["attempts"]) == 1
