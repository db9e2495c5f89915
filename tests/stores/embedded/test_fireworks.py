"""FireWorks, jobflow and maggma run over the embedded server unchanged."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stores import embedded

WORKERS = 3
WORKFLOWS = 200


@pytest.fixture
def launchpad(root: Path) -> Any:
    """A LaunchPad on a server of its own."""
    from fireworks import LaunchPad

    pad = LaunchPad(
        host=embedded.ensure_running(root), uri_mode=True, name="fireworks", strm_lvl="ERROR"
    )
    pad.reset("", require_password=False, max_reset_wo_password=10_000)
    return pad


def test_200_workflows_run_exactly_once(launchpad: Any, tmp_path: Path) -> None:
    from fireworks import Firework, ScriptTask, Workflow

    done = tmp_path / "done"
    for number in range(WORKFLOWS):
        # the shell appends with O_APPEND, so concurrent lines do not overwrite each other
        task = ScriptTask.from_str(f"echo {number} >> {done}")
        launchpad.add_wf(Workflow([Firework([task], name=f"firework {number}")]))
    description = tmp_path / "launchpad.yaml"
    launchpad.to_file(str(description))
    rlaunch = Path(sys.executable).with_name("rlaunch")
    workers = []
    for number in range(WORKERS):
        folder = tmp_path / f"worker-{number}"
        folder.mkdir()
        workers.append(
            subprocess.Popen(
                [rlaunch, "-s", "-l", description, "rapidfire", "--nlaunches", "0"],
                cwd=folder,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        )
    errors = [worker.communicate(timeout=300)[1].decode() for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * WORKERS, errors
    assert Counter(map(int, done.read_text().split())) == Counter(range(WORKFLOWS))
    assert launchpad.get_fw_ids({"state": "COMPLETED"}, count_only=True) == WORKFLOWS
    assert launchpad.launches.count_documents({"state": "COMPLETED"}) == WORKFLOWS
    shares = [len(list((tmp_path / f"worker-{n}").glob("launcher_*"))) for n in range(WORKERS)]
    assert sum(shares) == WORKFLOWS


def test_chains_fizzle_and_rerun(launchpad: Any, clean_dir: Path) -> None:
    from fireworks import Firework, FWorker, ScriptTask, Workflow
    from fireworks.core.rocket_launcher import rapidfire

    parent = Firework([ScriptTask.from_str("test -e ready", {"fizzle_bad_rc": True})], fw_id=1)
    child = Firework([ScriptTask.from_str("true")], fw_id=2)
    launchpad.add_wf(Workflow([parent, child], {1: [2]}))
    rapidfire(launchpad, FWorker(), strm_lvl="CRITICAL")
    (fizzled,) = launchpad.get_fw_ids({"state": "FIZZLED"})
    assert launchpad.get_fw_ids({"state": "WAITING"}, count_only=True) == 1
    launchpad.rerun_fw(fizzled)
    launchpad.update_spec([fizzled], {"_tasks.0.script": ["true"]})
    rapidfire(launchpad, FWorker(), strm_lvl="CRITICAL")
    assert launchpad.get_fw_ids({"state": "COMPLETED"}, count_only=True) == 2
    summary = launchpad.get_wf_summary_dict(fizzled, mode="more")
    assert summary["state"] == "COMPLETED"


def test_jobflow_store_with_gridfs(root: Path) -> None:
    from jobflow import Flow, JobStore, job, run_locally
    from maggma.stores.gridfs import GridFSURIStore
    from maggma.stores.mongolike import MongoURIStore

    uri = embedded.ensure_running(root)
    store = JobStore(
        MongoURIStore(uri, collection_name="outputs", database="jobs"),
        additional_stores={"data": GridFSURIStore(uri, "blobs", database="jobs")},
    )

    @job(data="pattern")
    def simulate(seed: int) -> dict[str, Any]:
        return {"seed": seed, "pattern": np.full((256, 256), seed, dtype=float).tolist()}

    @job
    def total(first: dict[str, Any], second: dict[str, Any]) -> float:
        return float(np.sum(first["pattern"]) + np.sum(second["pattern"]))

    one, two = simulate(1), simulate(2)
    last = total(one.output, two.output)
    run_locally(Flow([one, two, last]), store=store, ensure_success=True)
    with store:
        assert store.get_output(last.uuid) == 3 * 256 * 256
        assert store.count({"output.seed": 2}) == 1


def test_maggma_builder_is_incremental(root: Path) -> None:
    from maggma.builders import MapBuilder
    from maggma.stores.mongolike import MongoURIStore

    uri = embedded.ensure_running(root)
    source, target = (
        MongoURIStore(uri, name, database="b", key="k", last_updated_field="at")
        for name in ("source", "target")
    )

    class Double(MapBuilder):  # type: ignore[misc]
        def unary_function(self, item: dict[str, Any]) -> dict[str, Any]:
            return {"double": 2 * item["n"]}

    with source:
        source.update(
            [{"k": str(i), "n": i, "at": dt.datetime(2026, 1, 1)} for i in range(20)], key="k"
        )
    Double(source, target).run()
    with source, target:
        assert target.count() == 20
        assert target.query_one({"k": "7"})["double"] == 14
        assert list(Double(source, target).get_items()) == []
