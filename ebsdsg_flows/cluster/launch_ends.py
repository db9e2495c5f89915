"""Fireworks whose worker is gone: how their launches end, and who is told."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ebsdsg_flows.cluster import slurm
from ebsdsg_flows.cluster.endings import ASKED
from ebsdsg_flows.cluster.launches import worker_of
from ebsdsg_flows.engines.emsoft.failures import QUEUE_ENDED
from stores.documents import MemberDocument
from stores.states import ENDED_BADLY, State

if TYPE_CHECKING:
    from fireworks import LaunchPad

    from stores.collections import Stores

ASKED_CODES = (ASKED.code, QUEUE_ENDED.code)

LOCK_SECONDS = 10.0
"""Time for which a living worker may hold the lock of its workflow; an update takes less."""


class LaunchEnds:
    """Ends launches in the place of workers that cannot.

    Parameters
    ----------
    stores : open database.
    launchpad : on the same database.
    """

    def __init__(self, stores: Stores, launchpad: LaunchPad) -> None:
        self.stores = stores
        self.launchpad = launchpad

    def fizzle(self, launch: Mapping[str, Any], reason: str) -> int:
        """End a launch; 1 if its simulation has ended badly and its firework stays so."""
        if not self._is_still(launch, "RUNNING"):
            return 0  # it ended while the queue was asked, and only then its process
        fw_id = launch["fw_id"]
        key = self._simulation_of(fw_id)
        worker = worker_of(launch)
        stays = self.state_of(key) in ENDED_BADLY
        if worker is not None and worker.queue_id is None and self._was_asked(key):
            stays = False  # a person stopped `ebsdsg run`; called again, it goes on from here
        self.break_lock(fw_id)
        self._complete(launch, reason, {"simulation": key if stays else None, "lost": reason})
        if stays:
            self._tell_campaign(fw_id)
        return int(stays)

    def _is_still(self, launch: Mapping[str, Any], state: str) -> bool:
        """Whether a launch that was found dead is in that state; nobody changes it any more."""
        asked = {"launch_id": launch["launch_id"], "state": state}
        return self.launchpad.launches.find_one(asked, {"_id": 1}) is not None

    def break_lock(self, fw_id: int) -> None:
        """Open the lock that a worker killed inside an update of its workflow left behind."""
        locked = {"nodes": fw_id, "locked": {"$exists": True}}
        until = time.monotonic() + LOCK_SECONDS
        while self.launchpad.workflows.find_one(locked, {"_id": 1}) is not None:
            if time.monotonic() > until:
                self.launchpad.workflows.update_many(locked, {"$unset": {"locked": True}})
                return
            time.sleep(0.1)

    def _complete(self, launch: Mapping[str, Any], reason: str, details: dict[str, Any]) -> None:
        """End a launch as failed; the reason stands where FireWorks keeps exceptions."""
        from fireworks import FWAction

        trace = f"ended by the janitor: {reason}"
        stored = {"_message": reason, "_exception": {"_stacktrace": trace, "_details": details}}
        action = FWAction(stored_data=stored, exit=True)
        self.launchpad.complete_launch(launch["launch_id"], action, "FIZZLED")

    def _simulation_of(self, fw_id: int) -> str | None:
        """Key of the simulation that was last computed in a firework."""
        run = self.stores.runs.find_one({"fw_id": fw_id}, {"simulation": 1}, sort=[("started", -1)])
        return None if run is None else run["simulation"]

    def state_of(self, simulation: str | None) -> State | None:
        """State of a simulation, if there is one."""
        found = self.stores.simulations.find_one({"key": simulation}, {"state": 1})
        return None if found is None else State(found["state"])

    def _was_asked(self, simulation: str | None) -> bool:
        """Whether the last attempt ended because its worker was asked to end."""
        found = self.stores.simulations.find_one(
            {"key": simulation, "state": str(State.TIMED_OUT)}, {"attempts.failure_code": 1}
        )
        return found is not None and found["attempts"][-1]["failure_code"] in ASKED_CODES

    def _tell_campaign(self, fw_id: int) -> None:
        """A member that ended badly is settled: the learning need not wait for it."""
        from ebsdsg_flows.advance import settle

        workflow = self.launchpad.workflows.find_one({"nodes": fw_id}, {"metadata": 1})
        metadata = (workflow or {}).get("metadata", {})
        if "member" in metadata:
            settle(self.stores, MemberDocument.key_of(metadata["campaign"], metadata["member"]))

    def reservation(self, launch: Mapping[str, Any], job: slurm.Job) -> int:
        """Make a firework ready again whose job will never run it; 1 if it was still reserved.

        One whose job failed by itself is not: the next job would fail in the same way.
        """
        if not self._is_still(launch, "RESERVED"):
            return 0
        if job.state != "FAILED":
            self.launchpad.cancel_reservation(launch["launch_id"])
            return 1
        reason = (
            f"job {job.number} failed before it began the firework; see its output in "
            f"{launch['launch_dir']}, then: lpad rerun_fws -i {launch['fw_id']}"
        )
        self._complete(launch, reason, {"simulation": None})
        return 1
