"""Folds that share no phase, and the proof that they do not.

Patterns of one phase resemble each other far more than patterns of two phases of one space group,
so a classifier tested on a phase it was trained on looks better than it is.  The paper therefore
splits the *phases* of every space group, not the patterns; so does this module, and
:func:`leak_report` checks the result again by what the phases are made from.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any


class SplitError(ValueError):
    """The phases cannot be split as asked; the message names the classes and phases."""


class LeakError(ValueError):
    """A phase (or its master pattern) is in more than one fold; the message names the phases."""


@dataclass(frozen=True)
class FoldMember:
    """One phase in one fold, with what identifies the phase.

    Parameters
    ----------
    phase : identifier of the phase (a Materials Project id, for example).
    fold : number of the fold, from 0.
    sha256 : digest of the file of its master pattern.
    composition : reduced formula, or None when not known.
    prototype : structure prototype (``"NaCl"``, an AFLOW label), or None when not known.
    """

    phase: str
    fold: int
    sha256: str | None = None
    composition: str | None = None
    prototype: str | None = None


@dataclass(frozen=True)
class Leak:
    """One thing that occurs in more than one fold.

    Parameters
    ----------
    kind : ``"phase"``, ``"file"``, ``"composition"`` or ``"prototype"``.
    key : the phase id, digest, composition or prototype.
    phases : the phases that share it, sorted.
    folds : the folds they are in, sorted; at least two.
    """

    kind: str
    key: str
    phases: tuple[str, ...]
    folds: tuple[int, ...]

    def __str__(self) -> str:
        """Say the leak in one phrase: kind, key, phases and folds."""
        folds = ", ".join(map(str, self.folds))
        return f"{self.kind} {self.key} ({', '.join(self.phases)}) in folds {folds}"


@dataclass(frozen=True)
class LeakReport:
    """What the folds share.

    ``phase`` and ``file`` must be empty in a data set.  ``composition`` and ``prototype`` are
    reported, not refused: polymorphs of one composition and the many phases of one prototype are
    separate phases in the paper's split.  None means that the property was not known.
    """

    phase: tuple[Leak, ...]
    file: tuple[Leak, ...]
    composition: tuple[Leak, ...] | None
    prototype: tuple[Leak, ...] | None
    n_phases: int
    n_folds: int

    @property
    def empty(self) -> bool:
        """True if no phase and no master-pattern file is in two folds."""
        return not self.phase and not self.file

    def raise_if_leaking(self) -> None:
        """Refuse folds that share a phase or a master-pattern file.

        Raises
        ------
        LeakError
            Naming every phase concerned and its folds.
        """
        if not self.empty:
            leaks = "; ".join(str(leak) for leak in (*self.phase, *self.file))
            raise LeakError(f"the folds are not disjoint: {leaks}")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, for a document."""

        def plain(leaks: tuple[Leak, ...] | None) -> list[dict[str, Any]] | None:
            if leaks is None:
                return None
            return [
                {
                    "kind": leak.kind,
                    "key": leak.key,
                    "phases": list(leak.phases),
                    "folds": list(leak.folds),
                }
                for leak in leaks
            ]

        return {
            "empty": self.empty,
            "n_phases": self.n_phases,
            "n_folds": self.n_folds,
            "phase": plain(self.phase),
            "file": plain(self.file),
            "composition": plain(self.composition),
            "prototype": plain(self.prototype),
        }


def shuffled(seed: int, purpose: str, names: Iterable[str]) -> list[str]:
    """Names in an order that depends on the seed, the purpose and the names alone.

    The order is that of SHA-256 digests, not of a random-number generator, so that it is the same
    for every input order, Python and NumPy version.
    """

    def digest(name: str) -> bytes:
        return hashlib.sha256(f"{seed}\x1f{purpose}\x1f{name}".encode()).digest()

    return sorted(set(names), key=digest)


def phase_folds(labels: Mapping[str, int], n_folds: int, seed: int = 0) -> dict[str, int]:
    """Deal the phases of every class over the folds.

    Parameters
    ----------
    labels : phase id -> class (space-group number).
    n_folds : number of folds, at least 2.
    seed : chooses the deal; the result does not depend on the order of `labels`.

    Returns
    -------
    phase id -> fold, in 0 ... `n_folds` - 1, sorted by phase id.  Within a class, and over all
    classes together, the number of phases per fold differs by at most one.

    Raises
    ------
    SplitError
        If a class has fewer phases than there are folds (it would be missing from some fold), or
        `n_folds` is below 2.
    """
    if isinstance(n_folds, bool) or not isinstance(n_folds, int) or n_folds < 2:
        raise SplitError(f"n_folds = {n_folds!r}: must be an integer of at least 2")
    if not labels:
        raise SplitError("no phases to split")
    members: dict[int, list[str]] = defaultdict(list)
    for phase, label in labels.items():
        members[label].append(phase)
    short = {label: sorted(m) for label, m in sorted(members.items()) if len(m) < n_folds}
    if short:
        detail = "; ".join(f"{label}: {len(m)} ({', '.join(m)})" for label, m in short.items())
        raise SplitError(
            f"{n_folds} folds need at least {n_folds} phases of every space group; too few of "
            f"{detail}. Add phases, leave the group out or ask for fewer folds"
        )
    folds: dict[str, int] = {}
    dealt = 0  # dealing goes on where the last class ended, so that whole folds are balanced too
    for label in sorted(members):
        for phase in shuffled(seed, f"fold {label}", members[label]):
            folds[phase] = dealt % n_folds
            dealt += 1
    return dict(sorted(folds.items()))


def leak_report(members: Iterable[FoldMember]) -> LeakReport:
    """Find what is in more than one fold.

    Parameters
    ----------
    members : every (phase, fold) pair there is, a phase as often as it occurs.

    Returns
    -------
    The report; ``.empty`` is the statement that no phase and no master pattern is shared.
    """
    everything = list(members)

    def shared(kind: str, key: Callable[[FoldMember], str | None]) -> tuple[Leak, ...]:
        groups: dict[str, list[FoldMember]] = defaultdict(list)
        for member in everything:
            value = key(member)
            if value is not None:
                groups[value].append(member)
        leaks = []
        for value, group in sorted(groups.items()):
            folds = sorted({member.fold for member in group})
            if len(folds) > 1:
                phases = sorted({member.phase for member in group})
                leaks.append(Leak(kind, value, tuple(phases), tuple(folds)))
        return tuple(leaks)

    def known(name: str) -> bool:
        return any(getattr(member, name) is not None for member in everything)

    return LeakReport(
        phase=shared("phase", lambda m: m.phase),
        file=shared("file", lambda m: m.sha256),
        composition=shared("composition", lambda m: m.composition)
        if known("composition")
        else None,
        prototype=shared("prototype", lambda m: m.prototype) if known("prototype") else None,
        n_phases=len({member.phase for member in everything}),
        n_folds=len({member.fold for member in everything}),
    )
