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

from ebsdsg_ml.pattern_model import PatternModel

SMALLEST = 16
"""Pixels per side below which an image is refused."""


class ImageError(ValueError):
    """An image file is missing, broken or shows nothing; the message names it and says why."""


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


def read_image(path: str | Path) -> np.ndarray:
    """Read an image file as grey values.

    Parameters
    ----------
    path : PNG, JPEG, TIFF or BMP file; 8 or 16 bits, grey or colour (its luminance is taken,
        transparency is ignored).

    Returns
    -------
    (H, W) float32 grey values, not scaled.

    Raises
    ------
    ImageError
        If the file is missing, not an image, truncated, has several frames, is smaller than 16
        pixels, or is blank.
    """
    from PIL import Image

    path = Path(path)
    if not path.is_file():
        raise ImageError(f"image {path} does not exist")
    try:
        with Image.open(path) as image:
            frames = getattr(image, "n_frames", 1)
            if frames > 1:
                raise ImageError(f"{path} holds {frames} images; give one pattern per file")
            image.load()
            grey = image if image.mode in ("I;16", "I;16B", "I", "F", "L") else image.convert("L")
            values = np.asarray(grey, dtype=np.float32)
    except ImageError:
        raise
    except Exception as error:  # Pillow's readers raise many types on broken files
        raise ImageError(f"{path} is not a readable image: {error}") from error
    if values.ndim != 2 or min(values.shape) < SMALLEST:
        raise ImageError(
            f"{path} has {values.shape} pixels; at least {SMALLEST} per side are needed"
        )
    if not np.isfinite(values).all():
        raise ImageError(f"{path} has pixels that are not finite numbers")
    if values.max() == values.min():
        raise ImageError(f"{path} is blank: all pixels are {values.max():g}")
    return values


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
    import torch
    from torch.nn.functional import interpolate

    height, width = image.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = torch.from_numpy(
        np.ascontiguousarray(image[top : top + side, left : left + side], dtype=np.float32)
    )
    small = interpolate(
        square[None, None],
        size=(size, size),
        mode="bilinear",
        antialias=side > size,
        align_corners=False,
    )[0, 0].numpy()
    low, high = np.quantile(small, [0.001, 0.999])
    if not high > low:
        raise ImageError("the image is blank but for single pixels")
    scaled = (small - low) * (255 / (high - low))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


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
