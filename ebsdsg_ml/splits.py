"""Folds that share nothing that would make a test easy.

Patterns of one phase resemble each other far more than patterns of two phases of one space group,
so a classifier tested on a phase it was trained on looks better than it is.  The paper therefore
splits the *phases* of every space group, not the patterns.  Phases of one prototype differ by their
elements alone, phases of one composition by their arrangement alone: splitting by those asks
whether a classifier learned more than prototypes or elements.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Literal

SplitKind = Literal["phase", "prototype", "composition"]
SPLITS: tuple[SplitKind, ...] = ("phase", "prototype", "composition")
TEST = -1
"""Number that stands in the place of a fold for the phases of the test set."""


class SplitError(ValueError):
    """The phases cannot be split as asked; the message names the classes and phases."""


def shuffled(seed: int, purpose: str, names: Iterable[str]) -> list[str]:
    """Names in an order that depends on the seed, the purpose and the names alone.

    The order is that of SHA-256 digests, not of a random-number generator, so that it is the same
    for every input order, Python and NumPy version.
    """

    def digest(name: str) -> bytes:
        return hashlib.sha256(f"{seed}\x1f{purpose}\x1f{name}".encode()).digest()

    return sorted(set(names), key=digest)


def phase_folds(labels: Mapping[str, int], n_folds: int, seed: int = 0) -> dict[str, int]:
    """Deal the phases of every class over the folds, as the paper does.

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
    return group_folds(labels, {phase: phase for phase in labels}, n_folds, seed)


def group_folds(
    labels: Mapping[str, int], groups: Mapping[str, str], n_folds: int, seed: int = 0
) -> dict[str, int]:
    """Deal groups of phases over the folds, the classes as balanced as the groups allow.

    Parameters
    ----------
    labels : phase id -> class (space-group number).
    groups : phase id -> what must not be in two folds (its prototype, for example).
    n_folds : number of folds, at least 2.
    seed : chooses among equally good deals; the order of the mappings does not.

    Returns
    -------
    phase id -> fold, in 0 ... `n_folds` - 1, sorted by phase id.  Every class is in every fold.

    Raises
    ------
    SplitError
        If a class would be missing from a fold; the message names the class and its groups.

    Notes
    -----
    The largest groups are dealt first, each to the fold that has least of its classes (R. L.
    Graham, *SIAM J. Appl. Math.* 17 (1969) 416: never more than 4/3 of the best possible load).
    """
    if isinstance(n_folds, bool) or not isinstance(n_folds, int) or n_folds < 2:
        raise SplitError(f"n_folds = {n_folds!r}: must be an integer of at least 2")
    if not labels:
        raise SplitError("no phases to split")
    members: dict[str, list[str]] = defaultdict(list)
    for phase in sorted(labels):
        members[groups[phase]].append(phase)
    content = {group: Counter(labels[p] for p in phases) for group, phases in members.items()}
    _check_enough(content, members, n_folds)
    size = Counter(labels.values())
    loads: list[Counter[int]] = [Counter() for _ in range(n_folds)]
    folds: dict[str, int] = {}
    for group in _largest_first(content, size, seed):
        load = content[group]

        def cost(fold: int, load: Counter[int] = load) -> tuple[float, int, int]:
            # how much the squares of the classes' shares grow
            growth = sum(n * (n + 2 * loads[fold][c]) / size[c] ** 2 for c, n in load.items())
            return round(growth, 12), loads[fold].total(), fold

        best = min(range(n_folds), key=cost)
        loads[best].update(load)
        folds.update(dict.fromkeys(members[group], best))
    for fold, load in enumerate(loads):
        missing = sorted(set(size) - set(load))
        if missing:
            raise SplitError(
                f"fold {fold} of {n_folds} gets no phase of space group(s) "
                f"{', '.join(map(str, missing))}: groups of phases that must stay together span "
                "several classes; ask for fewer folds or another seed"
            )
    return dict(sorted(folds.items()))


def _check_enough(
    content: Mapping[str, Counter[int]], members: Mapping[str, list[str]], n_folds: int
) -> None:
    """Refuse classes with fewer groups than there are folds."""
    by_class: dict[int, list[str]] = defaultdict(list)
    for group, classes in content.items():
        for label in classes:
            by_class[label].append(group)
    short = {c: sorted(groups) for c, groups in sorted(by_class.items()) if len(groups) < n_folds}
    if not short:
        return
    single = all(members[group] == [group] for groups in short.values() for group in groups)
    what = "phases" if single else "separable groups of phases"

    def name(label: int, group: str) -> str:
        n = content[group][label]
        return group if members[group] == [group] else f"{group} with {n} phase{'s'[: n != 1]}"

    detail = "; ".join(
        f"{label}: {len(groups)} ({', '.join(name(label, group) for group in groups)})"
        for label, groups in short.items()
    )
    raise SplitError(
        f"{n_folds} folds need at least {n_folds} {what} of every space group; too few of "
        f"{detail}. Add phases, leave the group out or ask for fewer folds"
    )


def _largest_first(
    content: Mapping[str, Counter[int]], size: Mapping[int, int], seed: int
) -> list[str]:
    """Groups by class and falling share of it; equal ones in an order that the seed chooses."""
    rank = {
        group: i
        for label in sorted(size)
        for i, group in enumerate(
            shuffled(seed, f"fold {label}", (g for g in content if min(content[g]) == label))
        )
    }
    return sorted(
        content,
        key=lambda g: (
            -max(n / size[c] for c, n in content[g].items()) if len(content[g]) > 1 else 0.0,
            min(content[g]),
            -content[g].total(),
            rank[g],
        ),
    )
