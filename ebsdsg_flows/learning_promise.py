"""The learning of a campaign: promised by one worker, added, and added by another if that fails.

Every worker that ends the last simulation of a campaign would add it.  One atomic compare-and-set
on the campaign's document lets exactly one promise it.  Where adding fails, the promise is taken
back; where the worker dies, it is void after :data:`ADDING`; and the next who comes, a worker or
the janitor, adds it.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pymongo.errors import PyMongoError

from ebsdsg_flows.learning_identity import learning_hashes
from stores.documents import CampaignDocument
from stores.states import State, now

if TYPE_CHECKING:
    from stores.collections import Stores

ADDING = timedelta(seconds=60)
"""Time after which a worker that promised to add the learning workflow is taken for dead."""

GRACE = timedelta(seconds=30)
"""Time in which a janitor comes round once the promise of a dead worker is void."""

BATCH = 1000

log = logging.getLogger(__name__)


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


def add_learning(stores: Stores, campaign: str) -> bool:
    """Add the learning workflow of a campaign, if its time has come and nobody did so before.

    Parameters
    ----------
    stores : open database.
    campaign : name.

    Returns
    -------
    Whether this call added it.

    Notes
    -----
    The promise to add it is written first.  Where adding fails the promise is taken back, so that
    the next call tries again; where the worker dies, the promise is void after :data:`ADDING`.
    """
    due = _due(stores, campaign)
    if due is None:
        return False
    document, variants, learning = due
    since = now()
    promised = stores.campaigns.find_one_and_update(
        {"key": campaign, "$or": [{"progress.learning": {"$ne": learning}}, _unkept()]},
        {
            "$set": {
                "progress.learning": learning,
                "progress.learning_added": False,
                "progress.promised": since,
                "simulations": sorted({key for keys in variants.values() for key in keys}),
                "last_updated": now(),
            }
        },
        projection={"_id": True},
    )
    if promised is None:
        return False
    mine = {"key": campaign, "progress.learning": learning, "progress.promised": since}
    try:
        added = _add_learning_workflow(stores, document, variants, learning)
        stores.campaigns.update_one(mine, {"$set": {"progress.learning_added": True}})
    except Exception:
        try:
            stores.campaigns.update_one(mine, {"$unset": {"progress.promised": ""}})
        except PyMongoError as error:
            log.warning("%s: its learning is added in %s: %r", campaign, ADDING, error)
        raise
    return added


def keep_promises(stores: Stores) -> list[str]:
    """Add the learning that was promised by a worker that failed or died.

    Parameters
    ----------
    stores : open database.

    Returns
    -------
    Names of the campaigns whose learning was added.
    """
    added = []
    for found in list(stores.campaigns.find(_unkept(), {"key": True})):
        try:
            if add_learning(stores, found["key"]):
                added.append(found["key"])
        except PyMongoError:
            raise
        except Exception as error:  # whatever is wrong with one campaign, the others go on
            log.warning("%s: its learning could not be added: %r", found["key"], error)
    return added


def is_promised(stores: Stores) -> bool:
    """Whether a campaign's learning was promised and may still be added without anybody's help."""
    recent = {"$gte": now() - ADDING - GRACE}
    promised = {"progress.learning_added": False, "progress.promised": recent}
    return stores.campaigns.find_one(promised, {"_id": True}) is not None


def is_learning_due(stores: Stores, campaign: str) -> bool:
    """Whether a campaign's learning can be added, and was not.

    A campaign that cannot be read counts as one: it has to be told again when it can.
    """
    try:
        due = _due(stores, campaign)
    except PyMongoError:
        raise
    except Exception as error:
        log.warning("%s: it cannot be said what it learns from: %r", campaign, error)
        return True
    if due is None:
        return False
    added = {"key": campaign, "progress.learning": due[2], "progress.learning_added": True}
    return stores.campaigns.find_one(added, {"_id": True}) is None


def _unkept() -> dict[str, Any]:
    """Condition on campaigns: learning was promised, and nobody is about to add it any more."""
    recent = {"$gte": now() - ADDING}
    return {"progress.learning_added": False, "progress.promised": {"$not": recent}}


def _due(
    stores: Stores, campaign: str
) -> tuple[CampaignDocument, dict[str, list[str]], str] | None:
    """Document, simulations by variant and identity of what can be learned now, if anything can."""
    asked = stores.campaigns.find_one(
        {"key": campaign}, {"parameters.datasets": True, "control": True}
    )
    if asked is None or not asked["parameters"]["datasets"] or asked.get("control") == "cancelled":
        return None
    variants = completed_simulations(stores, campaign)
    if not variants or not variants.get(""):
        return None
    document = stores.get(CampaignDocument, campaign)
    assert document is not None, "read above"
    learning, *older = learning_hashes(document, variants)
    if older:
        known = set(
            stores.launchpad(strm_lvl="ERROR").workflows.distinct(
                "metadata.learning", {"metadata.learning": {"$in": [learning, *older]}}
            )
        )
        learning = next((name for name in (learning, *older) if name in known), learning)
    return document, variants, learning


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
        final_seeds=campaign.parameters.get("final_seeds", 1),
        adaptation=campaign.parameters.get("adaptation", {}),
        spec={
            **StageResources(**resources.get("learning", {})).spec(),
            "_priority": queue.priority_of(0.0),
        },
    )
    metadata: dict[str, Any] = {"campaign": campaign.name, "learning": learning}
    flow = maker.make(variants, campaign.name)
    workflow = to_workflow(flow, metadata)
    try:
        launchpad.add_wf(workflow)
    except Exception:
        # the answer may be lost and not the workflow, which FireWorks stores after its fireworks
        if launchpad.workflows.find_one({"metadata.learning": learning}, {"_id": 1}) is None:
            stored = [firework.fw_id for firework in workflow.fws if firework.fw_id > 0]
            launchpad.fireworks.delete_many({"fw_id": {"$in": stored}})
            raise
    if campaign.control != "active":
        regulate(stores, campaign.name)
    return True
