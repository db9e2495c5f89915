"""Calibrating a model on the patterns of a fold that it never saw."""

from __future__ import annotations

import numpy as np

from ebsdsg_ml.calibration import Calibration, calibrate
from ebsdsg_ml.pattern_dataset import PatternDataset
from ebsdsg_ml.pattern_model import PatternModel


def calibrated_on(model: PatternModel, held_out: PatternDataset, batch: int = 256) -> PatternModel:
    """The model with a calibration of phases held out of its training.

    Parameters
    ----------
    model : trained without any phase of `held_out`.
    held_out : patterns of its validation fold.
    batch : patterns read and computed at once.

    Returns
    -------
    The model, calibrated; unchanged if fewer than two phases were held out.

    Notes
    -----
    The same fold chose the epoch, which makes the answers on it a little too good.  An evaluation
    *of* this fold must not use this calibration
    (:func:`ebsdsg_ml.judgement.cross_calibrated` does not).
    """
    phase = held_out.phase_rows
    if len(np.unique(phase)) < 2:
        return model
    logits = [
        model.logits(held_out.read(np.arange(start, min(start + batch, len(held_out))))).numpy()
        for start in range(0, len(held_out), batch)
    ]
    folds = ", ".join(map(str, sorted(held_out.folds)))
    known: Calibration = calibrate(
        np.concatenate(logits),
        held_out.labels,
        phase,
        fitted_on=f"phases of fold {folds}, held out of the training",
    )
    return model.calibrated(known)
