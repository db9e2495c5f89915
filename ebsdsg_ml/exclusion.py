"""Rules that keep phases out of a data set, as the paper tried without fluorite-type structures."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ebsdsg_ml.composition import elements

PROTOTYPES = {
    "fluorite": "AB2_cF12_225_4_8",
    "rock salt": "AB_cF8_225_4_4",
    "caesium chloride": "AB_cP2_221_1_1",
    "L1_2": "AB3_cP4_221_1_3",
    "A15": "AB3_cP8_223_2_6",
    "perovskite": "ABC3_cP5_221_1_1_3",
    "diamond": "A_cF8_227_8",
    "spinel": "AB2C4_cF56_227_8_16_32",
    "garnet": "A2B3C3D12_cI160_230_16_24_24_96",
    "fcc": "A_cF4_225_4",
    "bcc": "A_cI2_229_2",
}
"""Common names of prototypes, for those who do not know the labels by heart.

A label has the multiplicities of the sites without their letters, so it holds every prototype that
shares them: that of ``"L1_2"`` (AuCu3, 1a and 3c) is also that of ReO3 (1a and 3d)."""

_LABEL = re.compile(r"[A-Z]+[A-Z0-9]*_[a-z][A-Z]\d+_\d{1,3}(_\d+(\.\d+)*)+")
ENTRIES = ("phases", "prototypes", "elements", "elements_lighter_than")


class ExclusionError(ValueError):
    """A rule is not usable; the message names it and what is allowed."""


def prototype_label(name: str) -> str:
    """Label of a prototype, from its label or its common name (:data:`PROTOTYPES`).

    Raises
    ------
    ExclusionError
        If it is neither.
    """
    if name in PROTOTYPES:
        return PROTOTYPES[name]
    if _LABEL.fullmatch(name):
        return name
    raise ExclusionError(
        f"exclude: prototype {name!r} is neither a label such as AB2_cF12_225_4_8 nor one of "
        f"{', '.join(PROTOTYPES)}"
    )


@dataclass(frozen=True)
class Exclusion:
    """What a data set does without; a phase that meets one of the rules is left out.

    Parameters
    ----------
    phases : phase ids.
    prototypes : labels or common names, ``"fluorite"`` for example; kept as labels.
    elements : symbols; phases that contain one of them.
    elements_lighter_than : atomic number; phases that contain a lighter element (the paper's poorly
        recognised ones had one below 10).

    Raises
    ------
    ExclusionError
        If a rule is not of the right kind.
    """

    phases: tuple[str, ...] = ()
    prototypes: tuple[str, ...] = ()
    elements: tuple[str, ...] = ()
    elements_lighter_than: int | None = None

    def __post_init__(self) -> None:
        for name in ("phases", "prototypes", "elements"):
            value = getattr(self, name)
            if not isinstance(value, (list, tuple)) or not all(isinstance(v, str) for v in value):
                raise ExclusionError(f"exclude: {name} = {value!r} must be a list of names")
            object.__setattr__(self, name, tuple(sorted(set(value))))
        labels = {prototype_label(name) for name in self.prototypes}
        object.__setattr__(self, "prototypes", tuple(sorted(labels)))
        for symbol in self.elements:
            _atomic_number(symbol)
        z = self.elements_lighter_than
        if z is not None and (isinstance(z, bool) or not isinstance(z, int) or not 1 <= z <= 119):
            raise ExclusionError(f"exclude: elements_lighter_than = {z!r}: must be 1 to 119")

    @classmethod
    def of(cls, value: Any) -> Exclusion:
        """Rules from a recipe's entry: a mapping, or a list of phase ids.

        Raises
        ------
        ExclusionError
            If a rule is unknown or of the wrong kind.
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, Mapping):
            unknown = sorted(map(str, set(value) - set(ENTRIES)))
            if unknown:
                raise ExclusionError(
                    f"exclude: unknown rule {', '.join(unknown)}; known: {', '.join(ENTRIES)}"
                )
            return cls(**value)
        if isinstance(value, (list, tuple)) and all(isinstance(entry, str) for entry in value):
            return cls(phases=tuple(value))
        raise ExclusionError(
            f"exclude = {value!r}: must be a list of phase ids or rules ({', '.join(ENTRIES)})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; only the rules that there are."""
        values = {name: list(getattr(self, name)) for name in ("phases", "prototypes", "elements")}
        plain: dict[str, Any] = {name: value for name, value in values.items() if value}
        if self.elements_lighter_than is not None:
            plain["elements_lighter_than"] = self.elements_lighter_than
        return plain

    def reason(self, phase: str, formula: str, prototype: str | None) -> str | None:
        """Why a phase is left out, or None if it is not.

        Parameters
        ----------
        phase, formula, prototype : of the phase.

        Raises
        ------
        ExclusionError
            If prototypes are excluded and that of the phase is not known.
        ebsdsg_ml.composition.CompositionError
            If elements are excluded and the formula cannot be read.
        """
        if phase in self.phases:
            return "excluded by the recipe"
        if self.prototypes:
            if prototype is None:
                raise ExclusionError(
                    f"{phase} ({formula}): its prototype is not known, so it cannot be told "
                    "whether it is excluded; exclude it by its id or give it a prototype"
                )
            if prototype in self.prototypes:
                return f"prototype {prototype} is excluded by the recipe"
        if not self.elements and self.elements_lighter_than is None:
            return None
        for symbol in elements(formula):
            if symbol in self.elements:
                return f"element {symbol} is excluded by the recipe"
            if self.elements_lighter_than is not None:
                z = _atomic_number(symbol)
                if z < self.elements_lighter_than:
                    return f"{symbol} (Z = {z}) is lighter than Z = {self.elements_lighter_than}"
        return None


def _atomic_number(symbol: str) -> int:
    from ebsdsg_sim.elements import ElementError, atomic_number

    try:
        return atomic_number(symbol)
    except ElementError as error:
        raise ExclusionError(f"exclude: {error}") from None
