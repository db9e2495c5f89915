"""A campaign: a query for structures and all that was asked to be made of them.

Its members have documents of their own, so that a worker that ends one of five thousand writes one
small document and not the list of all.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from stores.documents.base import Document, GroupNumber, Hash, Name, Part


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
    simulations : keys of the completed simulations it learned from last, written when the last
        member had ended; those of the members at any time are in their documents.
    structures : material ids of its structures.
    skipped : structures that could not be used, each with its reason.
    datasets, training_runs : keys of what was made of them.
    control : ``active``, or what a person made of it: ``paused`` or ``cancelled``.
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
    control: Literal["active", "paused", "cancelled"] = "active"
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


class MemberDocument(Document):
    """One structure of a campaign with what is made of it; the key is :meth:`key_of`.

    Attributes
    ----------
    campaign : name.
    member : hash of the structure as its source gives it and of all that makes its pattern.
    variant : empty, or the name of the campaign's variant that it belongs to.
    space_group : as the source or the structure's document says, if either does.
    current : whether the campaign's file, as it was submitted last, still asks for it.
    outcome : ``open`` while something is to come, ``ended`` (well or badly), ``unusable``.
    simulation : key of its simulation, once it is known.
    priority : that its jobs were given.
    """

    collection: ClassVar[str] = "members"

    campaign: Name
    member: Hash
    material_id: Name
    variant: str = ""
    space_group: GroupNumber | None = None
    current: bool = True
    outcome: Literal["open", "ended", "unusable"] = "open"
    simulation: Hash | None = None
    priority: int = 0

    @classmethod
    def key_of(cls, campaign: str, member: str) -> str:
        """Key of a member of a campaign."""
        return f"{campaign}/{member}"

    @model_validator(mode="after")
    def _key_follows(self) -> Self:
        if self.key != self.key_of(self.campaign, self.member):
            raise ValueError("key is not made of campaign and member")
        return self

    def _summary(self) -> dict[str, Any]:
        return {"material_id": self.material_id, "outcome": self.outcome}
