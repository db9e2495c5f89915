"""From jobflow flows to FireWorks workflows whose jobs find their store where they run.

jobflow's own Firetask falls back to a store in memory when no ``JOBFLOW_CONFIG_FILE`` is set, and
outputs then vanish between processes.  Ours takes the store from this package's settings on the
worker, so that no address or password ever enters a launchpad.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import redirect_stderr
from io import StringIO
from typing import TYPE_CHECKING, Any

from fireworks import explicit_serialize
from jobflow.managers.fireworks import JobFiretask, flow_to_workflow

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
        for name in ("member", "learning"):
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


def known_members(launchpad: LaunchPad, members: Iterable[str], campaign: str) -> set[str]:
    """Members of a campaign that need no new workflow.

    Parameters
    ----------
    launchpad : where the workflows are.
    members : member hashes.
    campaign : name.

    Returns
    -------
    Hashes of the members that have a workflow of this campaign, or a completed one of any.
    """
    found = launchpad.workflows.find(
        {
            "metadata.member": {"$in": list(members)},
            "$or": [{"metadata.campaign": campaign}, {"state": "COMPLETED"}],
        },
        {"metadata.member": 1},
    )
    return {entry["metadata"]["member"] for entry in found}
