"""What follows when a member of a campaign is finished: nothing, or, after the last, the learning.

FireWorks has no links between workflows, and thousands of structures in one workflow are slow, so
the step from "all simulations ended" to "learn from them" is taken here.  Every worker that ends a
simulation writes its member's own small document and asks whether any other is open, which an index
answers; see :mod:`ebsdsg_flows.learning_promise`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ebsdsg_flows.learning_promise import BATCH, add_learning, is_learning_due
from stores.states import FINISHED, now

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stores.collections import Stores


def begin(stores: Stores, member: str, simulation: str) -> None:
    """Record which simulation a member of a campaign has, and that its end is to come.

    Parameters
    ----------
    stores : open database.
    member, simulation : keys of their documents.
    """
    stores.members.update_one(
        {"key": member},
        {"$set": {"simulation": simulation, "outcome": "open", "last_updated": now()}},
    )


def settle(stores: Stores, member: str, unusable: str | None = None) -> None:
    """Record that nothing more is to come of a member at present, and take what follows.

    A simulation that has ended, well or badly, has ended for every member that has it; while it
    waits or runs (another worker's, to whom it was given), its members stay open.

    Parameters
    ----------
    stores : open database.
    member : key of its document; a job of it has ended.
    unusable : why the structure cannot be used at all.
    """
    found = stores.members.find_one({"key": member})
    if found is None:
        return  # the campaign was submitted without it meanwhile
    if unusable is not None:
        stores.members.update_one(
            {"key": member}, {"$set": {"outcome": "unusable", "last_updated": now()}}
        )
        stores.campaigns.update_one(
            {"key": found["campaign"], "skipped.identifier": {"$ne": found["material_id"]}},
            {"$push": {"skipped": {"identifier": found["material_id"], "reason": unusable}}},
        )
        follow(stores, found["campaign"])
        return
    simulation = stores.simulations.find_one({"key": found["simulation"]}, {"state": True})
    if simulation is None or simulation["state"] not in FINISHED:
        return
    # not the given member alone: the firework of another may have left while this one computed
    same = {"simulation": found["simulation"], "outcome": "open"}
    campaigns = {found["campaign"], *stores.members.distinct("campaign", same)}
    stores.members.update_many(same, {"$set": {"outcome": "ended", "last_updated": now()}})
    for campaign in sorted(campaigns):
        follow(stores, campaign)


def follow(stores: Stores, campaign: str) -> bool:
    """Let held structures come up to the campaign's cap, and add its learning if all have ended.

    Returns
    -------
    Whether this call added the learning workflow.
    """
    from ebsdsg_flows.control import regulate

    plan = stores.campaigns.find_one({"key": campaign}, {"parameters.queue": True, "control": True})
    if plan is not None and ((plan["parameters"].get("queue") or {}).get("max_open") is not None):
        regulate(stores, campaign)
    return add_learning(stores, campaign)


def reopen(stores: Stores, simulations: Iterable[str]) -> None:
    """Record that an end of these simulations is to come again, in every campaign they are in."""
    keys = list(simulations)
    for first in range(0, len(keys), BATCH):
        stores.members.update_many(
            {"simulation": {"$in": keys[first : first + BATCH]}, "outcome": "ended"},
            {"$set": {"outcome": "open", "last_updated": now()}},
        )


def is_untold(stores: Stores, simulation: str) -> bool:
    """Whether a campaign may have to be told once more that a simulation has completed.

    Parameters
    ----------
    stores : open database.
    simulation : key of its document.

    Returns
    -------
    Whether a member waits for it, or the learning of one of its campaigns is due and not added.
    """
    mine = {"simulation": simulation}
    if stores.members.find_one({**mine, "outcome": "open"}, {"_id": True}) is not None:
        return True
    return any(
        is_learning_due(stores, campaign) for campaign in stores.members.distinct("campaign", mine)
    )
