"""Groups that a pattern may be taken for because one contains the other."""

from __future__ import annotations

from collections.abc import Iterable

from ebsdsg_sim.subgroups import subgroup_graph


def confusable_groups(group: int, classes: Iterable[int]) -> tuple[int, ...]:
    """Classes one step away in the graph of maximal *klassengleiche* subgroups, nearest first.

    Parameters
    ----------
    group : space-group number of the answer.
    classes : groups that the model knows.

    Returns
    -------
    Groups of which `group` is a maximal klassengleiche subgroup or the other way round, by the
    index of that step: with fewer cosets less is to be seen of the difference.
    """
    found: dict[int, int] = {}
    for step in subgroup_graph(tuple(classes)):
        if group in (step.supergroup, step.subgroup):
            other = step.subgroup if group == step.supergroup else step.supergroup
            found[other] = min(step.index, found.get(other, step.index))
    return tuple(sorted(found, key=lambda other: (found[other], other)))
