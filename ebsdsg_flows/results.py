"""What a campaign found, read from the database into plain tables.

The report, the demonstration's closing table and anything else that tells results start here, so
that every number shown was computed from stored data once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ebsdsg_flows.status import simulation_counts
from stores.documents import CampaignDocument
from stores.queries import campaign_simulations

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stores.collections import Stores


class UnknownCampaign(ValueError):
    """There is no campaign of that name in the database."""


@dataclass(frozen=True)
class CampaignResults:
    """Tables of one campaign.

    Parameters
    ----------
    campaign : its document.
    states : number of simulations by state.
    structures : one row per structure: id, formula, groups, simulation state, pattern file, CPU.
    evaluations : data-set name to evaluation, see :func:`stored_evaluations`.
    trainings : training-run documents, plain.
    datasets : data-set name to its document, plain.
    cpu_seconds : of all completed simulations.
    """

    campaign: CampaignDocument
    states: dict[str, int]
    structures: list[dict[str, Any]]
    evaluations: dict[str, dict[str, Any]]
    trainings: list[dict[str, Any]]
    datasets: dict[str, dict[str, Any]] = field(default_factory=dict)
    cpu_seconds: float = 0.0


def stored_evaluations(progress: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Evaluations of a campaign by the names of its data sets, those of true groups first.

    Parameters
    ----------
    progress : of the campaign's document.

    Returns
    -------
    Name to evaluation: accuracy, confusion, phases, and ``label``, the kind of groups.

    Notes
    -----
    Documents of earlier versions have one for each kind of groups, which stands for the name.
    """
    found = {name: {"label": name, **e} for name, e in progress.get("evaluations", {}).items()}
    return dict(sorted(found.items(), key=lambda entry: entry[1]["label"], reverse=True))


def dataset_title(name: str, label: str) -> str:
    """What a data set of a campaign is called where its results are shown.

    Parameters
    ----------
    name : in the campaign file.
    label : kind of its groups; the usual name of a data set, and then not said twice.
    """
    return f"{label} groups" if name == label else f"{name} ({label} groups)"


def campaign_results(stores: Stores, name: str) -> CampaignResults:
    """Collect the results of a campaign.

    Parameters
    ----------
    stores : open database.
    name : of the campaign.

    Raises
    ------
    UnknownCampaign
        If there is none of that name.
    """
    campaign = stores.get(CampaignDocument, name)
    if campaign is None:
        names = ", ".join(sorted(stores.campaigns.distinct("key"))) or "none"
        raise UnknownCampaign(f"no campaign {name!r} in this database; there are: {names}")
    keys = campaign_simulations(stores, name)
    patterns = {p["key"]: p for p in stores.master_patterns.find({"key": {"$in": keys}})}
    rows = []
    for simulation in stores.simulations.find({"key": {"$in": keys}}):
        pattern = patterns.get(simulation["key"], {})
        rows.append(
            {
                "material_id": simulation["material_id"],
                "formula": simulation["formula"],
                "true": simulation["space_group"],
                "relabelled": simulation["relabelled"],
                "state": simulation["state"],
                "file": pattern.get("file", {}).get("path"),
                "beams": max(pattern.get("beams", []), default=None),
                "cpu_seconds": pattern.get("cpu_seconds"),
            }
        )
    rows.sort(key=lambda row: (row["true"], row["relabelled"], row["formula"]))
    evaluations = stored_evaluations(campaign.progress)
    trainings = list(
        stores.training_runs.find({"key": {"$in": campaign.training_runs}}, {"_id": 0})
    )
    datasets = {}
    for dataset, evaluation in evaluations.items():
        found = stores.datasets.find_one({"key": evaluation["dataset"]}, {"_id": 0})
        datasets[dataset] = found or {}
    return CampaignResults(
        campaign=campaign,
        states=simulation_counts(stores, keys),
        structures=rows,
        evaluations=evaluations,
        trainings=trainings,
        datasets=datasets,
        cpu_seconds=sum(row["cpu_seconds"] or 0.0 for row in rows),
    )
