"""The answers of a run's evaluation, read again from the file that it left."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ebsdsg_flows.datasets import MissingPattern
from ebsdsg_flows.settings import get_settings
from stores.documents import PredictionDocument

if TYPE_CHECKING:
    from ebsdsg_ml.evaluate import Evaluation
    from stores.collections import Stores


def kept_answers(stores: Stores, run: Mapping[str, Any]) -> Evaluation | None:
    """Answers of a run for the fold that it did not see.

    Parameters
    ----------
    stores : open database.
    run : document of the training run.

    Returns
    -------
    ``None`` if the run was not evaluated pattern by pattern.

    Raises
    ------
    MissingPattern
        If the database tells of answers that are not below the data root.
    ebsdsg_ml.datasets.DatasetError
        If the data set cannot be read.
    """
    key = PredictionDocument.key_of(run["key"], run["dataset"])
    prediction = stores.predictions.find_one({"key": key}, {"file": True})
    dataset = stores.datasets.find_one({"key": run["dataset"]}, {"file": True})
    if prediction is None or dataset is None:
        return None
    root = get_settings().root
    path = root / prediction["file"]["path"]
    if not path.is_file():
        raise MissingPattern(f"the answers of training run {run['key']} are not at {path}")
    return read_answers(path, root / dataset["file"]["path"], held_out=run["fold"] is not None)


def read_answers(path: Path, dataset: Path, *, held_out: bool) -> Evaluation:
    """Read answers and what the data set says of their patterns.

    Parameters
    ----------
    path : file that :func:`ebsdsg_flows.evaluation.evaluate_folds` wrote.
    dataset : file of the data set that they are about.
    held_out : True if the run saw none of the phases.

    Raises
    ------
    OSError, ValueError, KeyError
        If the answers cannot be read.
    IndexError
        If they are about patterns that the data set does not have.
    ebsdsg_ml.datasets.DatasetError
        If the data set cannot be read.
    """
    import numpy as np

    from ebsdsg_ml.dataset_file import open_dataset
    from ebsdsg_ml.evaluate import Evaluation

    with np.load(path, allow_pickle=False) as answers, open_dataset(dataset) as opened:
        return Evaluation(
            classes=tuple(opened.recipe.class_numbers),
            label=opened.recipe.label,
            dataset_sha256=opened.content_sha256,
            rows=answers["rows"],
            truth=answers["truth"],
            logits=answers["logits"],
            phase=opened.phase[answers["rows"]],
            phases=tuple(str(row["id"]) for row in opened.phases),
            formulas=tuple(str(row["formula"]) for row in opened.phases),
            phase_folds=tuple(int(row["fold"]) for row in opened.phases),
            held_out=held_out,
        )
