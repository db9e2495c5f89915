"""What the janitor tells a campaign of a worker that was killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ebsdsg_flows.campaign import load_campaign
from ebsdsg_flows.cluster.janitor import Janitor
from ebsdsg_flows.submit import submit
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
