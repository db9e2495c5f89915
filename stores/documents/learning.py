"""Data sets, training runs and predictions."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self
from uuid import NAMESPACE_OID, uuid4, uuid5

from pydantic import Field, model_validator

from stores.documents.base import (
    Document,
    FileReference,
    GroupNumber,
    Hash,
    Name,
    Part,
    Time,
    short,
)
from stores.documents.simulation import Claim, Failure
from stores.identity import canonical_json, content_hash
from stores.states import State, now

LabelKind = Literal["true", "relabelled"]
"""Which space group is learned: the structure's own or the one after disordering."""


class Member(Part):
    """What one phase contributes to a data set.

    Attributes
    ----------
    simulation : key of the simulation whose master pattern was projected.
    true, relabelled : labels.
    fold : fold that the whole phase is in; ``None`` in the test set.
    patterns : number of patterns.
    set : name of its set of Debye-Waller factors, empty where there is only one.
    """

    simulation: Hash
    material_id: Name
    formula: Name
    true: GroupNumber
    relabelled: GroupNumber
    fold: int | None = Field(default=None, ge=0)
    patterns: int = Field(ge=1)
    set: str = ""


class DatasetDocument(Document):
    """A data set in a file; the key is the hash of what determines its content.

    Attributes
    ----------
    recipe : everything that determines the content: the recipe's entries that say how patterns are
        made, the phases that its other entries chose, and their simulations.
    written : the recipe as it was first given.
    labels : label kind that the folds and totals were balanced for.
    split : what no two folds share.
    generation : whether the file holds ``stored`` patterns or the maps to make ``fresh`` ones.
    folds : number of folds.
    counts : patterns per class, keyed by group number as text, for ``true`` and ``relabelled``;
        without the test set.
    members : every phase with its fold.
    left_out : phases not used, each with the reason.
    leak_report : what the leak check found.
    pictures : contact sheets.
    """

    collection: ClassVar[str] = "datasets"

    recipe: dict[str, Any]
    written: dict[str, Any] = Field(default_factory=dict)
    labels: LabelKind
    split: Literal["phase", "prototype", "composition"] = "phase"
    generation: Literal["stored", "fresh"] = "stored"
    folds: int = Field(ge=1)
    n_patterns: int = Field(ge=1)
    counts: dict[LabelKind, dict[str, int]]
    members: list[Member]
    left_out: dict[str, str] = Field(default_factory=dict)
    leak_report: dict[str, Any]
    file: FileReference
    pictures: list[FileReference] = Field(default_factory=list)

    @classmethod
    def key_of(cls, recipe: dict[str, Any]) -> str:
        """Key of the data set that a recipe makes."""
        return content_hash(recipe)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.key != content_hash(self.recipe):
            raise ValueError("key is not the hash of the recipe")
        total = sum(member.patterns for member in self.members)
        if total != self.n_patterns:
            raise ValueError(f"members have {total} patterns, n_patterns is {self.n_patterns}")
        folds: dict[str, int | None] = {}
        for member in self.members:
            if folds.setdefault(member.material_id, member.fold) != member.fold:
                raise ValueError(f"{member.material_id} is in two folds")
            if member.fold is not None and member.fold >= self.folds:
                raise ValueError(f"{member.material_id} is in fold {member.fold} of {self.folds}")
        return self

    def _summary(self) -> dict[str, Any]:
        return {
            "labels": self.labels,
            "phases": len({member.material_id for member in self.members}),
            "patterns": self.n_patterns,
            "folds": f"{self.folds} {self.split}-disjoint",
        }

    def _facts(self) -> dict[str, Any]:
        counts = ", ".join(f"{group}: {n}" for group, n in self.counts[self.labels].items())
        return {
            **self._summary(),
            "patterns by group": counts,
            "left out": f"{len(self.left_out)} phases" if self.left_out else None,
            "file": f"{self.file.path} ({self.file.bytes / 1e6:.1f} MB)",
        }


class PhaseAccuracy(Part):
    """How one phase was classified."""

    material_id: Name
    formula: Name
    label: GroupNumber
    n: int = Field(ge=1)
    accuracy: float = Field(ge=0, le=1)
    most_frequent: GroupNumber | None = None


class ConfusionMatrix(Part):
    """Counts with true classes as rows and predicted classes as columns."""

    classes: list[GroupNumber]
    counts: list[list[int]]

    @model_validator(mode="after")
    def _square(self) -> Self:
        n = len(self.classes)
        if len(self.counts) != n or any(len(row) != n for row in self.counts):
            raise ValueError(f"counts must be {n} x {n}, as there are {n} classes")
        return self


class EpochFile(Part):
    """A file that an epoch left, below the data root.

    Attributes
    ----------
    epoch, step : after which it was written.
    path : relative to the data root; a resume point goes when its run is done.
    """

    epoch: int = Field(ge=1)
    step: int = Field(ge=1)
    path: Name


class Adaptation(Part):
    """What a run was adapted to, beside the labelled data set.

    Attributes
    ----------
    method : name of the method.
    sources : keys of all labelled data sets.
    target : key of the data set, or sha256 of the file, whose patterns were used without labels.
    n_target : their number.
    start : key of the training run whose model it started from.
    criterion : by which the epoch was chosen.
    target_accuracy : for a target whose labels are known; never used for a choice.
    remarks : why the accuracy is not known, and whether the target's patterns were processed
        otherwise than the sources'.
    """

    method: Name
    sources: list[Hash]
    target: Hash
    n_target: int = Field(ge=1)
    start: str | None = None
    criterion: Name
    target_accuracy: float | None = Field(default=None, ge=0, le=1)
    remarks: list[str] = Field(default_factory=list)


class TrainingRunDocument(Document):
    """One training or adaptation of one classifier; the key is a uuid that follows from what it is.

    Attributes
    ----------
    config : the full configuration, with defaults.
    seeds : random seeds by purpose.
    dataset : key of the data set.
    fold : fold held out, ``None`` when trained on all.
    adaptation : what it was adapted to, ``None`` for a training.
    claim : who computes it, or did so last; ``None`` before, and in documents of older versions.
    progress : step, number of steps and what was done, at the last sign of life.
    epochs : metrics of every finished epoch, in order.
    images : picture of every epoch.
    checkpoints : resume point of every epoch.
    checkpoint : what a resume and a prediction need.
    confusion : confusion matrices by name, such as ``validation``.
    accuracy : overall accuracy of the kept epoch on the held-out phases.
    weights : where the weights started from, ``none`` for a random start.
    calibration : ``model``, what its file holds, fitted on phases that it never saw;
        ``evaluation``, fitted on the answers for the *other* folds, by which its own fold was
        judged (entries of :class:`ebsdsg_ml.calibration.Calibration`).
    computed_with : device, threads, precision, kept epoch, digest of the final weights.
    parent : key of the training run that this one continues or belongs to.
    """

    collection: ClassVar[str] = "training_runs"

    key: Name = Field(default_factory=lambda: str(uuid4()))
    config: dict[str, Any]
    seeds: dict[str, int] = Field(default_factory=dict)
    dataset: Hash
    labels: LabelKind
    fold: int | None = Field(default=None, ge=0)
    state: State = State.WAITING
    started: Time | None = None
    finished: Time | None = None
    heartbeat: Time = Field(default_factory=now)
    claim: Claim | None = None
    progress: dict[str, Any] = Field(default_factory=dict)
    adaptation: Adaptation | None = None
    epochs: list[dict[str, float]] = Field(default_factory=list)
    images: list[EpochFile] = Field(default_factory=list)
    checkpoints: list[EpochFile] = Field(default_factory=list)
    checkpoint: FileReference | None = None
    confusion: dict[str, ConfusionMatrix] = Field(default_factory=dict)
    per_phase: list[PhaseAccuracy] = Field(default_factory=list)
    accuracy: float | None = Field(default=None, ge=0, le=1)
    weights: str = ""
    calibration: dict[str, dict[str, Any]] = Field(default_factory=dict)
    computed_with: dict[str, Any] = Field(default_factory=dict)
    cpu_seconds: float | None = Field(default=None, ge=0)
    failure: Failure | None = None
    parent: str | None = None

    @classmethod
    def key_of(cls, identity: dict[str, Any]) -> str:
        """Key of the run that data, fold and configuration make.

        Two workers that are given the same run so find one document.
        """
        return str(uuid5(NAMESPACE_OID, canonical_json(identity)))

    def _summary(self) -> dict[str, Any]:
        return {
            "labels": self.labels,
            "fold": self.fold,
            "state": self.state,
            "epochs": len(self.epochs),
            "accuracy": None if self.accuracy is None else f"{self.accuracy:.3f}",
        }

    def _facts(self) -> dict[str, Any]:
        held_out = "none" if self.fold is None else self.fold
        last = self.epochs[-1] if self.epochs else {}
        failure = self.failure
        return {
            "work": f"{self.config.get('model', 'network')} for {self.labels} space groups"
            + (f", adapted by {self.adaptation.method}" if self.adaptation else ""),
            "state": f"{self.state}, {len(self.epochs)} of {self.config.get('epochs', '?')} epochs",
            "failure": None
            if failure is None
            else f"{failure.code} {failure.name}: {failure.message}",
            "data set": f"{short(self.dataset)}, fold held out: {held_out}",
            "accuracy": None
            if self.accuracy is None
            else f"{self.accuracy:.1%} on phases not seen in training",
            "last loss": f"{last['train_loss']:.3f}" if "train_loss" in last else None,
            "began with": {"none": "random weights"}.get(self.weights, self.weights),
            "model": None if self.checkpoint is None else self.checkpoint.path,
            "took": None if self.cpu_seconds is None else f"{self.cpu_seconds:.0f} CPU-seconds",
        }


class EnsembleDocument(Document):
    """Several runs that answer together; the key is the hash of their keys.

    Attributes
    ----------
    members : keys of the training runs, sorted.
    classes : space-group numbers in the order of the answers.
    collapsed : members that the histogram of their answers gives away; they do not answer.
    target : key or sha256 of the patterns that the members were compared on.
    summary : runs, checks and, where the truth is known, accuracies with intervals
        (:func:`ebsdsg_ml.ensemble.summary`); ``remarks`` say why it is not.
    """

    collection: ClassVar[str] = "ensembles"

    members: list[Name] = Field(min_length=1)
    labels: LabelKind
    classes: list[GroupNumber]
    collapsed: list[Name] = Field(default_factory=list)
    target: Hash
    n_patterns: int = Field(ge=1)
    summary: dict[str, Any]

    @classmethod
    def key_of(cls, members: list[str], target: str) -> str:
        """Key of the ensemble of some runs."""
        return content_hash({"members": sorted(members), "target": target})

    @model_validator(mode="after")
    def _consistent_members(self) -> Self:
        if self.key != self.key_of(self.members, self.target):
            raise ValueError("key is not the hash of members and target")
        if unknown := sorted(set(self.collapsed) - set(self.members)):
            raise ValueError(f"collapsed {unknown} are not members")
        return self

    def _summary(self) -> dict[str, Any]:
        return {"members": len(self.members), "collapsed": len(self.collapsed)}


class PredictionDocument(Document):
    """Answers of one training run on one set of patterns.

    Attributes
    ----------
    training_run : key of the training run.
    patterns : key of a data set, or the hash of the files that were given.
    file : probabilities of every pattern.
    summary : counts and mean probabilities per class.
    """

    collection: ClassVar[str] = "predictions"

    training_run: Name
    patterns: Hash
    n_patterns: int = Field(ge=1)
    file: FileReference
    summary: dict[str, Any]

    @classmethod
    def key_of(cls, training_run: str, patterns: str) -> str:
        """Key of the prediction of a training run on a set of patterns."""
        return content_hash({"training_run": training_run, "patterns": patterns})

    @model_validator(mode="after")
    def _key_follows(self) -> Self:
        if self.key != self.key_of(self.training_run, self.patterns):
            raise ValueError("key is not the hash of training_run and patterns")
        return self

    def _summary(self) -> dict[str, Any]:
        return {"training_run": self.training_run, "patterns": self.n_patterns}
