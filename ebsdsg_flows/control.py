"""Holding a campaign's work back, letting it go, and ending it: ``pause``, ``resume``, ``cancel``.

A person's wish stands in the campaign's document; :func:`regulate` brings FireWorks, the run
documents and the queue in agreement with it and with the campaign's cap, from whatever state they
are in.  So each command can be repeated, and one that was killed in the middle is finished by the
next.  What is held has the FireWorks state PAUSED and a mark of ours, so that what somebody paused
with ``lpad`` stays paused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from ebsdsg_flows.advance import follow
from ebsdsg_flows.holding import (
    OPEN,
    count_open,
    count_running_in_held,
    defuse,
    hold_all,
    hold_surplus,
    parts,
    reignite,
    release,
)
from stores.states import State, StateError, now

if TYPE_CHECKING:
    from fireworks import LaunchPad

    from stores.collections import Stores

Wish = Literal["active", "paused", "cancelled"]


class ControlError(ValueError):
    """There is no such campaign."""


@dataclass(frozen=True)
class ControlSummary:
    """What a command did.

    Parameters
    ----------
    campaign, control : its name and what it is now.
    held, released, defused : workflows whose jobs were held back, let go, or taken out.
    reservations : jobs of the queue that were cancelled.
    stopped : running simulations that were told to stop.
    running : workflows with a job that runs to its end.
    learning : workflows that learn, added because all simulations had ended.
    """

    campaign: str
    control: str
    held: int = 0
    released: int = 0
    defused: int = 0
    reservations: int = 0
    stopped: int = 0
    running: int = 0
    learning: int = 0

    def __str__(self) -> str:
        parts = [
            f"{n} {text}"
            for n, text in (
                (self.released, "structures released"),
                (self.held, "structures held back"),
                (self.defused, "structures taken out"),
                (self.reservations, "jobs of the queue cancelled"),
                (self.stopped, "running simulations told to stop"),
                (self.running, "structures with a job that runs on to its end"),
                (self.learning, "learning workflow added"),
            )
            if n
        ]
        return f"campaign {self.campaign} is {self.control}: {', '.join(parts) or 'nothing to do'}"


def pause(stores: Stores, campaign: str) -> ControlSummary:
    """Start nothing more of a campaign; what runs goes on to its end.

    Raises
    ------
    ControlError
        If there is no campaign of that name.
    """
    return _wish(stores, campaign, "paused")


def resume(stores: Stores, campaign: str) -> ControlSummary:
    """Go on with a campaign that was paused or cancelled.

    Learning that came due while it was cancelled is added.

    Raises
    ------
    ControlError
        If there is no campaign of that name.
    """
    summary = _wish(stores, campaign, "active")
    return replace(summary, learning=int(follow(stores, campaign)))


def cancel(stores: Stores, campaign: str) -> ControlSummary:
    """Take a campaign out of the queue and stop what runs of it, unless another campaign needs it.

    What is finished stays; :func:`resume` takes the rest up again.

    Raises
    ------
    ControlError
        If there is no campaign of that name.
    """
    return _wish(stores, campaign, "cancelled")


def _wish(stores: Stores, campaign: str, wish: Wish) -> ControlSummary:
    found = stores.campaigns.update_one(
        {"key": campaign}, {"$set": {"control": wish, "last_updated": now()}}
    )
    if not found.matched_count:
        names = ", ".join(sorted(stores.campaigns.distinct("key"))) or "none"
        raise ControlError(f"no campaign {campaign!r} in this database; there are: {names}")
    return regulate(stores, campaign)


def regulate(stores: Stores, campaign: str) -> ControlSummary:
    """Bring the queue in agreement with what a campaign's document asks for.

    Safe beside workers and beside itself: every change of a firework is one conditional update,
    which either takes it before a worker does or finds it taken.

    Parameters
    ----------
    stores : open database.
    campaign : name.

    Returns
    -------
    What was changed.
    """
    document = stores.campaigns.find_one(
        {"key": campaign}, {"control": True, "parameters.queue": True}
    )
    if document is None:
        return ControlSummary(campaign, "unknown")
    control = document.get("control", "active")
    launchpad = stores.launchpad(strm_lvl="ERROR")
    if control != "active":
        reservations = _cancel_reservations(launchpad, campaign)
        held = hold_all(launchpad, campaign)
        defused = stopped = 0
        if control == "cancelled":
            defused = defuse(launchpad, campaign)
            stopped = _stop_running(stores, launchpad, campaign)
        running = launchpad.workflows.count_documents(
            {"metadata.campaign": campaign, "state": {"$in": list(OPEN)}}
        ) + count_running_in_held(launchpad, campaign)
        return ControlSummary(
            campaign,
            control,
            held=held,
            defused=defused,
            reservations=reservations,
            stopped=stopped,
            running=running,
        )
    reignite(launchpad, campaign)
    cap = (document["parameters"].get("queue") or {}).get("max_open")
    mine = {"metadata.campaign": campaign}
    if launchpad.workflows.find_one({**mine, "metadata.held": True}, {"_id": 1}) is None:
        room = None
    elif cap is None:
        room = launchpad.workflows.count_documents({**mine, "metadata.held": True})
    else:
        room = cap - count_open(launchpad, campaign)
    released = release(launchpad, campaign, room) if room is not None and room > 0 else 0
    held = 0
    if cap is not None and (surplus := count_open(launchpad, campaign) - cap) > 0:
        held = hold_surplus(launchpad, campaign, surplus)
    return ControlSummary(campaign, control, held=held, released=released)


def regulate_all(stores: Stores) -> None:
    """:func:`regulate` every campaign that is not active, or has a cap and holds something."""
    for campaign in list(
        stores.campaigns.find({}, {"key": 1, "control": 1, "parameters.queue": 1})
    ):
        queue = campaign["parameters"].get("queue") or {}
        if campaign.get("control", "active") != "active" or queue.get("max_open") is not None:
            regulate(stores, campaign["key"])


def _cancel_reservations(launchpad: LaunchPad, campaign: str) -> int:
    """Cancel the queue's jobs that wait for a firework of the campaign, and free these."""
    from ebsdsg_flows.reservations import cancel_job, queue_id_of

    cancelled = 0
    for workflow in list(
        launchpad.workflows.find(
            {"metadata.campaign": campaign, "state": {"$in": [*OPEN, "PAUSED", "DEFUSED"]}},
            {"nodes": 1, "fw_states": 1},
        )
    ):
        if "RESERVED" not in workflow["fw_states"].values():
            continue
        launches = launchpad.launches.find(
            {"fw_id": {"$in": workflow["nodes"]}, "state": "RESERVED"},
            {"launch_id": 1, "state_history": 1},
        )
        for launch in list(launches):
            number = queue_id_of(launch)
            if number is None:
                continue  # qlaunch is between reserving and submitting; the next pass finds it
            cancel_job(number)
            launchpad.cancel_reservation(launch["launch_id"])
            cancelled += 1
    return cancelled


def _stop_running(stores: Stores, launchpad: LaunchPad, campaign: str) -> int:
    """End the running simulations of a campaign that no other active campaign waits for."""
    from ebsdsg_flows.reservations import cancel_job
    from stores.documents import Failure
    from stores.janitor import settle

    stopped = 0
    members = stores.members.find(
        {"campaign": campaign, "outcome": "open", "simulation": {"$ne": None}}, {"simulation": 1}
    )
    keys = [member["simulation"] for member in members]
    for part in parts(keys):
        for run in list(
            stores.runs.find(
                {"simulation": {"$in": part}, "state": str(State.RUNNING)}, {"_id": False}
            )
        ):
            if _needed_elsewhere(stores, run["simulation"], campaign):
                continue
            failure = Failure(
                code=CANCELLED_CODE, name="cancelled", message=f"campaign {campaign} was cancelled"
            )
            try:
                ended = _end_run(stores, run["key"], failure)
            except StateError:
                continue  # it ended by itself at this moment
            settle(stores, run["simulation"], ended, next_action="rerun if it is still wanted")
            # in a job that does more, the run ends by itself: its next heartbeat finds it ended
            if run.get("queue_id") and _alone_in_its_job(launchpad, run):
                cancel_job(run["queue_id"])
            stopped += 1
    return stopped


def _alone_in_its_job(launchpad: LaunchPad, run: Mapping[str, Any]) -> bool:
    """Whether the queue's job of a run was submitted for its firework, so that it does no other."""
    from ebsdsg_flows.reservations import queue_id_of

    launches = launchpad.launches.find(
        {"fw_id": run["fw_id"], "state": "RUNNING"}, {"state_history": 1}
    )
    submitted = [number for launch in launches if (number := queue_id_of(launch)) is not None]
    # PBS calls its job by number in one place and by number and server in another
    return run["queue_id"].split(".")[0] in {number.split(".")[0] for number in submitted}


CANCELLED_CODE = 21
"""Failure code of a job that a person cancelled; see ``docs/explanation/failure_codes.md``."""


def _end_run(stores: Stores, key: str, failure: Any) -> dict[str, Any]:
    from stores.states import transition

    return transition(
        stores.runs,
        key,
        State.RUNNING,
        State.FAILED,
        fields={"finished": now(), "failure": failure.model_dump(mode="json")},
    )


def _needed_elsewhere(stores: Stores, simulation: str, campaign: str) -> bool:
    others = {
        member["campaign"]
        for member in stores.members.find({"simulation": simulation}, {"campaign": 1})
        if member["campaign"] != campaign
    }
    return (
        stores.campaigns.find_one(
            {"key": {"$in": sorted(others)}, "control": {"$ne": "cancelled"}}, {"_id": 1}
        )
        is not None
    )
