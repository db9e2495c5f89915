"""Detector patterns from a master pattern.

A pixel's intensity is the sum over energies of the master pattern in the pixel's direction, turned
into the crystal, times the number of electrons of that energy the Monte Carlo sends there.  The
weights of the energies vary so little over a detector that a few combinations of the energies'
maps, found by a singular-value decomposition, give the exact sum, and a single one nearly does:
those are interpolated.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ebsdsg_sim.detector import Detector, GeometryShift
from ebsdsg_sim.energy_weights import (
    ExitCounts,
    ProjectionError,
    SolidAngle,
    combinations,
    electrons_per_pixel,
    shifted_energies,
)
from ebsdsg_sim.map_lookup import LambertLookup, StereographicLookup
from ebsdsg_sim.masterpattern import MasterPattern
from ebsdsg_sim.orientation import quaternion_to_matrix

__all__ = ["ProjectionError", "Projector", "to_uint8"]

EnergyWeights = Literal["exact", "fast", "none"]
#: Pixels worked on together; on a CPU the work arrays then stay in cache.
PIXELS = {"cpu": 1 << 16, "cuda": 1 << 23}


class Projector:
    """Projects one master pattern on one detector, for any number of orientations.

    Parameters
    ----------
    master_pattern : all sites are summed.
    detector : where to project.
    energy_weights : ``"exact"`` weights every energy in every pixel, as EMEBSD does;
        ``"fast"`` interpolates the one combination of the energies that comes closest, on a finer
        stereographic map: cross-correlation with "exact" above 0.996;
        ``"none"`` sums the energies without weights, as EMEBSD without background.
    background : whether "exact" and "fast" patterns carry the number of electrons in each pixel,
        as EMEBSD's do; False divides it out, as a background correction does.
    exit_counts, solid_angle : see :func:`ebsdsg_sim.energy_weights.electrons_per_pixel`; for
        "exact" and "fast".
    energies : (lowest, highest) energy to take [keV]; all by default.
    energy_shift : by how much the electrons' energies are above those of the Monte Carlo [keV], as
        for a microscope whose voltage is off; for "exact" and "fast".
    device : where to compute, "cpu" or "cuda".

    Raises
    ------
    ProjectionError
        If an option is unknown, energies are shifted without weights, no energy is left, or no
        electron reaches the detector.

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
        energy_shift: float = 0.0,
        device: torch.device | str = "cpu",
    ) -> None:
        mp = master_pattern
        low, high = energies or (-math.inf, math.inf)
        chosen = (mp.energies >= low - 1e-6) & (mp.energies <= high + 1e-6)
        if not chosen.any():
            raise ProjectionError(f"no energy of {mp!r} is between {low} and {high} keV")
        self.detector = detector
        self.device = torch.device(device)
        halves = [
            torch.from_numpy(half.sum(axis=0)[chosen]).flatten(1) for half in (mp.north, mp.south)
        ]
        if energy_weights == "none":
            if energy_shift != 0:
                raise ProjectionError(
                    f"energy_shift = {energy_shift}: energy_weights = 'none' knows no electrons, "
                    "whose energies could be shifted; use 'exact' or 'fast'"
                )
            per_energy, per_pixel = np.ones((1, int(chosen.sum()))), None
        elif energy_weights in ("exact", "fast"):
            weights = electrons_per_pixel(
                mp.monte_carlo, detector, exit_counts=exit_counts, solid_angle=solid_angle
            )[chosen]
            weights = shifted_energies(weights, mp.energies[chosen], energy_shift)
            if not weights.any():
                raise ProjectionError(
                    f"{mp.crystal.name}: the Monte Carlo sends no electron to the detector"
                )
            if not background:
                # Noisy counts may leave a pixel without electrons: it stays dark.
                weights = weights / np.maximum(weights.sum(axis=0), 1e-300)
            products = (halves[0] @ halves[0].T + halves[1] @ halves[1].T).double()
            per_energy, per_pixel = combinations(
                weights.reshape(len(weights), -1),
                products.numpy(),
                most=1 if energy_weights == "fast" else None,
            )
        else:
            raise ProjectionError(
                f"energy_weights = {energy_weights!r}: must be 'exact', 'fast' or 'none'"
            )
        shares = torch.from_numpy(per_energy.astype(np.float32))
        side = 2 * mp.npx + 1
        north, south = ((shares @ half).reshape(-1, side, side) for half in halves)
        lookup = StereographicLookup if energy_weights == "fast" else LambertLookup
        self._take(
            lookup.prepare(north, south), None if per_pixel is None else torch.from_numpy(per_pixel)
        )

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
        maps = maps.to(self.device, torch.float32).contiguous()
        # A Lambert map has a middle node, a stereographic one has none.
        self._lookup = (LambertLookup if maps.shape[1] % 2 else StereographicLookup)(maps)
        self._pixel_weights = (
            None
            if pixel_weights is None
            else pixel_weights.to(self.device, torch.float32).reshape(-1, *self.detector.shape)
        )

    @property
    def prepared(self) -> tuple[Tensor, Tensor | None]:
        """What is interpolated, all energies combined.

        Returns
        -------
        (n_maps, ...) float32 maps: what :class:`LambertLookup` interpolates, or for "fast"
        :class:`StereographicLookup`; and the (n_maps, pixels) weights of the maps in every pixel,
        if there are any.
        """
        weights = self._pixel_weights
        return self._lookup.maps, None if weights is None else weights.flatten(1)

    def background(self) -> Tensor:
        """Mean pattern of all orientations: what a crystal of very many tiny grains would give.

        Returns
        -------
        (rows, columns) float32 on the projector's device, in the patterns' units.
        """
        means = self._lookup.means()
        if self._pixel_weights is None:
            return means[0].expand(self.detector.shape).clone()
        return (means[:, None, None] * self._pixel_weights).sum(dim=0)

    @property
    def n_maps(self) -> int:
        """Number of maps interpolated per pattern."""
        return len(self._lookup.maps)

    def patterns(self, quaternions: ArrayLike, shift: GeometryShift | None = None) -> Tensor:
        """Patterns of the given orientations.

        Parameters
        ----------
        quaternions : (n, 4) or (4,) orientations (w, x, y, z), ``v_crystal = R v_sample``.
        shift : by how much each pattern's geometry differs from the detector's.  Directions follow
            it exactly; the energy weights, which hardly change, stay those of the detector.

        Returns
        -------
        (n, rows, columns) float32 on the projector's device; row 0 is the top of the screen.

        Raises
        ------
        OrientationError
            If the quaternions are malformed.
        ProjectionError
            If there are not as many shifts as orientations.
        """
        matrices = quaternion_to_matrix(np.atleast_2d(np.asarray(quaternions, dtype=np.float64)))
        if shift is not None and len(shift) != len(matrices):
            raise ProjectionError(f"{len(shift)} shifts for {len(matrices)} orientations")
        rays = self.detector.rays(shift)
        # A rotation acts on the rows' and the columns' vectors; pixels only add them.
        along_rows, along_columns = (
            self._tensor(matrices @ part) for part in (rays.rows, rays.columns)
        )
        squares = self._tensor(rays.rows_squared), self._tensor(rays.columns_squared)
        n, (rows, columns) = len(matrices), self.detector.shape
        result = torch.empty((n, rows, columns), dtype=torch.float32, device=self.device)
        batch = PIXELS["cuda" if self.device.type == "cuda" else "cpu"] // (rows * columns)
        step = max(1, min(n, batch))
        memory = torch.empty(
            (3 + self._lookup.planes, step, rows, columns), dtype=torch.float32, device=self.device
        )
        length = None
        for first in range(0, n, step):
            part = slice(first, first + step)
            out = result[part]
            m = len(out)
            if length is None or shift is not None:
                r, c = (square[part] if shift is not None else square for square in squares)
                length = torch.add(r[:, :, None], c[:, None, :]).sqrt_()
            xyz, work = memory[:3, :m], memory[3:, :m]
            torch.add(
                along_rows[part].movedim(1, 0)[..., None],
                along_columns[part].movedim(1, 0)[..., None, :],
                out=xyz,
            )
            values = self._lookup(xyz[:2], xyz[2], length, work)
            if self._pixel_weights is None:
                out.copy_(values[0])
                continue
            torch.mul(values[0], self._pixel_weights[0], out=out)
            for value, weight in zip(values[1:], self._pixel_weights[1:], strict=True):
                out.addcmul_(value, weight)
        return result

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values.astype(np.float32)).to(self.device)


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
