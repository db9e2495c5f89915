"""Sets of experimental patterns."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from stores.documents.base import Document, FileReference, GroupNumber, Hash, Name, Part
from stores.identity import content_hash


class PatternSource(Part):
    """One file that patterns came from.

    Attributes
    ----------
    path, sha256, bytes : of the file when it was read.
    kind : vendor and format.
    group : scan within the file.
    n_patterns, shape : what it holds, and rows and columns of a pattern.
    geometry, geometry_given : of the screen, as used (Bruker's convention, mean pattern centre of
        the whole screen) and as the user gave it.
    microscope : voltage [kV], working distance [mm], names, where they are known.
    phases_in_file : name and space group of the phases that the file names.
    corrected_by_microscope, static_correction_made : what was done with the background, where.
    background : path and sha256 of a background image that the user gave.
    source, licence : the user's word on where the patterns come from, and on what terms.
    remarks : what the file says that was not taken, and why.
    """

    path: Name
    sha256: Hash
    bytes: int = Field(ge=1)
    kind: Name
    group: str = ""
    n_patterns: int = Field(ge=1)
    shape: list[int]
    corrected_by_microscope: bool | None = None
    static_correction_made: bool
    geometry: dict[str, Any] = Field(default_factory=dict)
    geometry_given: dict[str, Any] = Field(default_factory=dict)
    microscope: dict[str, Any] = Field(default_factory=dict)
    phases_in_file: list[dict[str, Any]] = Field(default_factory=list)
    orientation_frame: str = ""
    background: dict[str, str] = Field(default_factory=dict)
    source: str = ""
    licence: str = ""
    remarks: list[str] = Field(default_factory=list)


class PatternPhase(Part):
    """One phase of a set of experimental patterns.

    Attributes
    ----------
    name, space_group : as used: the user's word, else the file's.
    given, in_file : name and space group as the user and the file say them.
    relabelled : its group after compositional disordering, where it was given.
    patterns : number of patterns.
    quality : lowest, median and highest image quality.
    """

    name: str
    space_group: GroupNumber | None
    given: dict[str, Any]
    in_file: dict[str, Any]
    relabelled: GroupNumber | None = None
    patterns: int = Field(ge=0)
    quality: list[float] = Field(default_factory=list)


class ExperimentalPatternsDocument(Document):
    """A set of experimental patterns in a file; the key is the hash of its content.

    Attributes
    ----------
    content_sha256 : digest of patterns and all that the file says of them.
    processing : every step from camera image to stored pattern, with its parameters.
    quality_definition : measure, size and mask of the image quality.
    quality : lowest, median and highest image quality of all.
    phases, sources : see there.
    unlabelled : patterns without a space group.
    with_geometry, with_orientation : patterns whose pattern centre, orientation is known.
    selection : how the patterns were chosen from another set; empty for all of their files.
    """

    collection: ClassVar[str] = "experimental_patterns"

    content_sha256: Hash
    processing: dict[str, Any]
    quality_definition: dict[str, Any]
    quality: list[float]
    n_patterns: int = Field(ge=1)
    unlabelled: int = Field(ge=0)
    with_geometry: int = Field(ge=0)
    with_orientation: int = Field(ge=0)
    phases: list[PatternPhase]
    sources: list[PatternSource] = Field(min_length=1)
    selection: dict[str, Any] = Field(default_factory=dict)
    file: FileReference
    pictures: list[FileReference] = Field(default_factory=list)

    @classmethod
    def key_of(cls, content_sha256: str) -> str:
        """Key of the set of a content."""
        return content_hash({"experimental_patterns": content_sha256})

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.key != self.key_of(self.content_sha256):
            raise ValueError("key is not the hash of the content")
        if sum(phase.patterns for phase in self.phases) > self.n_patterns:
            raise ValueError("the phases have more patterns than there are")
        return self

    def _summary(self) -> dict[str, Any]:
        return {"patterns": self.n_patterns, "files": len(self.sources)}
