"""Putting back what dead workers left: fireworks, simulations and training runs.

Safe beside live workers: only what belongs to a process that is known to be gone, or whose signs of
life are old, is touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ebsdsg_flows.worker import worker_is_gone
from stores.runs import mark_lost

if TYPE_CHECKING:
    from fireworks import LaunchPad

    from stores.collections import Stores

PING_EXPIRED_SECONDS = 4 * 60 * 60
"""Age of FireWorks' own sign of life above which a launch by another program counts as lost."""


def recover(stores: Stores, launchpad: LaunchPad) -> int:
    """Find the work of dead workers and make it ready again.

    Parameters
    ----------
    stores : open database.
    launchpad : on the same database.

    Returns
    -------
    Number of fireworks that are ready again.
    """
    mark_lost(stores)
    dead = [
        launch
        for launch in launchpad.launches.find(
            {"state": {"$in": ["RUNNING", "RESERVED"]}},
            {"launch_id": 1, "fw_id": 1, "fworker.name": 1},
        )
        if worker_is_gone((launch.get("fworker") or {}).get("name") or "")
    ]
    for launch in dead:
        # a worker killed inside an update of its workflow leaves the lock behind
        launchpad.workflows.update_many({"nodes": launch["fw_id"]}, {"$unset": {"locked": True}})
        launchpad.mark_fizzled(launch["launch_id"])
        launchpad.rerun_fw(launch["fw_id"])
    expired, _, _ = launchpad.detect_lostruns(
        expiration_secs=PING_EXPIRED_SECONDS, fizzle=True, rerun=True
    )
    return len(dead) + len(expired)
