"""What follows when a member of a campaign is finished: nothing, or, after the last, the learning.

FireWorks has no links between workflows, and thousands of structures in one workflow are slow, so
the step from "all simulations ended" to "learn from them" is taken here.  Every worker that ends a
simulation writes its member's own small document and asks whether any other is open, which an index
answers; one atomic compare-and-set on the campaign's document lets exactly one worker add the
learning workflow.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from stores.documents import CampaignDocument
from stores.identity import content_hash
from stores.states import FINISHED, State, now

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stores.collections import Stores

ADDING = timedelta(seconds=60)
"""Time after which a worker that promised to add the learning workflow is taken for dead."""

BATCH = 1000


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
    return advance(stores, campaign)


def reopen(stores: Stores, simulations: Iterable[str]) -> None:
    """Record that an end of these simulations is to come again, in every campaign they are in."""
    keys = list(simulations)
    for first in range(0, len(keys), BATCH):
        stores.members.update_many(
            {"simulation": {"$in": keys[first : first + BATCH]}, "outcome": "ended"},
            {"$set": {"outcome": "open", "last_updated": now()}},
        )


def completed_simulations(stores: Stores, campaign: str) -> dict[str, list[str]] | None:
    """Keys of the completed simulations of a campaign, or ``None`` while any is still to come.

    Parameters
    ----------
    stores : open database.
    campaign : name.

    Returns
    -------
    Variant (empty for none) to sorted keys.  Two structures that are the same crystal share one
    simulation.
    """
    mine = {"campaign": campaign, "current": True}
    if stores.members.find_one({**mine, "outcome": "open"}, {"_id": True}) is not None:
        return None
    variants: dict[str, set[str]] = {}
    for member in stores.members.find(
        {**mine, "outcome": "ended"}, {"simulation": True, "variant": True}
    ):
        if member["simulation"] is not None:
            variants.setdefault(member["variant"], set()).add(member["simulation"])
    found: dict[str, list[str]] = {}
    for variant, keys in sorted(variants.items()):
        found[variant] = sorted(_completed(stores, sorted(keys)))
    return found


def _completed(stores: Stores, keys: list[str]) -> list[str]:
    done: list[str] = []
    for first in range(0, len(keys), BATCH):
        condition = {"key": {"$in": keys[first : first + BATCH]}, "state": str(State.COMPLETED)}
        done += [entry["key"] for entry in stores.simulations.find(condition, {"key": True})]
    return done


def advance(stores: Stores, campaign: str) -> bool:
    """Add the learning workflow of a campaign, if its time has come and nobody did so before.

    Parameters
    ----------
    stores : open database.
    campaign : name.

    Returns
    -------
    Whether this call added it.
    """
    asked = stores.campaigns.find_one(
        {"key": campaign}, {"parameters.datasets": True, "control": True}
    )
    if asked is None or not asked["parameters"]["datasets"] or asked.get("control") == "cancelled":
        return False
    variants = completed_simulations(stores, campaign)
    if not variants or not variants.get(""):
        return False
    document = stores.get(CampaignDocument, campaign)
    assert document is not None, "read above"
    learning = learning_hash(document, variants)
    promised = stores.campaigns.find_one_and_update(
        {
            "key": campaign,
            "$or": [
                {"progress.learning": {"$ne": learning}},
                {"progress.learning_added": False, "progress.promised": {"$lt": now() - ADDING}},
            ],
        },
        {
            "$set": {
                "progress.learning": learning,
                "progress.learning_added": False,
                "progress.promised": now(),
                "simulations": sorted({key for keys in variants.values() for key in keys}),
                "last_updated": now(),
            }
        },
        projection={"_id": True},
    )
    if promised is None:
        return False
    added = _add_learning_workflow(stores, document, variants, learning)
    stores.campaigns.update_one({"key": campaign}, {"$set": {"progress.learning_added": True}})
    return added


def learning_hash(campaign: CampaignDocument, variants: dict[str, list[str]]) -> str:
    """Identity of what is learned from a campaign: its simulations, recipes and training."""
    return content_hash(
        {
            "campaign": campaign.name,
            "simulations": variants[""] if set(variants) == {""} else variants,
            **{name: campaign.parameters[name] for name in ("datasets", "training", "final_model")},
            # said only where it is not the usual, so that campaigns of before keep their identity
            **{name: value for name, value in _beside(campaign).items() if value not in ({}, 1)},
        }
    )


def _beside(campaign: CampaignDocument) -> dict[str, Any]:
    """Learning beside cross-validation and one final model."""
    return {
        "final_seeds": campaign.parameters.get("final_seeds", 1),
        "adaptation": campaign.parameters.get("adaptation", {}),
    }


def _add_learning_workflow(
    stores: Stores, campaign: CampaignDocument, variants: dict[str, list[str]], learning: str
) -> bool:
    """Add it, unless there is one that learns the same; whether it was added."""
    from ebsdsg_flows.control import regulate
    from ebsdsg_flows.flows.learning import LearningFlowMaker
    from ebsdsg_flows.resources import QueuePlan, StageResources
    from ebsdsg_flows.workflows import to_workflow

    launchpad = stores.launchpad(strm_lvl="ERROR")
    if launchpad.workflows.find_one({"metadata.learning": learning}, {"_id": 1}) is not None:
        return False
    resources = campaign.parameters.get("resources", {})
    queue = QueuePlan(**campaign.parameters.get("queue", {}))
    maker = LearningFlowMaker(
        recipes=campaign.parameters["datasets"],
        training=campaign.parameters["training"],
        final_model=campaign.parameters["final_model"],
        **_beside(campaign),
        spec={
            **StageResources(**resources.get("learning", {})).spec(),
            "_priority": queue.priority_of(0.0),
        },
    )
    metadata: dict[str, Any] = {"campaign": campaign.name, "learning": learning}
    flow = maker.make(variants, campaign.name)
    launchpad.add_wf(to_workflow(flow, metadata))
    if campaign.control != "active":
        regulate(stores, campaign.name)
    return True
