"""From stored patterns to a network's input: background, normalisation, crop, flips.

Everything works on whole batches, on the device the batch is on, and all chance comes from the
generator that the caller gives.  A :class:`Preprocessing` is part of a trained model: prediction
treats an image exactly as training treated its patterns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Literal

import torch
from torch import Tensor

from ebsdsg_ml.chirality import SOHNCKE_GROUPS

IMAGENET_MEAN, IMAGENET_STD = 0.449, 0.226
"""Mean and standard deviation of ImageNet's grey values (means of torchvision's three channels)."""

PAPER_CROP = (224, 229)
"""Pixels per side the paper crops to, and crops from."""


class TransformError(ValueError):
    """A preprocessing setting or a pattern does not fit; the message says which and why."""


def has_improper_operations(space_group: int) -> bool:
    """Tell whether a group has a mirror, glide, inversion or rotoinversion.

    The mirror image of a pattern is then a pattern of the same crystal in another orientation.
    Without one it is a pattern of the crystal's mirror image, a different structure.

    Parameters
    ----------
    space_group : number, 1 to 230.

    Raises
    ------
    TransformError
        If the number is outside 1 to 230.
    """
    if not 1 <= space_group <= 230:
        raise TransformError(f"{space_group} is not a space-group number (1 to 230)")
    return space_group not in SOHNCKE_GROUPS


def check_flips(classes: tuple[int, ...]) -> None:
    """Refuse mirror flips for classes in which they are not sound.

    Notes
    -----
    A flipped pattern shows the mirrored crystal.  All six groups of the paper (point group m-3m)
    have mirrors, so it is a pattern they could give.  An up-down flip also moves the pattern centre
    to the other side of the screen's middle: a pattern of the same class from a detector at
    another height.

    Raises
    ------
    TransformError
        Naming the groups without improper operations.
    """
    chiral = [number for number in classes if not has_improper_operations(number)]
    if chiral:
        raise TransformError(
            f"flips are not sound for space group(s) {', '.join(map(str, chiral))}, which have no "
            "improper operation: a mirrored pattern is one of another structure; set flips = false"
        )


def crop_size(size: int) -> int:
    """Pixels per side after the crop: the paper's 224 of 229, in proportion for other sizes."""
    return min(size - 1, max(1, round(size * PAPER_CROP[0] / PAPER_CROP[1])))


@dataclass(frozen=True)
class Preprocessing:
    """How a pattern becomes a network's input.

    Parameters
    ----------
    size : pixels along one side of a stored pattern.
    crop : pixels along one side of the input.
    background : width (standard deviation) of the Gaussian blur that is subtracted, as a fraction
        of `size`; 0 keeps the background.  Removes the intensity gradient of the detector, which
        says nothing of the crystal and differs between simulation and experiment.
    normalisation : ``"pattern"`` gives every pattern zero mean and unit standard deviation;
        ``"imagenet"`` scales grey values as the ImageNet weights saw them.

    Raises
    ------
    TransformError
        If a value is out of range, or ImageNet scaling is asked for without background.
    """

    size: int
    crop: int
    background: float = 0.125
    normalisation: Literal["pattern", "imagenet"] = "pattern"

    def __post_init__(self) -> None:
        if not 1 <= self.crop <= self.size:
            raise TransformError(f"crop = {self.crop}: must be between 1 and size = {self.size}")
        if not 0 <= self.background <= 1:
            raise TransformError(f"background = {self.background}: must be between 0 and 1")
        if self.normalisation not in ("pattern", "imagenet"):
            raise TransformError(
                f"normalisation = {self.normalisation!r}: must be 'pattern' or 'imagenet'"
            )
        if self.normalisation == "imagenet" and self.background:
            raise TransformError("normalisation 'imagenet' needs the grey values: background = 0")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """Inverse of :meth:`to_dict`.

        Raises
        ------
        TransformError
            If a key is unknown or missing.
        """
        try:
            return cls(**values)
        except TypeError as error:
            raise TransformError(f"preprocessing {dict(values)} is not usable: {error}") from error

    def prepare(self, patterns: Tensor) -> Tensor:
        """Remove the background and normalise.

        Parameters
        ----------
        patterns : (n, size, size) uint8.

        Returns
        -------
        (n, size, size) float32.

        Raises
        ------
        TransformError
            If the patterns have another shape.
        """
        if patterns.ndim != 3 or patterns.shape[1:] != (self.size, self.size):
            raise TransformError(
                f"patterns of shape {tuple(patterns.shape)}, expected (n, {self.size}, {self.size})"
            )
        x = patterns.to(torch.float32)
        if self.normalisation == "imagenet":
            return (x / 255 - IMAGENET_MEAN) / IMAGENET_STD
        if self.background:
            blur = gaussian_blur_matrix(self.size, self.background * self.size).to(x.device)
            x = x - blur @ x @ blur.T
        mean = x.mean(dim=(1, 2), keepdim=True)
        std = x.std(dim=(1, 2), keepdim=True, correction=0)
        return (x - mean) / std.clamp_min(1e-6)

    def for_training(
        self, patterns: Tensor, generator: torch.Generator, *, flips: bool = True
    ) -> Tensor:
        """Prepared patterns, each cropped at a random place and flipped at random.

        Parameters
        ----------
        patterns : (n, size, size) uint8.
        generator : source of chance, on the CPU.
        flips : up-down and left-right, each with probability one half, independently.

        Returns
        -------
        (n, 1, crop, crop) float32.
        """
        return self.random_crops(self.prepare(patterns), generator, flips=flips)

    def random_crops(
        self, prepared: Tensor, generator: torch.Generator, *, flips: bool = True
    ) -> Tensor:
        """Crop prepared patterns each at a random place and flip them at random.

        Parameters
        ----------
        prepared : (n, size, size) output of :meth:`prepare`.
        generator, flips : as in :meth:`for_training`.

        Returns
        -------
        (n, 1, crop, crop) float32.
        """
        x = prepared
        n, span = len(x), self.size - self.crop + 1
        top, left = torch.randint(span, (2, n, 1), generator=generator).to(x.device)
        rows = top + torch.arange(self.crop, device=x.device)
        columns = left + torch.arange(self.crop, device=x.device)
        if flips:
            up_down, left_right = torch.randint(2, (2, n, 1), generator=generator).to(x.device)
            rows = torch.where(up_down.bool(), rows.flip(1), rows)
            columns = torch.where(left_right.bool(), columns.flip(1), columns)
        index = torch.arange(n, device=x.device)[:, None, None]
        return x[index, rows[:, :, None], columns[:, None, :]].unsqueeze(1)

    def for_evaluation(self, patterns: Tensor) -> Tensor:
        """Prepared patterns, cropped at the centre.

        Parameters
        ----------
        patterns : (n, size, size) uint8.

        Returns
        -------
        (n, 1, crop, crop) float32.
        """
        return self.centre_crops(self.prepare(patterns))

    def centre_crops(self, prepared: Tensor) -> Tensor:
        """Crop prepared patterns (n, size, size) at the centre: (n, 1, crop, crop) float32."""
        start = (self.size - self.crop) // 2
        stop = start + self.crop
        return prepared[:, start:stop, start:stop].unsqueeze(1)


@lru_cache(maxsize=8)
def gaussian_blur_matrix(size: int, sigma: float) -> Tensor:
    """Gaussian blur of a line as a matrix.

    Parameters
    ----------
    size : pixels of the line.
    sigma : standard deviation [pixels].

    Returns
    -------
    (size, size) float32; rows sum to one, so that a constant stays itself up to the edges
    (normalised convolution).
    """
    position = torch.arange(size, dtype=torch.float64)
    weights = torch.exp(-((position[:, None] - position[None, :]) ** 2) / (2 * sigma**2))
    return (weights / weights.sum(dim=1, keepdim=True)).to(torch.float32)
