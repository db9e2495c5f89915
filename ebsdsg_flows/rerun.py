"""Sending simulations that ended badly again, with more time or fewer threads.

Two steps, each of which can be repeated: the simulations get a new attempt, then the fireworks that
failed with them become ready.  A crash in between is mended by calling it again.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ebsdsg_flows.advance import is_untold, reopen
from ebsdsg_flows.cluster.deaths import epoch_seconds
from ebsdsg_flows.control import regulate
from stores.janitor import MAX_ATTEMPTS, retry
from stores.queries import campaign_simulations
from stores.states import ENDED_BADLY, State, StateError

if TYPE_CHECKING:
    from fireworks import LaunchPad

    from stores.collections import Stores

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class RerunError(ValueError):
    """A rerun was asked for in a way that makes no sense."""


@dataclass(frozen=True)
class RerunSummary:
    """What was sent again.

    Parameters
    ----------
    simulations : keys of the simulations with a new attempt.
    given_up : formula and reason of those that would fail again in the same way.
    fireworks : number of fireworks that are ready again.
    """

    simulations: tuple[str, ...]
    given_up: tuple[tuple[str, str], ...]
    fireworks: int

    def __str__(self) -> str:
        lines = [f"{len(self.simulations)} simulations sent again, {self.fireworks} jobs ready"]
        lines += [f"  not {formula}: {reason}" for formula, reason in self.given_up]
        return "\n".join(lines)


def seconds_of(text: str) -> float:
    """Seconds of a duration such as ``24h``, ``90m``, ``1.5d`` or ``01:30:00``.

    Raises
    ------
    RerunError
        If it is none.
    """
    if found := re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhd])\s*", text):
        seconds = float(found[1]) * SECONDS[found[2]]
    elif found := re.fullmatch(r"\s*(\d+):([0-5]\d):([0-5]\d)\s*", text):
        seconds = float(int(found[1]) * 3600 + int(found[2]) * 60 + int(found[3]))
    else:
        raise RerunError(f"{text!r} is not a duration; write for example 24h, 90m or 01:30:00")
    if seconds <= 0:
        raise RerunError(f"{text!r} is no time at all")
    return seconds


def rerun(
    stores: Stores,
    launchpad: LaunchPad,
    *,
    campaign: str | None = None,
    states: tuple[str, ...] = (),
    code: int | None = None,
    material_id: str | None = None,
    walltime: float | None = None,
    threads: int | None = None,
    anyway: bool = False,
) -> RerunSummary:
    """Send simulations again.

    Parameters
    ----------
    stores : open database.
    launchpad : on the same database.
    campaign : only simulations of this campaign.
    states : ``failed``, ``timed_out``, ``lost``; empty means all three.
    code : only those whose last attempt ended with this failure.
    material_id : only those of this structure.
    walltime : time that one stage of the new attempt gets [s], and the queue's job a little more;
        ``None`` leaves the settings' and what the campaign file asks of the queue.
    threads : threads of the new attempt; ``None`` leaves the settings'.
    anyway : also those whose rule says that the same input fails again.

    Returns
    -------
    What was sent again.

    Raises
    ------
    RerunError
        If a state is not one of a bad end, or there is no such campaign.

    Notes
    -----
    The simulations are open again in all campaigns they belong to, so that no learning begins
    before they have ended; a paused campaign's stay held, and a cap is kept.
    """
    wrong = [state for state in states if state not in ENDED_BADLY]
    if wrong:
        raise RerunError(f"{wrong[0]!r}: one can rerun {', '.join(sorted(ENDED_BADLY))}")
    query: dict[str, Any] = {"state": {"$in": sorted(states or ENDED_BADLY)}}
    if material_id is not None:
        query["material_id"] = material_id
    mine: set[str] | None = None
    if campaign is not None:
        if stores.campaigns.find_one({"key": campaign}, {"_id": 1}) is None:
            names = ", ".join(sorted(stores.campaigns.distinct("key"))) or "none"
            raise RerunError(f"no campaign {campaign!r} in this database; there are: {names}")
        mine = set(campaign_simulations(stores, campaign))
    sent, given_up = [], []
    for found in list(stores.simulations.find(query, {"_id": False})):
        if mine is not None and found["key"] not in mine:
            continue
        last = found["attempts"][-1]
        if code is not None and last["failure_code"] != code:
            continue
        if found["next_action"].startswith("give up") and not anyway:
            given_up.append((found["formula"], last["reason"]))
            continue
        try:
            retry(
                stores,
                found["key"],
                reason="sent again by a person",
                walltime=walltime,
                threads=threads,
            )
        except StateError:
            continue  # somebody else sent it again at this moment
        sent.append(found["key"])
    reopen(stores, sent)
    ready = ready_again(stores, launchpad, at_most=None)
    for name in stores.campaigns.distinct("key") if ready else []:
        regulate(stores, name)
    return RerunSummary(tuple(sent), tuple(given_up), ready)


def ready_again(stores: Stores, launchpad: LaunchPad, *, at_most: int | None = MAX_ATTEMPTS) -> int:
    """Make the failed fireworks ready whose simulations are waiting, or have completed.

    One that failed although its simulation completed could not tell its campaign (the database
    went away): it computes nothing again, and tells it.

    Parameters
    ----------
    stores : open database.
    launchpad : on the same database.
    at_most : launches of a firework that end after its simulation's last attempt did; one that has
        had so many stays failed, as does one with two of a completed simulation that has nothing
        to tell.  ``None`` for a person, who has mended what stood in the way.

    Returns
    -------
    Their number.
    """
    field = "action.stored_data._exception._details.simulation"
    failed = {
        entry["launches"][-1]: [*entry.get("archived_launches", []), *entry["launches"]]
        for entry in launchpad.fireworks.find(
            {"state": "FIZZLED"}, {"launches": True, "archived_launches": True}
        )
        if entry["launches"]
    }
    count = 0
    for launch in list(
        launchpad.launches.find(
            {"launch_id": {"$in": sorted(failed)}}, {"launch_id": True, "fw_id": True, field: True}
        )
    ):
        key = _value(launch, field)
        if key is None:
            continue
        simulation = stores.simulations.find_one(
            {"key": key}, {"state": True, "attempts.walltime": True, "attempts.finished": True}
        )
        if simulation is None or simulation["state"] not in (State.WAITING, State.COMPLETED):
            continue
        attempts = simulation["attempts"]
        if at_most is not None:
            since = max(epoch_seconds(attempt.get("finished")) for attempt in attempts)
            ended = _ended_since(launchpad, failed[launch["launch_id"]], since)
            completed = simulation["state"] == State.COMPLETED
            # once in any case: it may have told its campaign and failed only after that
            if ended >= at_most or (completed and ended > 1 and not is_untold(stores, key)):
                continue
        walltime = attempts[-1].get("walltime")
        if walltime is not None:
            asked = {"_queueadapter.walltime": queue_walltime(walltime)}
            launchpad.update_spec([launch["fw_id"]], asked)
        launchpad.rerun_fw(launch["fw_id"])
        count += 1
    return count


def _ended_since(launchpad: LaunchPad, launches: list[int], since: float) -> int:
    """How many launches ended after a time, in seconds since 1970; not those that never began."""
    found = launchpad.launches.find({"launch_id": {"$in": launches}}, {"time_end": True})
    ends = [epoch_seconds(launch.get("time_end")) for launch in found]
    return sum(end > 0 and end >= since for end in ends)


def queue_walltime(seconds: float) -> str:
    """Time to ask the queue for, so that a stage of a simulation may last so long.

    Parameters
    ----------
    seconds : of the stage.

    Returns
    -------
    ``hours:minutes:seconds``: a tenth and ten minutes more, for what comes before and after.
    """
    whole = math.ceil(seconds * 11 / 10) + 600
    return f"{whole // 3600:02d}:{whole % 3600 // 60:02d}:{whole % 60:02d}"


def _value(document: Any, field: str) -> Any:
    for part in field.split("."):
        document = (document or {}).get(part)
    return document
