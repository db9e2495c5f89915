"""A campaign: a query for structures and all that was asked to be made of them."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from stores.documents.base import Document, Hash, Name, Part


class Skipped(Part):
    """A structure that could not be used, and why."""

    identifier: Name
    reason: Name


class CampaignDocument(Document):
    """What a campaign file asked for, and what belongs to it; the key is its name.

    Attributes
    ----------
    query : where the structures come from and which are taken.
    parameters : simulation, data-set and training parameters.
    simulations : keys of its simulations.
    structures : material ids of its structures.
    skipped : structures that could not be used, each with its reason.
    datasets, training_runs : keys of what was made of them.
    progress : summary written by the flows, for people.
    config_hash : content hash of the whole campaign file.
    """

    collection: ClassVar[str] = "campaigns"

    name: Name
    query: dict[str, Any]
    parameters: dict[str, Any]
    structures: list[Name] = Field(default_factory=list)
    simulations: list[Hash] = Field(default_factory=list)
    skipped: list[Skipped] = Field(default_factory=list)
    datasets: list[Name] = Field(default_factory=list)
    training_runs: list[Name] = Field(default_factory=list)
    progress: dict[str, Any] = Field(default_factory=dict)
    config_hash: Hash | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.key != self.name:
            raise ValueError(f"key {self.key!r} is not the name {self.name!r}")
        for field in ("structures", "simulations"):
            members = getattr(self, field)
            if len(set(members)) != len(members):
                raise ValueError(f"{field} has members twice")
        return self

    def _summary(self) -> dict[str, Any]:
        return {
            "structures": len(self.structures),
            "simulations": len(self.simulations),
            "datasets": len(self.datasets),
            "training_runs": len(self.training_runs),
        }
