"""From an image file to the probabilities of the space groups.

An image is made what the training patterns are: grey, the square at its centre, as many pixels, 8
bits.  Background, normalisation and crop then follow from the model's own preprocessing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ebsdsg_ml.experimental.image import ImageError, read_image
from ebsdsg_ml.experimental.processing import PatternProcessing
from ebsdsg_ml.pattern_model import PatternModel


@dataclass(frozen=True)
class Prediction:
    """Answer for one image.

    Parameters
    ----------
    path : the image.
    probabilities : by space-group number, in the model's order; they sum to one.
    image_quality : Krieger Lassen's, of the pattern as the model saw it before its own
        preprocessing.
    """

    path: Path
    probabilities: dict[int, float]
    image_quality: float

    @property
    def space_group(self) -> int:
        """Most probable space group."""
        return max(self.probabilities, key=self.probabilities.__getitem__)

    @property
    def probability(self) -> float:
        """Its probability."""
        return self.probabilities[self.space_group]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "path": str(self.path),
            "space_group": self.space_group,
            "probability": self.probability,
            "probabilities": {str(k): p for k, p in self.probabilities.items()},
            "image_quality": self.image_quality,
        }


def as_training_pattern(image: np.ndarray, size: int) -> np.ndarray:
    """Make an image what a training pattern is.

    Parameters
    ----------
    image : (H, W) grey values.
    size : pixels per side of the training patterns.

    Returns
    -------
    (size, size) uint8: the centred square, resampled with anti-aliasing, its 0.1 and 99.9 %
    quantiles spread over 0 to 255 (so that hot pixels do not take the range).

    Raises
    ------
    ImageError
        If the image shows nothing between those quantiles.
    """
    plain = PatternProcessing(size, static=None, dynamic=None)
    patterns, shows = plain(np.asarray(image, dtype=np.float32)[None])
    if not shows[0]:
        raise ImageError("the image is blank but for single pixels")
    return patterns[0]


def predict(model: PatternModel, paths: Iterable[str | Path]) -> list[Prediction]:
    """Probabilities of the space groups for image files.

    Parameters
    ----------
    model : a trained model.
    paths : image files.

    Returns
    -------
    One prediction per file, in the order given.

    Raises
    ------
    ImageError
        At the first file that cannot be used, before anything is computed.
    """
    import torch

    from ebsdsg_ml.quality import image_quality

    files = [Path(path) for path in paths]
    if not files:
        return []
    size = model.card.preprocessing.size
    patterns = []
    for path in files:
        try:
            patterns.append(as_training_pattern(read_image(path), size))
        except ImageError as error:
            message = str(error)
            raise ImageError(message if str(path) in message else f"{path}: {message}") from error
    stack = torch.from_numpy(np.stack(patterns))
    quality = image_quality(stack)
    return [
        Prediction(path, dict(zip(model.classes, map(float, row), strict=True)), float(q))
        for path, row, q in zip(files, model.probabilities(stack), quality, strict=True)
    ]
