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


def test_workflows_are_listed_by_time(launchpad: Any) -> None:
    from fireworks import Firework, ScriptTask, Workflow

    for day in (2, 3, 1):
        firework = Firework([ScriptTask.from_str("true")], fw_id=-day)
        launchpad.add_wf(Workflow([firework], created_on=dt.datetime(2026, 1, day), name=str(day)))
        # some versions of FireWorks write dates, others strings; both are in one collection
        if day == 3:
            launchpad.workflows.update_one(
                {"name": "3"}, {"$set": {"created_on": "2026-01-03T00:00:00.123456"}}
            )

    def days(**query: Any) -> list[str]:
        numbers = launchpad.get_wf_ids(**query)
        return [launchpad.workflows.find_one({"nodes": n})["name"] for n in numbers]

    assert days(sort=[("created_on", -1)]) == ["3", "2", "1"]
    assert days(sort=[("created_on", 1)], limit=2) == ["1", "2"]
    assert len(launchpad.get_fw_ids(sort=[("updated_on", -1)])) == 3
    assert launchpad.get_fw_ids_in_wfs({"name": "2"}, {"state": "READY"}, count_only=True) == 1


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


def test_maggma_joins_and_groups_collections(root: Path) -> None:
    from maggma.stores.compound_stores import JointStore

    for at_root in (True, False):
        store = JointStore(
            "joint",
            ["first", "second"],
            host=embedded.ensure_running(root),
            key="k",
            last_updated_field="at",
            merge_at_root=at_root,
        )
        store.connect()
        days = [dt.datetime(2026, 1, day) for day in (1, 2, 3)]
        if at_root:
            database = store._collection.database
            database["first"].insert_many([{"k": k, "n": 1, "at": days[k]} for k in (0, 1)])
            database["second"].insert_one({"k": 0, "m": 2, "at": days[2]})
        joined, alone = store.query(properties=["k", "m", "second.m", "at"])
        assert joined["at"] == (days[0] if at_root else days[2])
        assert (joined["m"] if at_root else joined["second"]["m"]) == 2
        assert alone["k"] == 1 and "m" not in alone and not alone.get("second")
        assert store.count({"n": 1}) == 2
        ((group, members),) = store.groupby("n", criteria={"n": 1})
        assert group == {"n": 1} and len(members) == 2
        store.close()
