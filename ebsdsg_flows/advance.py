"""What follows when a member of a campaign is finished: nothing, or, after the last, the learning.

FireWorks has no links between workflows, and thousands of structures in one workflow are slow, so
the step from "all simulations ended" to "learn from them" is taken here.  Every worker that ends a
simulation calls :func:`advance`; one atomic compare-and-set on the campaign's document lets exactly
one of them add the learning workflow.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from stores.documents import CampaignDocument
from stores.identity import content_hash
from stores.states import State, now

if TYPE_CHECKING:
    from stores.collections import Stores

ADDING = timedelta(seconds=60)
"""Time after which a worker that promised to add the learning workflow is taken for dead."""


def add_simulation(stores: Stores, campaign: str, key: str) -> None:
    """Record that a simulation belongs to a campaign.

    Parameters
    ----------
    stores : open database.
    campaign, key : name of the campaign and key of the simulation.
    """
    stores.campaigns.update_one(
        {"key": campaign}, {"$addToSet": {"simulations": key}, "$set": {"last_updated": now()}}
    )


def settle(stores: Stores, campaign: str, material_id: str, skipped: str | None = None) -> None:
    """Record that nothing more is to come of a structure at present, and take what follows.

    Parameters
    ----------
    stores : open database.
    campaign : name.
    material_id : structure whose simulation has ended, well or badly.
    skipped : why the structure cannot be used at all.
    """
    if skipped is not None:
        stores.campaigns.update_one(
            {"key": campaign, "skipped.identifier": {"$ne": material_id}},
            {"$push": {"skipped": {"identifier": material_id, "reason": skipped}}},
        )
    stores.campaigns.update_one(
        {"key": campaign},
        {"$addToSet": {"progress.settled": material_id}, "$set": {"last_updated": now()}},
    )
    advance(stores, campaign)


def completed_simulations(stores: Stores, campaign: CampaignDocument) -> list[str] | None:
    """Keys of the completed simulations of a campaign, or ``None`` while any is still to come.

    Parameters
    ----------
    stores : open database.
    campaign : its document.

    Returns
    -------
    Sorted keys.  Two structures that are the same crystal share one simulation.
    """
    if set(campaign.structures) - set(campaign.progress.get("settled", [])):
        return None
    found = stores.simulations.find(
        {"key": {"$in": campaign.simulations}, "state": str(State.COMPLETED)}, {"key": 1}
    )
    return sorted(simulation["key"] for simulation in found)


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
    document = stores.get(CampaignDocument, campaign)
    if document is None or not document.parameters["datasets"]:
        return False
    simulations = completed_simulations(stores, document)
    if not simulations:
        return False
    learning = learning_hash(document, simulations)
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
                "last_updated": now(),
            }
        },
    )
    if promised is None:
        return False
    _add_learning_workflow(stores, document, simulations, learning)
    stores.campaigns.update_one({"key": campaign}, {"$set": {"progress.learning_added": True}})
    return True


def learning_hash(campaign: CampaignDocument, simulations: list[str]) -> str:
    """Identity of what is learned from a campaign: its simulations, recipes and training."""
    return content_hash(
        {
            "campaign": campaign.name,
            "simulations": simulations,
            **{name: campaign.parameters[name] for name in ("datasets", "training", "final_model")},
        }
    )


def _add_learning_workflow(
    stores: Stores, campaign: CampaignDocument, simulations: list[str], learning: str
) -> None:
    from ebsdsg_flows.flows.learning import LearningFlowMaker
    from ebsdsg_flows.workflows import to_workflow

    launchpad = stores.launchpad(strm_lvl="ERROR")
    if launchpad.workflows.find_one({"metadata.learning": learning}, {"_id": 1}) is not None:
        return
    maker = LearningFlowMaker(
        recipes=campaign.parameters["datasets"],
        training=campaign.parameters["training"],
        final_model=campaign.parameters["final_model"],
    )
    metadata: dict[str, Any] = {"campaign": campaign.name, "learning": learning}
    launchpad.add_wf(to_workflow(maker.make(simulations, campaign.name), metadata))
