"""The proof that folds are disjoint, made again from what the phases are made from.

A split promises that folds share no phase and no master pattern, and, by its kind, no prototype or
no composition.  What the promise does not cover may still be shared and is reported beside it:
phase-disjoint folds of thousands of structures have nearly all their prototypes in common.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from ebsdsg_ml.composition import one_spelling
from ebsdsg_ml.splits import TEST, SplitKind

KINDS = ("phase", "compound", "file", "composition", "prototype")
ALWAYS = ("phase", "compound", "file")
"""What no two folds may share, whatever the split."""


class LeakError(ValueError):
    """Folds share what their split promises they do not; the message names the phases."""


@dataclass(frozen=True)
class FoldMember:
    """One phase in one fold, with what identifies the phase.

    Parameters
    ----------
    phase : identifier of the phase (a Materials Project id, for example).
    fold : number of the fold, from 0; :data:`ebsdsg_ml.splits.TEST` in the test set.
    sha256 : digest of the file of its master pattern.
    composition : formula in any spelling, or None when not known.
    prototype : structure prototype (an AFLOW label), or None when not known.
    """

    phase: str
    fold: int
    sha256: str | None = None
    composition: str | None = None
    prototype: str | None = None

    @property
    def compound(self) -> str | None:
        """Composition and prototype: two entries that agree in both may be one phase."""
        if self.composition is None or self.prototype is None:
            return None
        return f"{self.composition} {self.prototype}"


@dataclass(frozen=True)
class Leak:
    """One thing that occurs in more than one fold.

    Parameters
    ----------
    kind : one of :data:`KINDS`.
    key : the phase id, compound, digest, composition or prototype.
    phases : the phases that share it, sorted.
    folds : the folds they are in, sorted; at least two.
    """

    kind: str
    key: str
    phases: tuple[str, ...]
    folds: tuple[int, ...]

    def __str__(self) -> str:
        """Say the leak in one phrase: kind, key, phases and folds."""
        names = ["test set" if fold == TEST else str(fold) for fold in self.folds]
        return f"{self.kind} {self.key} ({', '.join(self.phases)}) in folds {', '.join(names)}"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "kind": self.kind,
            "key": self.key,
            "phases": list(self.phases),
            "folds": list(self.folds),
        }


@dataclass(frozen=True)
class LeakReport:
    """What the folds share.

    Parameters
    ----------
    split : kind of the split.
    leaks : what is shared although the split promises that it is not; empty in every data set.
    overlaps : what is shared and may be: prototypes and compositions that the split does not
        separate, and those of the test set, whose *phases* alone are kept apart.
    checked : number of different values compared, by kind; 0 where the property is not known.
    n_phases, n_folds : totals; the test set counts as a fold.
    """

    split: SplitKind
    leaks: tuple[Leak, ...]
    overlaps: tuple[Leak, ...]
    checked: dict[str, int]
    n_phases: int
    n_folds: int

    @property
    def promised(self) -> tuple[str, ...]:
        """Kinds of things that no two folds may share."""
        return ALWAYS if self.split in ALWAYS else (*ALWAYS, self.split)

    @property
    def empty(self) -> bool:
        """True if nothing is shared that the split promises to separate."""
        return not self.leaks

    def raise_if_leaking(self) -> None:
        """Refuse folds that are not as disjoint as promised.

        Raises
        ------
        LeakError
            Naming every phase concerned and its folds.
        """
        if self.leaks:
            raise LeakError(f"the folds are not disjoint: {'; '.join(map(str, self.leaks))}")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, for a document."""
        return {
            "empty": self.empty,
            "split": self.split,
            "promised": list(self.promised),
            "checked": self.checked,
            "n_phases": self.n_phases,
            "n_folds": self.n_folds,
            "leaks": [leak.to_dict() for leak in self.leaks],
            "overlaps": [overlap.to_dict() for overlap in self.overlaps],
        }


def leak_report(members: Iterable[FoldMember], split: SplitKind = "phase") -> LeakReport:
    """Find what is in more than one fold.

    Parameters
    ----------
    members : every (phase, fold) pair there is, a phase as often as it occurs.
    split : kind of the split; fixes what counts as a leak.

    Returns
    -------
    The report; ``.empty`` is the statement that the folds are as disjoint as the split promises.
    """
    everything = list(members)
    names = one_spelling(m.composition for m in everything if m.composition is not None)
    everything = [
        m if m.composition is None else replace(m, composition=names[m.composition])
        for m in everything
    ]
    keys: dict[str, Callable[[FoldMember], str | None]] = {
        "phase": lambda m: m.phase,
        "compound": lambda m: m.compound,
        "file": lambda m: m.sha256,
        "composition": lambda m: m.composition,
        "prototype": lambda m: m.prototype,
    }
    leaks: list[Leak] = []
    overlaps: list[Leak] = []
    checked = {}
    for kind in KINDS:
        groups: dict[str, list[FoldMember]] = defaultdict(list)
        for member in everything:
            value = keys[kind](member)
            if value is not None:
                groups[value].append(member)
        checked[kind] = len(groups)
        for value, group in sorted(groups.items()):
            among = group if kind in ALWAYS else [m for m in group if m.fold != TEST]
            promised = kind in ALWAYS or kind == split
            if promised and len({m.fold for m in among}) > 1:
                leaks.append(_leak(kind, value, among))
            elif len({m.fold for m in group}) > 1:
                overlaps.append(_leak(kind, value, group))
    return LeakReport(
        split=split,
        leaks=tuple(leaks),
        overlaps=tuple(overlaps),
        checked=checked,
        n_phases=len({member.phase for member in everything}),
        n_folds=len({member.fold for member in everything}),
    )


def _leak(kind: str, key: str, group: list[FoldMember]) -> Leak:
    phases = tuple(sorted({member.phase for member in group}))
    return Leak(kind, key, phases, tuple(sorted({member.fold for member in group})))
