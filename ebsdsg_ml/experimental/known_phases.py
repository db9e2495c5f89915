"""Experimental patterns whose phases are known, as the truth that answers are held against."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ebsdsg_ml.experimental.pattern_set import PatternSet
from ebsdsg_ml.experimental.scan import PatternFileError


def known_classes(held: PatternSet, classes: Sequence[int], kind: str) -> np.ndarray:
    """Classes of patterns of known phases.

    Parameters
    ----------
    held : the patterns.
    classes : space-group numbers that are told apart, ascending.
    kind : of these groups, ``"true"`` or ``"relabelled"``: NiAl is 221, and 229 after disordering.

    Returns
    -------
    (n,) class indices.

    Raises
    ------
    PatternFileError
        If a pattern has no group of this kind, or one that is not among the classes.
    """
    groups = held.groups(kind)
    if missing := int((groups == 0).sum()):
        option = "--group" if kind == "true" else "--group and --relabelled"
        raise PatternFileError(
            f"{missing} of {len(groups)} patterns have no {kind} space group: import each phase "
            f"with {option}"
        )
    if strange := sorted(set(groups.tolist()) - set(classes)):
        raise PatternFileError(
            f"the {kind} groups {strange} of the patterns are not among {tuple(classes)}"
        )
    return np.searchsorted(np.asarray(classes), groups)
