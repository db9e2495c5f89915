"""How far a campaign is, from its structures to its report: the table of the workflow diagram."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stores.collections import Stores

BATCH = 1000


def campaign_stages(
    stores: Stores, campaign: Mapping[str, Any], found: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """States of the work of every stage of a campaign.

    Parameters
    ----------
    stores : open database.
    campaign : its document.
    found : its :func:`ebsdsg_flows.overview.overview`, counted once for everything that shows it.

    Returns
    -------
    One row per stage, in their order: ``stage``, ``unit`` (what is counted) and ``states``; stages
    that the campaign does not ask for are left out.
    """
    known, unusable = len(campaign["structures"]), found["by_state"].get("unusable", 0)
    waiting = found["members"] - known - unusable
    kept, changed = _labels(stores, campaign["structures"])
    rows = [
        _row("structure", "structures", completed=known, waiting=waiting, unusable=unusable),
        _row("relabel", "structures", **{"group kept": kept, "group changed": changed}),
        _row(
            "simulate",
            "simulations",
            **{state: n for state, n in found["by_state"].items() if state != "unusable"},
        ),
    ]
    asked = campaign["parameters"].get("datasets", {})
    if asked:
        done = min(len(asked), len(campaign["datasets"]))
        runs = _states(stores, campaign["training_runs"])
        rows.append(_row("data set", "data sets", completed=done, waiting=len(asked) - done))
        rows.append(_row("train", "training runs", **runs))
    written = bool(campaign["progress"].get("report"))
    rows.append(_row("report", "reports", completed=int(written), waiting=int(not written)))
    return rows


def _row(stage: str, unit: str, **states: int) -> dict[str, Any]:
    return {"stage": stage, "unit": unit, "states": {s: n for s, n in states.items() if n > 0}}


def _labels(stores: Stores, structures: list[str]) -> tuple[int, int]:
    """How many structures keep their space group when their atoms become one element, or not."""
    fields = {"_id": False, "space_group.number": True, "relabel.number": True}
    kept = changed = 0
    for chosen in _batches(structures):
        for entry in stores.structures.find({"material_id": {"$in": chosen}}, fields):
            same = entry["space_group"]["number"] == entry["relabel"]["number"]
            kept, changed = kept + same, changed + (not same)
    return kept, changed


def _states(stores: Stores, runs: list[str]) -> dict[str, int]:
    """Number of training runs by state."""
    states: dict[str, int] = {}
    for chosen in _batches(runs):
        for entry in stores.training_runs.find({"key": {"$in": chosen}}, {"state": True}):
            states[entry["state"]] = states.get(entry["state"], 0) + 1
    return states


def _batches(keys: list[str]) -> Iterable[list[str]]:
    return (keys[first : first + BATCH] for first in range(0, len(keys), BATCH))
