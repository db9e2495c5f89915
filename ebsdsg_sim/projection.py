"""Detector patterns from a master pattern.

A pixel's intensity is the sum over energies of the master pattern in the pixel's direction, turned
into the crystal, times the number of electrons of that energy the Monte Carlo sends there.  The
weights of the energies vary so little over a detector that a few combinations of the energies'
maps, found by a singular-value decomposition, give the exact sum: that is what is interpolated.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ebsdsg_sim.detector import Detector
from ebsdsg_sim.energy_weights import (
    ExitCounts,
    ProjectionError,
    SolidAngle,
    combinations,
    electrons_per_pixel,
)
from ebsdsg_sim.masterpattern import MasterPattern
from ebsdsg_sim.orientation import quaternion_to_matrix

__all__ = ["ProjectionError", "Projector", "to_uint8"]

EnergyWeights = Literal["exact", "mean", "none"]
#: Up to this many maps, interpolating them one by one is the fastest.
FEW_MAPS = 4
#: Pixels worked on together; on a CPU the work arrays then stay in cache.
PIXELS = {"cpu": 1 << 16, "cuda": 1 << 23}


class Projector:
    """Projects one master pattern on one detector, for any number of orientations.

    Parameters
    ----------
    master_pattern : all sites are summed.
    detector : where to project.
    energy_weights : ``"exact"`` weights every energy in every pixel, as EMEBSD does;
        ``"mean"`` gives each energy its mean share over the detector, so that only one map is
        interpolated; ``"none"`` sums the energies without weights, as EMEBSD without background.
    background : whether "exact" and "mean" patterns carry the number of electrons in each pixel,
        as EMEBSD's do; False divides it out, as a background correction does.
    exit_counts, solid_angle : see :func:`ebsdsg_sim.energy_weights.electrons_per_pixel`; for
        "exact" and "mean".
    energies : (lowest, highest) energy to take [keV]; all by default.
    device : where to compute, "cpu" or "cuda".

    Raises
    ------
    ProjectionError
        If an option is unknown, no energy is left, or no electron reaches the detector.

    Notes
    -----
    EMEBSD's intensities are those of ``"exact"`` times 6.241e3 * beam current [nA] * dwell time
    [us].
    """

    def __init__(
        self,
        master_pattern: MasterPattern,
        detector: Detector,
        *,
        energy_weights: EnergyWeights = "exact",
        background: bool = True,
        exit_counts: ExitCounts = "smooth",
        solid_angle: SolidAngle = "emsoft",
        energies: tuple[float, float] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        mp = master_pattern
        low, high = energies or (-math.inf, math.inf)
        chosen = (mp.energies >= low - 1e-6) & (mp.energies <= high + 1e-6)
        if not chosen.any():
            raise ProjectionError(f"no energy of {mp!r} is between {low} and {high} keV")
        self.detector = detector
        self.device = torch.device(device)
        if energy_weights == "none":
            per_energy, per_pixel = np.ones((1, int(chosen.sum()))), None
        else:
            weights = electrons_per_pixel(
                mp.monte_carlo, detector, exit_counts=exit_counts, solid_angle=solid_angle
            )[chosen]
            if not weights.any():
                raise ProjectionError(
                    f"{mp.crystal.name}: the Monte Carlo sends no electron to the detector"
                )
            if energy_weights == "mean":
                total = weights.sum(axis=0).reshape(1, -1)
                per_energy = weights.mean(axis=(1, 2))[None] / total.mean()
                per_pixel = total if background else None
            elif energy_weights == "exact":
                if not background:
                    # Noisy counts may leave a pixel without electrons: it stays dark.
                    weights = weights / np.maximum(weights.sum(axis=0), 1e-300)
                per_energy, per_pixel = combinations(weights.reshape(len(weights), -1))
            else:
                raise ProjectionError(
                    f"energy_weights = {energy_weights!r}: must be 'exact', 'mean' or 'none'"
                )
        shares = torch.from_numpy(per_energy.astype(np.float32))
        north, south = (
            torch.tensordot(shares, torch.from_numpy(half.sum(axis=0)[chosen]), dims=1)
            for half in (mp.north, mp.south)
        )
        # North and south side by side make one picture: one interpolation serves both.
        two_sided = not torch.equal(north, south)
        maps = torch.cat((north, south), dim=2) if two_sided else north
        self._take(maps, None if per_pixel is None else torch.from_numpy(per_pixel))

    @classmethod
    def from_prepared(
        cls, maps: Tensor, pixel_weights: Tensor | None, detector: Detector, *, device: str = "cpu"
    ) -> Projector:
        """Projector from what :attr:`prepared` gave for the same detector, at no cost.

        Parameters
        ----------
        maps, pixel_weights : see :attr:`prepared`; any floating-point type.
        detector : the one they were prepared for.
        device : where to compute.
        """
        projector = cls.__new__(cls)
        projector.detector, projector.device = detector, torch.device(device)
        projector._take(maps, pixel_weights)
        return projector

    def _take(self, maps: Tensor, pixel_weights: Tensor | None) -> None:
        self._npx = maps.shape[1] // 2
        self._two_sided = maps.shape[2] != maps.shape[1]
        self._maps = maps.to(self.device, torch.float32).contiguous()
        self._pixel_weights = (
            None if pixel_weights is None else pixel_weights.to(self.device, torch.float32)
        )
        self._directions = _pixel_directions(self.detector, self.device)
        if len(self._maps) > FEW_MAPS:
            # One row of all maps' values per node: the four corners are four contiguous reads.
            self._rows = self._maps.flatten(1).T.contiguous()

    @property
    def prepared(self) -> tuple[Tensor, Tensor | None]:
        """What is interpolated, all energies combined.

        Returns
        -------
        (n_maps, side, side) float32 maps, or (n_maps, side, 2 side) where the hemispheres differ;
        and the (n_maps, pixels) weights of the maps in every pixel, if there are any.
        """
        return self._maps, self._pixel_weights

    @property
    def n_maps(self) -> int:
        """Number of maps interpolated per pattern."""
        return len(self._maps)

    def patterns(self, quaternions: ArrayLike) -> Tensor:
        """Patterns of the given orientations.

        Parameters
        ----------
        quaternions : (n, 4) or (4,) orientations (w, x, y, z), ``v_crystal = R v_sample``.

        Returns
        -------
        (n, rows, columns) float32 on the projector's device; row 0 is the top of the screen.

        Raises
        ------
        OrientationError
            If the quaternions are malformed.
        """
        matrices = quaternion_to_matrix(np.atleast_2d(np.asarray(quaternions, dtype=np.float64)))
        rotations = torch.from_numpy(matrices.astype(np.float32)).to(self.device)
        n, pixels = len(rotations), self._directions.shape[1]
        result = torch.empty((n, pixels), dtype=torch.float32, device=self.device)
        step = max(1, min(n, PIXELS["cuda" if self.device.type == "cuda" else "cpu"] // pixels))
        memory = torch.empty(10 * step * pixels, dtype=torch.float32, device=self.device)
        for first in range(0, n, step):
            part = rotations[first : first + step]
            m = len(part)
            work, square = memory[: 10 * m * pixels].split((8 * m * pixels, 2 * m * pixels))
            work, square = work.view(8, m, pixels), square.view(m, pixels, 2)
            # Not a matrix product: torch may be set to round those to fewer digits.
            for i in range(3):
                torch.mul(part[:, i, 0, None], self._directions[0], out=work[i])
                work[i].addcmul_(part[:, i, 1, None], self._directions[1])
                work[i].addcmul_(part[:, i, 2, None], self._directions[2])
            _to_square(work, square)
            values = self._interpolate(square, work[2])
            out = result[first : first + m]
            if self._pixel_weights is None:
                out.copy_(values[0])
                continue
            torch.mul(values[0], self._pixel_weights[0], out=out)
            for value, weight in zip(values[1:], self._pixel_weights[1:], strict=True):
                out.addcmul_(value, weight)
        return result.reshape(n, *self.detector.shape)

    def _interpolate(self, square: Tensor, z: Tensor) -> Tensor:
        """Values (n_maps, m, pixels) of all maps at points (m, pixels, 2); changes the points."""
        npx, shape = self._npx, square.shape[:-1]
        if len(self._maps) <= FEW_MAPS:
            if self._two_sided:
                # Two maps of 2 npx + 1 columns side by side span 4 npx + 1 steps.
                u = square[..., 0]
                u.add_(1).add_(z < 0, alpha=2 + 1 / npx).mul_(2 * npx / (4 * npx + 1)).sub_(1)
            values = torch.nn.functional.grid_sample(
                self._maps[None],
                square.reshape(1, 1, -1, 2),
                mode="bilinear",
                padding_mode="border",
                align_corners=True,
            )
            return values.reshape(-1, *shape)
        width = self._maps.shape[2]
        steps = square.add_(1).mul_(npx)
        node = steps.int().clamp_(0, 2 * npx - 1)
        right, below = steps.sub_(node).unbind(-1)
        corner = node[..., 1] * width + node[..., 0]
        if self._two_sided:
            corner += (z < 0) * (2 * npx + 1)
        offsets = torch.tensor([0, 1, width, width + 1], dtype=torch.int32, device=self.device)
        both = right * below
        weights = torch.stack((1 - right - below + both, right - both, below - both, both), dim=-1)
        values = torch.nn.functional.embedding_bag(
            (corner[..., None] + offsets).reshape(-1, 4),
            self._rows,
            mode="sum",
            per_sample_weights=weights.reshape(-1, 4),
        )
        return values.T.reshape(-1, *shape)


@lru_cache(maxsize=4)
def _pixel_directions(detector: Detector, device: torch.device) -> Tensor:
    """(3, pixels) unit vectors to the pixels, one tensor for all projectors of a detector."""
    directions = detector.directions().reshape(-1, 3).T
    return torch.from_numpy(directions.astype(np.float32)).to(device)


def to_uint8(patterns: Tensor | np.ndarray) -> Tensor:
    """Patterns scaled to 8 bits, each from its own minimum and maximum.

    Parameters
    ----------
    patterns : (..., rows, columns) intensities.

    Returns
    -------
    (..., rows, columns) uint8; a pattern without contrast becomes 0.

    Raises
    ------
    ProjectionError
        If a value is not finite.
    """
    p = torch.as_tensor(patterns)
    if not torch.isfinite(p).all():
        raise ProjectionError("patterns hold values that are not finite")
    low, high = p.amin(dim=(-2, -1), keepdim=True), p.amax(dim=(-2, -1), keepdim=True)
    span = torch.where(high > low, high - low, torch.ones_like(high))
    return ((p - low) * (255 / span)).round_().to(torch.uint8)


#: Coefficients of t, t^3, ... of (4/pi) arctan t for 0 <= t <= 1, to 3e-7 (least maximum).
_ARCTAN = (
    1.27323459, -0.424209903, 0.252200922, -0.168492075, 0.101379885, -0.0427861188, 0.0086730111
)  # fmt: skip


def _to_square(work: Tensor, square: Tensor) -> None:
    """Lambert square points (m, pixels, 2) of the unit vectors in ``work[:3]`` (3, m, pixels).

    The formula of :func:`ebsdsg_sim.lambert.to_square` without temporary arrays and with a
    polynomial for the arctangent: this is where projection spends its time.
    """
    x, y, z, a, b, major, minor, t = work
    torch.abs(x, out=a)
    torch.abs(y, out=b)
    torch.maximum(a, b, out=major).clamp_min_(1e-30)
    torch.minimum(a, b, out=minor).div_(major)
    along_y = b > a
    torch.mul(minor, minor, out=t)
    angle = torch.mul(t, _ARCTAN[-1], out=major)
    for coefficient in reversed(_ARCTAN[1:-1]):
        angle.add_(coefficient).mul_(t)
    angle.add_(_ARCTAN[0]).mul_(minor)
    radius = torch.mul(x, x, out=a).addcmul_(y, y)
    radius.div_(torch.abs(z, out=t).add_(1)).sqrt_()
    angle.mul_(radius)
    torch.copysign(torch.where(along_y, angle, radius, out=b), x, out=square[..., 0])
    torch.copysign(torch.where(along_y, radius, angle, out=b), y, out=square[..., 1])
