"""Accuracy of training runs: that of their evaluation, whose patterns the pages show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from stores.documents import PredictionDocument

if TYPE_CHECKING:
    from stores.collections import Stores


def with_accuracies(stores: Stores, runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Runs with the accuracy on the fold that they did not see.

    Parameters
    ----------
    stores : open database.
    runs : documents, or ``key``, ``dataset``, ``fold`` and ``accuracy`` of them.

    Returns
    -------
    The same runs; ``accuracy`` is that of the evaluation where there is one.

    Notes
    -----
    What a run writes down itself was computed while it trained, in its precision (bfloat16, say);
    the evaluation has the exported model answer in single precision, and some patterns change
    sides.  All numbers of a page are of the same answers.
    """
    keys = {
        PredictionDocument.key_of(run["key"], run["dataset"]): run["key"]
        for run in runs
        if run["fold"] is not None
    }
    fields = {"key": True, "summary.accuracy.value": True}
    found = {
        keys[entry["key"]]: entry["summary"]["accuracy"]["value"]
        for entry in stores.predictions.find({"key": {"$in": list(keys)}}, fields)
    }
    return [{**run, "accuracy": found.get(run["key"], run["accuracy"])} for run in runs]
