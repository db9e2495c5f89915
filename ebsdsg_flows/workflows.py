"""From jobflow flows to FireWorks workflows whose jobs find their store where they run.

jobflow's own Firetask falls back to a store in memory when no ``JOBFLOW_CONFIG_FILE`` is set, and
outputs then vanish between processes.  Ours takes the store from this package's settings on the
worker, so that no address or password ever enters a launchpad.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from contextlib import redirect_stderr
from io import StringIO
from typing import TYPE_CHECKING, Any

from fireworks import explicit_serialize
from jobflow.managers.fireworks import JobFiretask, flow_to_workflow

BATCH = 1000

PATIENCE = 10.0
"""Seconds within which another submission must have added the fireworks of its workflows."""

if TYPE_CHECKING:
    from fireworks import FWAction, LaunchPad, Workflow
    from jobflow import Flow, Job

    from stores.connect import Stores


def use_configured_jobstore(stores: Stores) -> None:
    """Make the settings' database the job store of this process.

    A job store that the user configured for jobflow itself (``JOBFLOW_CONFIG_FILE``) wins.

    Parameters
    ----------
    stores : open connection.
    """
    import jobflow

    if "JOBFLOW_CONFIG_FILE" not in os.environ:
        jobflow.SETTINGS.JOB_STORE = stores.jobstore()


@explicit_serialize
class EbsdJobFiretask(JobFiretask):
    """Runs one job with the job store of the worker's settings."""

    def run_task(self, fw_spec: dict[str, Any]) -> FWAction:
        """Run the job; see :class:`jobflow.managers.fireworks.JobFiretask`."""
        from ebsdsg_flows.cluster.launches import working_on
        from ebsdsg_flows.session import open_stores

        use_configured_jobstore(open_stores())
        with working_on(getattr(self, "launchpad", None), getattr(self, "fw_id", None)):
            return super().run_task(fw_spec)


def to_workflow(flow: Flow | Job, metadata: dict[str, Any]) -> Workflow:
    """Convert a flow to a workflow of :class:`EbsdJobFiretask`.

    Parameters
    ----------
    flow : what to run.
    metadata : stored on the workflow; small, JSON types only.

    Returns
    -------
    Workflow ready for :meth:`fireworks.LaunchPad.add_wf`.
    """
    workflow = flow_to_workflow(flow, metadata=metadata)
    for firework in workflow.fws:
        firework.tasks = [EbsdJobFiretask(task) for task in firework.tasks]
        firework.spec["_tasks"] = [task.to_dict() for task in firework.tasks]
    return workflow


def prepare(launchpad: LaunchPad) -> None:
    """Make FireWorks' counters and indexes, if this database has none yet.

    FireWorks itself makes them only in ``lpad reset``, which would erase what is there.

    Parameters
    ----------
    launchpad : on the database; calling this at once from several processes is safe.
    """
    if launchpad.fw_id_assigner.find_one({}) is None:
        # a fixed _id, so that of two processes that get here together only one can insert
        launchpad.fw_id_assigner.update_one(
            {"_id": "counters"},
            {"$setOnInsert": {"next_fw_id": 1, "next_launch_id": 1}},
            upsert=True,
        )
        launchpad.tuneup(bkground=False)
    if "metadata.held" not in str(launchpad.workflows.index_information()):
        for name in ("member", "learning", "campaign", "held"):
            launchpad.workflows.create_index(f"metadata.{name}")


def add_workflows(launchpad: LaunchPad, workflows: Sequence[Workflow]) -> list[int]:
    """Add workflows in one bulk insert.

    Returns
    -------
    Identifiers of the first firework of each workflow.
    """
    if not workflows:
        return []
    prepare(launchpad)
    with redirect_stderr(StringIO()):  # FireWorks draws a progress bar of its own
        launchpad.bulk_add_wfs(list(workflows))
    return [workflow.fws[0].fw_id for workflow in workflows]


def known_members(launchpad: LaunchPad, members: Iterable[str], campaign: str) -> dict[str, bool]:
    """Members of a campaign that need no new workflow.

    Parameters
    ----------
    launchpad : where the workflows are.
    members : member hashes.
    campaign : name.

    Returns
    -------
    Hashes of the members that have a workflow of this campaign, or a completed one of any, to
    whether it is completed.  A workflow some of whose fireworks are missing, because its submission
    was killed in the middle, is removed and does not count.
    """
    found: dict[str, bool] = {}
    wanted = list(members)
    for first in range(0, len(wanted), BATCH):
        part = wanted[first : first + BATCH]
        fields = {"metadata.member": 1, "metadata.campaign": 1, "state": 1, "nodes": 1}
        entries = [
            entry
            for entry in launchpad.workflows.find({"metadata.member": {"$in": part}}, fields)
            if entry["metadata"]["campaign"] == campaign or entry["state"] == "COMPLETED"
        ]
        broken = _without_fireworks(launchpad, entries)
        for entry in entries:
            if entry["_id"] not in broken:
                member = entry["metadata"]["member"]
                found[member] = found.get(member, False) or entry["state"] == "COMPLETED"
    return found


def _without_fireworks(launchpad: LaunchPad, entries: Sequence[dict[str, Any]]) -> set[Any]:
    """Identifiers of the workflows whose fireworks are not all there; these are removed.

    FireWorks inserts the workflows of a bulk before their fireworks, so what is being submitted
    at this moment looks the same: only what stays without them for some seconds is taken for what
    a killed submission left.
    """
    until = time.monotonic() + PATIENCE
    while True:
        nodes = [node for entry in entries for node in entry["nodes"]]
        there = {
            firework["fw_id"]
            for firework in launchpad.fireworks.find({"fw_id": {"$in": nodes}}, {"fw_id": 1})
        }
        broken = [entry for entry in entries if not there.issuperset(entry["nodes"])]
        if not broken or time.monotonic() > until:
            break
        time.sleep(0.5)
    for entry in broken:
        launchpad.workflows.delete_one({"_id": entry["_id"]})
        launchpad.fireworks.delete_many({"fw_id": {"$in": entry["nodes"]}})
    return {entry["_id"] for entry in broken}
