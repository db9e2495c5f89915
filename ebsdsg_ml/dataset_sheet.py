"""A picture of a data set: a few patterns of every class, and of the test set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ebsdsg_ml.dataset_file import open_dataset
from ebsdsg_ml.figures import class_name, contact_sheet
from ebsdsg_ml.pattern_dataset import open_patterns
from ebsdsg_ml.splits import TEST

if TYPE_CHECKING:
    from PIL import Image


def dataset_sheet(path: str | Path, *, per_class: int = 6, pixels: int = 128) -> Image.Image:
    """Contact sheet of a data set.

    Parameters
    ----------
    path : data-set file.
    per_class : patterns of every class, of as many phases as there are.
    pixels : width of a pattern in the picture.

    Returns
    -------
    One row per class and, where there is a test set, one of its classes; under each pattern its
    formula and space group.
    """
    with open_dataset(path) as opened:
        has_test = bool((opened.fold == TEST).any())
    patterns, labels = [], []
    for folds in (None, TEST) if has_test else (None,):
        reader = open_patterns(path, folds)
        for index, number in enumerate(reader.classes):
            members = np.flatnonzero(reader.labels == index)
            if not members.size:
                continue
            # spread over the class, whose patterns lie phase by phase
            chosen = members[np.linspace(0, len(members) - 1, per_class).round().astype(int)]
            patterns.append(reader.read(chosen))
            prefix = "" if folds is None else "test: "
            labels += [
                f"{prefix}{reader.phases[reader.phase_rows[i]]['formula']}, {class_name(number)}"
                for i in chosen
            ]
    return contact_sheet(np.concatenate(patterns), labels, columns=per_class, pixels=pixels)
