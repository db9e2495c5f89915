"""What a data set is made of, said once.

A recipe and the digests of its master patterns fix a data set completely: its content hash is the
data set's identity.  Defaults are the paper's: 5 folds, 229 x 229 pixels, about 9,000 patterns per
class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import Any, Literal

from ebsdsg_ml.exclusion import Exclusion, ExclusionError
from ebsdsg_ml.splits import SPLITS, SplitKind

LabelKind = Literal["true", "relabelled"]

PAPER_CLASSES: dict[str, tuple[int, ...]] = {
    "true": (221, 223, 225, 227, 229, 230),
    "relabelled": (221, 223, 225, 227, 229),
}
"""Space groups told apart in the paper, for the true and the relabelled groups."""


class RecipeError(ValueError):
    """A recipe is not usable; the message names the entry and what is allowed."""


EXPERIMENT_SET = "experiment"
"""Name of the phases of the paper's experiment in the entry ``test``."""

SELECTION = ("exclude", "test", "debye_waller")
"""Entries that choose phases and master patterns; their effect is part of a data set's identity,
not how they are written."""


@dataclass(frozen=True)
class DatasetRecipe:
    """Recipe of one simulated data set.

    Parameters
    ----------
    label : which space group of a phase is its class: the ``"true"`` one, or the ``"relabelled"``
        one (after compositional disordering).
    classes : space-group numbers told apart, ascending; None takes the paper's for `label`.
        Phases of other groups are left out.
    patterns_per_class : number of patterns of every class; exact.
    size : pixels along one side of the square patterns.
    detector : geometry as keyword arguments of :class:`ebsdsg_sim.detector.Detector` other than
        ``shape``; empty takes the paper's detector resampled to `size`.
    energy_weights, background : how the energies are summed and whether the patterns carry the
        background of the detector (see :class:`ebsdsg_sim.projection.Projector`).
    solid_angle : ``"physical"``, or ``"emsoft"`` to have EMEBSD's one dark pixel at its misplaced
        pattern centre in every pattern.
    split : what no two folds share: ``"phase"`` (the paper's), ``"prototype"`` or
        ``"composition"``; the two others separate the phases too.
    n_folds : number of folds.
    seed : chooses folds and orientations.
    exclude : phases left out: a list of ids, or rules (:class:`ebsdsg_ml.exclusion.Exclusion`).
    test : ``{"phases": "experiment", "patterns": 100}`` makes a test set of the 18 phases of the
        paper's experiment (or of a list of ids) and keeps them out of the folds; empty makes none.
    debye_waller : sets of master patterns told apart by the Debye-Waller factors B of their atoms,
        as name -> [lowest, highest] B [nm^2].  The set of the lowest factors is the data set
        proper; the others are for training only.  Empty expects one master pattern per phase.
    orientations : ``"random"`` draws them uniformly from SO(3), ``"grid"`` spreads those of a phase
        evenly over its fundamental zone.
    imperfections : what the detector does to the patterns, the entries of
        :class:`ebsdsg_ml.imperfections.DetectorImperfections`; empty leaves them perfect.
    generation : ``"stored"`` writes the patterns to the file, ``"fresh"`` makes them on the fly
        from prepared maps, in new orientations in every epoch.

    Raises
    ------
    RecipeError
        If a value is out of range.
    """

    label: LabelKind = "true"
    classes: tuple[int, ...] | None = None
    patterns_per_class: int = 9000
    size: int = 229
    detector: Mapping[str, Any] = field(default_factory=dict)
    energy_weights: Literal["exact", "fast", "none"] = "fast"
    background: bool = True
    solid_angle: Literal["physical", "emsoft"] = "physical"
    split: SplitKind = "phase"
    n_folds: int = 5
    seed: int = 0
    exclude: Exclusion = field(default_factory=Exclusion)
    test: Mapping[str, Any] = field(default_factory=dict)
    debye_waller: Mapping[str, Any] = field(default_factory=dict)
    orientations: Literal["random", "grid"] = "random"
    imperfections: Mapping[str, Any] = field(default_factory=dict)
    generation: Literal["stored", "fresh"] = "stored"

    def __post_init__(self) -> None:
        if self.label not in tuple(PAPER_CLASSES):  # a list is no key
            raise RecipeError(f"label = {self.label!r}: must be 'true' or 'relabelled'")
        if not isinstance(self.classes, (list, tuple, type(None))):
            raise RecipeError(f"classes = {self.classes!r}: must be a list of space-group numbers")
        classes = PAPER_CLASSES[self.label] if self.classes is None else tuple(self.classes)
        for number in classes:
            if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= 230:
                raise RecipeError(f"classes: {number!r} is not a space-group number (1 to 230)")
        if len(set(classes)) != len(classes) or len(classes) < 2:
            raise RecipeError(f"classes = {classes}: at least two different space groups needed")
        object.__setattr__(self, "classes", tuple(sorted(classes)))
        for name, low in (("patterns_per_class", 1), ("size", 16), ("n_folds", 2), ("seed", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < low:
                raise RecipeError(f"{name} = {value!r}: must be an integer of at least {low}")
        for name, allowed in (
            ("energy_weights", ("exact", "fast", "none")),
            ("background", (True, False)),
            ("solid_angle", ("physical", "emsoft")),
            ("split", SPLITS),
            ("orientations", ("random", "grid")),
            ("generation", ("stored", "fresh")),
        ):
            if getattr(self, name) not in allowed:
                raise RecipeError(f"{name} = {getattr(self, name)!r}: must be one of {allowed}")
        object.__setattr__(self, "background", bool(self.background))  # 1 and True are one recipe
        object.__setattr__(self, "detector", _detector(self.detector, self.size))
        if not isinstance(self.imperfections, Mapping):
            raise RecipeError(f"imperfections = {self.imperfections!r}: must be a mapping")
        object.__setattr__(self, "imperfections", _imperfections(self.imperfections))
        shift = self.imperfections.get("energy_shift", 0)
        if self.energy_weights == "none" and shift not in (0, [0, 0]):
            raise RecipeError(
                f"imperfections: energy_shift = {shift}: has no effect on patterns with "
                "energy_weights = 'none'; use 'exact' or 'fast'"
            )
        if self.generation == "fresh" and self.orientations == "grid":
            raise RecipeError("orientations = 'grid' is for generation = 'stored'")
        try:
            object.__setattr__(self, "exclude", Exclusion.of(self.exclude))
        except ExclusionError as error:
            raise RecipeError(str(error)) from None
        object.__setattr__(self, "test", _test_set(self.test))
        object.__setattr__(self, "debye_waller", _debye_waller_sets(self.debye_waller))

    @property
    def class_numbers(self) -> tuple[int, ...]:
        """Space-group numbers of the classes, ascending; the order of a classifier's outputs."""
        assert self.classes is not None
        return self.classes

    @property
    def sets(self) -> tuple[str, ...]:
        """Names of the sets of master patterns; the first is the one that is also tested on."""
        return tuple(self.debye_waller) or ("",)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; the same dictionary for every way of saying the same recipe."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        values["classes"] = list(self.class_numbers)
        values["exclude"] = self.exclude.to_dict()
        return values

    def content(self) -> dict[str, Any]:
        """What the recipe says about the content beyond the choice of phases and their labels.

        Entries at their defaults are left out, so that an entry that comes into being later changes
        no identity.
        """
        values, plain = self.to_dict(), DatasetRecipe(label=self.label).to_dict()
        return {
            name: value
            for name, value in values.items()
            if name not in SELECTION and (name in ("label", "classes") or value != plain[name])
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DatasetRecipe:
        """Build a recipe from a mapping (a YAML file's content, for example).

        Raises
        ------
        RecipeError
            If a key is unknown or a value out of range.
        """
        unknown = sorted(map(str, set(values) - set(cls.__dataclass_fields__)))
        if unknown:
            known = ", ".join(sorted(cls.__dataclass_fields__))
            raise RecipeError(f"unknown recipe entry {', '.join(unknown)}; known: {known}")
        plain = dict(values)
        if isinstance(plain.get("classes"), list):
            plain["classes"] = tuple(plain["classes"])
        return cls(**plain)


def _detector(value: Any, size: int) -> dict[str, float]:
    """The entry ``detector``, of which a detector can be made."""
    if not isinstance(value, Mapping) or "shape" in value:
        raise RecipeError("detector: must be a mapping without 'shape' (size fixes it)")
    if not value:
        return {}
    from ebsdsg_sim.detector import Detector, DetectorError

    known = [entry.name for entry in fields(Detector) if entry.name != "shape"]
    for name, number in value.items():
        if name not in known:
            raise RecipeError(f"detector: unknown entry {name!r}; known: {', '.join(known)}")
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            raise RecipeError(f"detector: {name} = {number!r}: must be a number")
    if missing := [name for name in ("pixel_size", "distance") if name not in value]:
        raise RecipeError(f"detector: {missing[0]} is missing: a length in um")
    try:
        Detector(shape=(size, size), **value)
    except DetectorError as error:
        raise RecipeError(f"detector: {error}") from None
    return dict(sorted(value.items()))


def _imperfections(value: Mapping[str, Any]) -> dict[str, Any]:
    """The entry ``imperfections``, with all parameters of its parts."""
    if not value:
        return {}
    from ebsdsg_ml.imperfections import DetectorImperfections, ImperfectionError

    try:
        return DetectorImperfections.from_dict(value).to_dict()
    except ImperfectionError as error:
        raise RecipeError(f"imperfections: {error}") from None


def _test_set(value: Any) -> dict[str, Any]:
    """The entry ``test``, complete; empty without a test set."""
    if not isinstance(value, Mapping) or set(value) - {"phases", "patterns"}:
        raise RecipeError(f"test = {value!r}: must be a mapping with the keys phases and patterns")
    if not value:
        return {}
    phases, patterns = value.get("phases", EXPERIMENT_SET), value.get("patterns", 100)
    if phases != EXPERIMENT_SET:
        if not isinstance(phases, (list, tuple)) or not all(isinstance(p, str) for p in phases):
            raise RecipeError(f"test: phases = {phases!r}: must be 'experiment' or a list of ids")
        phases = sorted(set(phases))
    if isinstance(patterns, bool) or not isinstance(patterns, int) or patterns < 1:
        raise RecipeError(f"test: patterns = {patterns!r}: must be an integer of at least 1")
    return {"phases": phases, "patterns": patterns}


def _debye_waller_sets(value: Any) -> dict[str, list[float]]:
    """The entry ``debye_waller``, ordered by rising factors."""
    if not isinstance(value, Mapping):
        raise RecipeError(f"debye_waller = {value!r}: must map names to [lowest, highest]")
    sets: dict[str, list[float]] = {}
    for name, limits in value.items():
        numbers = isinstance(limits, (list, tuple)) and len(limits) == 2
        if not numbers or any(
            isinstance(b, bool) or not isinstance(b, (int, float)) for b in limits
        ):
            raise RecipeError(
                f"debye_waller: {name} = {limits!r}: must be [lowest, highest] in nm^2"
            )
        if not name or not 0 <= limits[0] <= limits[1]:
            raise RecipeError(f"debye_waller: {name} = {limits!r}: must be rising and not negative")
        sets[str(name)] = [float(b) for b in limits]
    ordered = dict(sorted(sets.items(), key=lambda item: item[1]))
    ranges = list(ordered.items())
    for (name, (_, high)), (other, (low, _)) in pairwise(ranges):
        if low <= high:
            raise RecipeError(f"debye_waller: the sets {name} and {other} overlap")
    return ordered
