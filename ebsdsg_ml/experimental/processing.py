"""Making experimental patterns what the patterns of a training set are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from ebsdsg_ml.experimental.scan import PatternFileError
from ebsdsg_ml.imperfections import (
    Chance,
    CircularMask,
    DynamicCorrection,
    ImperfectionError,
    Quantisation,
    StaticCorrection,
)

if TYPE_CHECKING:
    from ebsdsg_ml.recipe import DatasetRecipe

PARTS: dict[str, Any] = {
    "static": StaticCorrection,
    "dynamic": DynamicCorrection,
    "mask": CircularMask,
    "quantisation": Quantisation,
}

NOISE = 1e-5
"""Differences of single precision after the corrections, in parts of the grey levels."""


def centred_square(shape: tuple[int, int]) -> tuple[int, int, int]:
    """First row, first column and side of the square at the centre of a pattern."""
    rows, columns = shape
    side = min(rows, columns)
    return (rows - side) // 2, (columns - side) // 2, side


@dataclass(frozen=True)
class PatternProcessing:
    """Steps from a camera's image to a stored pattern, in this order.

    The square at the centre is cut out, backgrounds are removed, the square is resampled (bilinear,
    with anti-aliasing when it shrinks), masked and written in grey levels.  The corrections are
    those of the simulated detector (:mod:`ebsdsg_ml.imperfections`).

    Parameters
    ----------
    size : pixels per side of a stored pattern.
    static : removes the recorded background, where there is one and the microscope has not done
        so; None leaves it.  It is subtracted by default: division makes the noise of a screen's
        dark edge as strong as its middle.
    dynamic : removes each pattern's own blur; None leaves it.
    round_screen : the pattern shows a round screen that touches the square's edges: what lies
        outside it is set to the mean inside before corrections, in the recorded background too, so
        that no edge enters the blur.
    mask : circular mask, of one radius; None keeps the corners.
    quantisation : grey levels; the ends of the range are cut so that hot pixels do not take it.

    Raises
    ------
    PatternFileError
        If a value is out of range.
    """

    size: int = 229
    static: StaticCorrection | None = field(default_factory=lambda: StaticCorrection("subtract"))
    dynamic: DynamicCorrection | None = field(default_factory=DynamicCorrection)
    round_screen: bool = False
    mask: CircularMask | None = None
    quantisation: Quantisation = field(default_factory=lambda: Quantisation(8, 0.001))

    def __post_init__(self) -> None:
        if isinstance(self.size, bool) or not isinstance(self.size, int) or self.size < 16:
            raise PatternFileError(f"size = {self.size!r}: must be an integer of at least 16")
        if self.mask is not None and isinstance(self.mask.radius, tuple):
            raise PatternFileError(
                "mask.radius: one number, not a range, for experimental patterns"
            )
        if not isinstance(self.quantisation, Quantisation):
            raise PatternFileError("quantisation: stored patterns need grey levels")

    @classmethod
    def like(cls, recipe: DatasetRecipe) -> PatternProcessing:
        """Processing that makes patterns like those of a simulated data set.

        Parameters
        ----------
        recipe : of the data set.  Its static and dynamic corrections and its mask are taken; where
            it has none, experimental patterns keep their background too, because the model's own
            preprocessing removes both alike.  A mask of random radius is not applied.
        """
        from ebsdsg_ml.imperfections import DetectorImperfections

        done = DetectorImperfections.from_dict(recipe.imperfections)
        ranged = done.mask is None or isinstance(done.mask.radius, tuple)
        return cls(recipe.size, done.static, done.dynamic, mask=None if ranged else done.mask)

    @classmethod
    def of_model(cls, entries: Mapping[str, Any], size: int) -> PatternProcessing:
        """Processing that a model's file asks for.

        Parameters
        ----------
        entries : of its card; empty in old files: cut to the square and resampled only.
        size : pixels per side of its patterns.
        """
        return cls.from_dict(entries) if entries else cls(size, static=None, dynamic=None)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; a step that is not made is None."""
        plain = {
            name: asdict(getattr(self, name)) if getattr(self, name) is not None else None
            for name in PARTS
        }
        return {"size": self.size, "round_screen": bool(self.round_screen), **plain}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PatternProcessing:
        """Inverse of :meth:`to_dict`; ``true`` stands for a step with its defaults.

        Raises
        ------
        PatternFileError
            If a step or one of its parameters is unknown or out of range.
        """
        unknown = sorted(set(values) - {f.name for f in fields(cls)})
        if unknown:
            known = ", ".join(f.name for f in fields(cls))
            raise PatternFileError(f"processing: {', '.join(unknown)} unknown; known: {known}")
        made = {k: v for k, v in values.items() if k not in PARTS}
        for name, part in PARTS.items():
            if name not in values:
                continue
            options = values[name]
            if options is None or options is False:
                made[name] = None
                continue
            try:
                made[name] = part(**options) if options is not True else _usual(cls(), name)
            except (TypeError, ImperfectionError) as error:
                raise PatternFileError(f"processing: {name} = {options!r}: {error}") from None
        return cls(**made)

    def __call__(
        self,
        patterns: np.ndarray,
        background: np.ndarray | None = None,
        *,
        corrected: bool | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Processed patterns.

        Parameters
        ----------
        patterns : (n, H, W) of any real type.
        background : (H, W) recorded background, or None.
        corrected : whether the microscope has removed the background.

        Returns
        -------
        (n, size, size) uint8, and (n,) whether each shows anything: what does not is all zero.
        """
        import torch
        from torch.nn.functional import interpolate

        top, left, side = centred_square(patterns.shape[1:])  # type: ignore[arg-type]
        window = (slice(None), slice(top, top + side), slice(left, left + side))
        x = torch.from_numpy(np.ascontiguousarray(patterns[window], dtype=np.float32))
        if self.round_screen:
            x = _filled_corners(x)
        size = _largest(x)
        if self.uses_static(background, corrected):
            assert self.static is not None and background is not None
            recorded = np.ascontiguousarray(background[None][window], dtype=np.float32)
            flat = torch.from_numpy(recorded)
            x = self.static(x, _filled_corners(flat) if self.round_screen else flat)
            size = _largest(x) if self.static.operation == "divide" else size
        differs = _span(x) > NOISE * size  # a pattern may be nothing but its background
        if self.dynamic is not None:
            x = self.dynamic(x)
            size = _largest(x) if self.dynamic.operation == "divide" else size
        differs &= _span(x) > NOISE * size
        x = interpolate(
            x[:, None],
            size=(self.size, self.size),
            mode="bilinear",
            antialias=side > self.size,
            align_corners=False,
        )[:, 0]
        if self.mask is not None:
            x = self.mask(x, Chance(0, range(len(x))))
        x = torch.nan_to_num(x)
        levels = self.quantisation(x)
        # what is left of a blank pattern, or of single hot pixels, has no range between the cuts
        raw = torch.from_numpy(np.ascontiguousarray(patterns[window], dtype=np.float32)).flatten(1)
        skip = int(self.quantisation.clip * raw.shape[1])
        low = raw.kthvalue(skip + 1, dim=1).values
        high = raw.kthvalue(raw.shape[1] - skip, dim=1).values
        shows = differs & (high > low) & torch.isfinite(raw).all(dim=1)
        shows &= levels.amax(dim=(1, 2)) > levels.amin(dim=(1, 2))
        levels[~shows] = 0
        return levels.numpy(), shows.numpy()

    def uses_static(self, background: np.ndarray | None, corrected: bool | None) -> bool:
        """Whether the static correction is made for patterns of a file."""
        return self.static is not None and background is not None and not corrected


def _usual(processing: PatternProcessing, name: str) -> Any:
    """A step as it is made by default, or with the defaults of its class."""
    return getattr(processing, name) or PARTS[name]()


def _largest(x: Any) -> Any:
    """(n,) largest absolute value of each pattern."""
    import torch

    return torch.nan_to_num(x).abs().amax(dim=(1, 2))


def _span(x: Any) -> Any:
    """(n,) difference of the largest and the smallest value of each pattern."""
    import torch

    x = torch.nan_to_num(x)
    return x.amax(dim=(1, 2)) - x.amin(dim=(1, 2))


def _filled_corners(x: Any) -> Any:
    """Square patterns with the mean of the inscribed circle outside it."""
    import torch

    side = x.shape[1]
    line = torch.arange(side) - (side - 1) / 2
    # the outermost pixels of a screen are half in its shadow
    inside = line**2 + line[:, None] ** 2 <= (side / 2 - 1.5) ** 2
    mean = (x * inside).sum(dim=(1, 2), keepdim=True) / inside.sum()
    return torch.where(inside, x, mean)
