"""How many patterns every phase gives, so that the totals of the classes agree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from ebsdsg_ml.recipe import RecipeError
from ebsdsg_ml.splits import shuffled


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


def patterns_per_phase_and_fold(
    labels: Mapping[str, int],
    folds: Mapping[str, int],
    n_folds: int,
    patterns_per_class: int,
    seed: int = 0,
) -> dict[str, int]:
    """Number of patterns of every phase such that every class has the same total in every fold.

    For folds whose numbers of phases differ much, as those of prototypes do: whichever fold is left
    out, a training then sees as much of every class.

    Parameters
    ----------
    labels, folds : phase id -> class, phase id -> fold.
    n_folds : number of folds.
    patterns_per_class : total of every class.
    seed : chooses who gets one more when a total does not divide.

    Returns
    -------
    phase id -> number of patterns, sorted by phase id.  Class totals are exactly
    `patterns_per_class`; of one class, the totals of two folds differ by at most one.

    Raises
    ------
    RecipeError
        If a class has more phases in a fold than patterns, so that a phase would have none.
    """
    counts: dict[str, int] = {}
    for label in sorted(set(labels.values())):
        share, rest = divmod(patterns_per_class, n_folds)
        extra = set(shuffled(seed, f"fold share {label}", map(str, range(n_folds)))[:rest])
        for fold in range(n_folds):
            members = {p: label for p in labels if labels[p] == label and folds[p] == fold}
            try:
                counts |= patterns_per_phase(members, share + (str(fold) in extra), seed)
            except RecipeError as error:
                raise RecipeError(
                    f"fold {fold} of {n_folds}: {error} (patterns_per_class = "
                    f"{patterns_per_class} is for all folds together)"
                ) from None
    return dict(sorted(counts.items()))
