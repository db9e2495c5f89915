"""Entries as a source gives them, and the imports that brought them.

An entry is kept as it came, with where, when and on what terms; what is made of it (standardised
cell, labels) is a :class:`~stores.documents.structure.StructureDocument`.  An entry that its source
withdraws stays, marked, because simulations may have been made of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self
from uuid import uuid4

from pydantic import Field, model_validator

from stores.documents.base import Document, GroupNumber, Hash, Name, Part, Time
from stores.documents.simulation import Owner
from stores.documents.structure import Source
from stores.identity import content_hash
from stores.states import State, now


class Origin(Source):
    """Where an entry came from, and as of when.

    Attributes
    ----------
    kind, identifier, reference : as of :class:`~stores.documents.structure.Source`.
    database_version : version of the source's database, ``None`` if it has none.
    retrieved : when this content was read.
    last_updated : when the source says that it changed the entry last.
    """

    database_version: str | None = None
    retrieved: Time = Field(default_factory=now)
    last_updated: Time | None = None


def entry_hash(
    structure: Mapping[str, Any], *, space_group: int | None, deprecated: bool, licence: str
) -> str:
    """Content hash by which a changed entry is told from an unchanged one.

    Parameters
    ----------
    structure : pymatgen dictionary.
    space_group, deprecated, licence : as the source gives them.
    """
    return content_hash(
        {
            "structure": structure,
            "space_group": space_group,
            "deprecated": deprecated,
            "licence": licence,
        }
    )


class SourceStructureDocument(Document):
    """One entry of a source, not standardised; the key is its material id.

    ``last_updated`` is the time of the last change *here*, which is what maggma's incremental
    builders ask for; the source's own is ``source.last_updated``.

    Attributes
    ----------
    structure : pymatgen dictionary of the cell as given (Å).
    formula_pretty : reduced formula.
    source : where it came from.
    licence, citation : on what terms, and what to cite.
    deprecated : whether the source has withdrawn it.
    deprecation_reasons : why, in the source's words.
    superseded_by : identifier of the entry that replaces it, if the source names one.
    space_group : number that the source gives.
    volume_conventional : of the conventional cell [Å³], if the source gives it or it follows from
        the group and the given cell.
    entry_hash : :func:`entry_hash` of the content.
    """

    collection: ClassVar[str] = "source_structures"

    material_id: Name
    structure: dict[str, Any]
    formula_pretty: Name
    source: Origin
    licence: Name
    citation: str = ""
    deprecated: bool = False
    deprecation_reasons: list[str] = Field(default_factory=list)
    superseded_by: str | None = None
    space_group: GroupNumber | None = None
    volume_conventional: float | None = Field(default=None, gt=0)
    entry_hash: Hash

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.key != self.material_id:
            raise ValueError(f"key {self.key!r} is not the material_id {self.material_id!r}")
        if self.superseded_by == self.material_id:
            raise ValueError("an entry cannot be superseded by itself")
        if self.superseded_by is not None and not self.deprecated:
            raise ValueError("superseded_by is for deprecated entries")
        return self

    def _summary(self) -> dict[str, Any]:
        return {
            "formula": self.formula_pretty,
            "space_group": self.space_group,
            "source": self.source.kind,
            "deprecated": self.deprecated,
        }


class Missing(Part):
    """A part of an import that could not be read, and why; ``--resume`` reads it again.

    Attributes
    ----------
    what : ``listing`` (a page of the list of entries) or ``entries`` (the structures of some ids,
        or what became of them).
    group : space group of the listing, if it is one.
    page : number of the page, from 1, if it is a listing.
    ids : identifiers that were not read.
    reason : what went wrong.
    """

    what: Literal["listing", "entries"]
    group: GroupNumber | None = None
    page: int | None = Field(default=None, ge=1)
    ids: list[Name] = Field(default_factory=list)
    reason: Name


class Refusal(Part):
    """An entry that cannot be taken, and why."""

    identifier: Name
    reason: Name


class Listing(Part):
    """How far the list of the entries of one group was read.

    Attributes
    ----------
    group : space group, ``None`` for a source without groups.
    pages_done : numbers of the pages that were read, from 1.
    total : number of entries that the source says there are, once it was asked.
    listed : identifiers on the pages that were read.
    """

    group: GroupNumber | None = None
    pages_done: list[int] = Field(default_factory=list)
    total: int | None = Field(default=None, ge=0)
    listed: list[Name] = Field(default_factory=list)


class ImportDocument(Document):
    """One import from one source; the key is a UUID.

    Attributes
    ----------
    source : what is imported from: ``materials project``, or a file, folder or store.
    query : what was asked for.
    query_hash : content hash of source and query; an import is resumed by the same question.
    state : ``completed`` only if nothing is missing.
    owner : the process that imports, or did last.
    database_version : of the source, found at the start.
    started, ended : of the last attempt.
    attempts : how often it was started.
    listings : how far the lists were read.
    pending : ids that are listed as new or changed and whose structures were not read yet.
    counts : new, changed, unchanged, deprecated, outside (of the volume limits), refused.
    refused : the first of them with their reasons.
    missing : what could not be read; empty when completed.
    """

    collection: ClassVar[str] = "imports"

    key: Name = Field(default_factory=lambda: str(uuid4()))
    source: Name
    query: dict[str, Any]
    query_hash: Hash
    state: State = State.WAITING
    owner: Owner | None = None
    database_version: str | None = None
    started: Time | None = None
    ended: Time | None = None
    attempts: int = Field(default=0, ge=0)
    listings: list[Listing] = Field(default_factory=list)
    pending: list[Name] = Field(default_factory=list)
    counts: dict[str, int] = Field(default_factory=dict)
    refused: list[Refusal] = Field(default_factory=list)
    missing: list[Missing] = Field(default_factory=list)

    @model_validator(mode="after")
    def _complete_means_nothing_missing(self) -> Self:
        if self.state is State.COMPLETED and (self.missing or self.pending):
            raise ValueError("a completed import has nothing missing and nothing pending")
        return self

    def _summary(self) -> dict[str, Any]:
        return {"source": short_source(self.source), "state": str(self.state), **self.counts}


def short_source(source: str) -> str:
    """Last 40 characters of a source, for a line of text."""
    return source if len(source) <= 40 else f"…{source[-39:]}"
