"""What makes two learnings the same: the simulations, the recipes and the training."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

from ebsdsg_flows.left_out import was_left_out
from stores.documents import CampaignDocument
from stores.identity import content_hash


def learning_hashes(campaign: CampaignDocument, variants: Mapping[str, list[str]]) -> list[str]:
    """Identity of what is learned from a campaign, and those that it may have had before.

    Parameters
    ----------
    campaign : its document.
    variants : variant (empty for none) to the keys of its completed simulations.

    Returns
    -------
    The identity, then the older ones, with ``{}`` in the place of some entries at their defaults.
    """
    training = campaign.parameters["training"]
    said = {"final_seeds": campaign.parameters.get("final_seeds", 1)}
    plans = campaign.parameters.get("adaptation", {})
    return [
        content_hash(
            {
                "campaign": campaign.name,
                "simulations": variants[""] if set(variants) == {""} else variants,
                "datasets": campaign.parameters["datasets"],
                "training": training_said,
                "final_model": campaign.parameters["final_model"],
                # said only where it is not the usual: campaigns of before keep their identity
                **{name: value for name, value in said.items() if value != 1},
                **({"adaptation": dict(zip(plans, plans_said, strict=True))} if plans else {}),
            }
        )
        for training_said, *plans_said in product(
            _as_said("training", training), *(_plans_said(plan) for plan in plans.values())
        )
    ]


def _as_said(entry: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    return [values, {}] if was_left_out(entry, values) else [values]


def _plans_said(plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{**plan, "settings": said} for said in _as_said("settings", plan["settings"])]
