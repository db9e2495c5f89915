"""What a data set is made of, said once.

A recipe and the digests of its master patterns fix a data set completely: its content hash is the
data set's identity.  Defaults are the paper's (5 folds, 229 x 229 pixels, about 9,000 patterns per
class); :func:`patterns_per_phase` makes the class totals agree, as the paper did by using another
number of patterns per master pattern in every class.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ebsdsg_ml.splits import shuffled

LabelKind = Literal["true", "relabelled"]

PAPER_CLASSES: dict[str, tuple[int, ...]] = {
    "true": (221, 223, 225, 227, 229, 230),
    "relabelled": (221, 223, 225, 227, 229),
}
"""Space groups told apart in the paper, for the true and the relabelled groups."""


class RecipeError(ValueError):
    """A recipe is not usable; the message names the entry and what is allowed."""


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
    n_folds : number of phase-disjoint folds.
    seed : chooses folds and orientations.
    exclude : phase ids left out.

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
    n_folds: int = 5
    seed: int = 0
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.label not in PAPER_CLASSES:
            raise RecipeError(f"label = {self.label!r}: must be 'true' or 'relabelled'")
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
        ):
            if getattr(self, name) not in allowed:
                raise RecipeError(f"{name} = {getattr(self, name)!r}: must be one of {allowed}")
        object.__setattr__(self, "background", bool(self.background))  # 1 and True are one recipe
        if not isinstance(self.detector, Mapping) or "shape" in self.detector:
            raise RecipeError("detector: must be a mapping without 'shape' (size fixes it)")
        object.__setattr__(self, "detector", dict(sorted(self.detector.items())))
        if isinstance(self.exclude, str) or not all(isinstance(e, str) for e in self.exclude):
            raise RecipeError(f"exclude = {self.exclude!r}: must be a list of phase ids")
        object.__setattr__(self, "exclude", tuple(sorted(set(self.exclude))))

    @property
    def class_numbers(self) -> tuple[int, ...]:
        """Space-group numbers of the classes, ascending; the order of a classifier's outputs."""
        assert self.classes is not None
        return self.classes

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; the same dictionary for every way of saying the same recipe."""
        values = asdict(self)
        values["classes"] = list(self.class_numbers)
        values["exclude"] = list(self.exclude)
        values["detector"] = dict(self.detector)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DatasetRecipe:
        """Build a recipe from a mapping (a YAML file's content, for example).

        Raises
        ------
        RecipeError
            If a key is unknown or a value out of range.
        """
        unknown = sorted(set(values) - set(cls.__dataclass_fields__))
        if unknown:
            known = ", ".join(sorted(cls.__dataclass_fields__))
            raise RecipeError(f"unknown recipe entry {', '.join(unknown)}; known: {known}")
        plain = dict(values)
        for name in ("classes", "exclude"):
            if isinstance(plain.get(name), list):
                plain[name] = tuple(plain[name])
        return cls(**plain)


def patterns_per_phase(
    labels: Mapping[str, int], patterns_per_class: int, seed: int = 0
) -> dict[str, int]:
    """Number of patterns of every phase such that every class has the same total.

    Parameters
    ----------
    labels : phase id -> class.
    patterns_per_class : total of every class.
    seed : chooses which phases of a class get one pattern more when the total does not divide.

    Returns
    -------
    phase id -> number of patterns, sorted by phase id.  Class totals are exactly
    `patterns_per_class`; within a class the numbers differ by at most one.

    Raises
    ------
    RecipeError
        If a class has more phases than patterns, so that a phase would have none.
    """
    members: dict[int, list[str]] = defaultdict(list)
    for phase, label in labels.items():
        members[label].append(phase)
    counts: dict[str, int] = {}
    for label, phases in sorted(members.items()):
        share, rest = divmod(patterns_per_class, len(phases))
        if share == 0:
            raise RecipeError(
                f"space group {label} has {len(phases)} phases but only {patterns_per_class} "
                f"patterns per class; ask for at least {len(phases)}"
            )
        for rank, phase in enumerate(shuffled(seed, f"share {label}", phases)):
            counts[phase] = share + (rank < rest)
    return dict(sorted(counts.items()))
