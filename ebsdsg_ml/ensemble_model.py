"""Several trained networks that answer as one, in one file.

The answer is the mean of the members' probabilities, each at its own temperature; the ensemble has
a calibration of its own on top, fitted on its own answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ebsdsg_ml.calibration import Calibration
from ebsdsg_ml.ensemble import EnsembleError
from ebsdsg_ml.model_file import ModelFileError, read_content, usable, write_content
from ebsdsg_ml.pattern_model import FORMAT, ModelCard, PatternModel
from ebsdsg_ml.temperature import soft_max

ENSEMBLE_FORMAT = "ebsdsg ensemble"
ENSEMBLE_VERSION = 1


class EnsembleModel:
    """Networks of the same classes and kind of pattern, answering together.

    Parameters
    ----------
    members : at least one.
    calibration : of the ensemble's answers; None for none.

    Raises
    ------
    EnsembleError
        If there is no member, or two differ in classes, kind of label, processing or size.
    """

    def __init__(
        self, members: Sequence[PatternModel], calibration: Calibration | None = None
    ) -> None:
        if not members:
            raise EnsembleError("an ensemble needs at least one model")
        self.members = tuple(members)
        first = members[0].card
        for i, member in enumerate(members):
            card = member.card
            for name in ("classes", "label", "processing", "quality"):
                if getattr(card, name) != getattr(first, name):
                    raise EnsembleError(
                        f"member {i} differs from the first in {name}: {getattr(card, name)}, "
                        f"{getattr(first, name)}"
                    )
            if card.preprocessing.size != first.preprocessing.size:
                raise EnsembleError(f"member {i} takes patterns of another size than the first")
        seen = [list(member.card.training.get("phases", ())) for member in members]
        training: dict[str, Any] = {"members": [dict(m.card.training) for m in members]}
        if all(seen):
            training["phases"] = sorted({phase for phases in seen for phase in phases})
        self.card: ModelCard = replace(first, training=training, calibration=calibration)

    def __repr__(self) -> str:
        return f"<{len(self.members)} models that answer together, each {self.members[0]!r}>"

    def _repr_html_(self) -> str:
        from ebsdsg_ml.cards import model_card

        return model_card(self)

    @property
    def classes(self) -> tuple[int, ...]:
        """Space-group numbers, in the order of the outputs."""
        return self.card.classes

    def logits(self, patterns: Tensor | np.ndarray, *, batch: int = 128) -> Tensor:
        """Outputs whose soft-max is the mean of the members' probabilities.

        Parameters
        ----------
        patterns : (n, size, size) uint8.
        batch : patterns computed at once.

        Returns
        -------
        (n, classes) float64: logarithm of the mean probability, shifted so that the energy
        (:func:`ebsdsg_ml.unknown.unknown_score`) is the mean of the members' energies.
        """
        probabilities, free = [], []
        for member in self.members:
            out = member.logits(patterns, batch=batch).double()
            known = member.card.calibration
            temperature = 1.0 if known is None else known.temperature
            probabilities.append((out / temperature).softmax(dim=1))
            free.append(out.logsumexp(dim=1))
        mean = torch.stack(probabilities).mean(dim=0).clamp_min(1e-300)
        return mean.log() + torch.stack(free).mean(dim=0)[:, None]

    def probabilities(self, patterns: Tensor | np.ndarray, *, batch: int = 128) -> np.ndarray:
        """(n, classes) float64 mean probabilities, calibrated if there is a calibration."""
        logits = self.logits(patterns, batch=batch).numpy()
        known = self.card.calibration
        return soft_max(logits) if known is None else known.probabilities(logits)

    def calibrated(self, calibration: Calibration | None) -> EnsembleModel:
        """The same ensemble with another calibration."""
        return EnsembleModel(self.members, calibration)

    def save(self, path: str | Path) -> Path:
        """Write all members to one file, atomically.

        Parameters
        ----------
        path : file to write.
        """
        known = self.card.calibration
        content: dict[str, Any] = {
            "format": ENSEMBLE_FORMAT,
            "layout_version": ENSEMBLE_VERSION,
            "calibration": None if known is None else known.to_dict(),
            "members": [member.content() for member in self.members],
        }
        return write_content(content, Path(path))


AnyModel = PatternModel | EnsembleModel


def load_model(path: str | Path, *, device: str = "cpu") -> AnyModel:
    """Read a model file, of one network or of an ensemble.

    Parameters
    ----------
    path : file written by ``save`` of either.
    device : torch device to put the weights on.

    Raises
    ------
    ModelFileError
        If the file is missing, damaged, changed or of another kind.
    """
    path = Path(path)
    content = read_content(path)
    if content.get("format") == FORMAT:
        return PatternModel.from_content(content, path, device=device)
    if content.get("format") != ENSEMBLE_FORMAT:
        raise ModelFileError(f"{path} is neither a model nor an ensemble of ebsdsg")
    if content.get("layout_version") != ENSEMBLE_VERSION:
        raise ModelFileError(
            f"{path} has layout version {content.get('layout_version')}, this program reads "
            f"{ENSEMBLE_VERSION}"
        )
    with usable(path):
        parts, known = list(content["members"]), content["calibration"]
        calibration = Calibration.from_dict(known) if known else None
    members = [PatternModel.from_content(part, path, device=device) for part in parts]
    with usable(path):
        return EnsembleModel(members, calibration)
