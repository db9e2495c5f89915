"""Which reflections take part for a given beam direction, and how: strong, weak or not at all.

The candidates (all reflections with a spacing above ``dmin`` that are not systematically absent)
are made once per crystal and energy.  For one direction EMsoft keeps those near the Ewald sphere,
|s_g| <= c3 lambda |U_g|, and compares each with its strongest possible coupling to another kept
reflection, min_h |s_g|/(lambda |U_{g-h}|).  The case h = g is among them, and U_0 is the largest
coefficient of all, so the rule that takes effect is: *strong* (in the dynamical matrix) if
|s_g| <= c1 lambda |U_0|, *weak* (a Bethe perturbation of it) up to c2 lambda |U_0|, dropped beyond.

The foil normal is the beam direction itself, so s_g depends on g only through |g| and the
component of g along the beam, and every rule becomes an interval of that component.

References: M. De Graef, *Introduction to Conventional TEM* (2003), eq. 2.88; H. A. Bethe,
*Ann. Phys.* 392 (1928) 55; S. Wang, Y. Xia and M. De Graef, *Microsc. Microanal.* (2016) for the
cut-offs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ebsdsg_sim.crystal import Crystal
from ebsdsg_sim.structure_factors import ABSENT, FourierTable


def excitation_errors(along: Tensor, square: Tensor, wave_number: float) -> Tensor:
    """Distance of reciprocal-lattice points from the Ewald sphere, along the beam.

    Parameters
    ----------
    along : (...) component of g along the beam [1/nm]
    square : (...) |g|^2 [1/nm^2], broadcast against ``along``
    wave_number : k = 1/lambda, refraction-corrected [1/nm]

    Returns
    -------
    (...) s_g [1/nm]; negative outside the sphere.

    Notes
    -----
    s_g = -g.(2k + g)/(2 |k + g| cos(angle(k + g, n))) with foil normal n along k: De Graef (2003),
    eq. 2.88.
    """
    return -(2 * wave_number * along + square) / (2 * (wave_number + along))


@dataclass(frozen=True, eq=False)
class Candidates:
    """Reflections that can take part at one energy, the transmitted beam first.

    Parameters
    ----------
    hkl : (n, 3) int64 indices
    g : (n, 3) float64 Cartesian vectors [1/nm], crystal frame
    square : (n,) float64 |g|^2 [1/nm^2]
    offset : (n,) int64 place in the flattened Fourier table, relative to 000; the place of a
        difference of two reflections is the difference of their offsets
    lower, upper : (n,) float64; the reflection is kept where lower <= g.k <= upper [1/nm]
    strong, weak : largest |s_g| of a strong and of a weak reflection [1/nm]
    wave_number : 1/lambda [1/nm]
    """

    hkl: Tensor
    g: Tensor
    square: Tensor
    offset: Tensor
    lower: Tensor
    upper: Tensor
    strong: float
    weak: float
    wave_number: float

    def __len__(self) -> int:
        return len(self.hkl)


def candidates(
    crystal: Crystal,
    table: FourierTable,
    dmin: float,
    bethe: tuple[float, float, float],
    device: torch.device | str = "cpu",
) -> Candidates:
    """Reflections of a crystal that can take part at the energy of ``table``.

    Parameters
    ----------
    crystal : the crystal
    table : its Fourier coefficients
    dmin : smallest spacing [nm]; reflections with d > dmin are candidates
    bethe : EMsoft's cut-offs c1, c2, c3
    device : where the tensors live

    Notes
    -----
    Reflections absent by centring, glide planes, screw axes or special positions are dropped: no
    such reflection ever enters EMsoft's list, because its single-precision coefficients are small
    but not zero and fail the first rule.
    """
    axes = [np.arange(-n, n + 1) for n in table.limits]
    hkl = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    g = hkl @ crystal.reciprocal
    square = np.einsum("ij,ij->i", g, g)
    elastic, absorptive = table.at(hkl)
    strength = np.abs(elastic + 1j * absorptive)
    u0 = abs(complex(table.u0, table.u0_prime))
    order = np.lexsort((hkl[:, 2], hkl[:, 1], hkl[:, 0], np.round(square, 9)))
    order = order[(square < 1 / dmin**2)[order] & (strength > ABSENT * u0)[order]]
    hkl, g, square, strength = hkl[order], g[order], square[order], strength[order]

    k = 1 / table.wavelength
    tolerance = bethe[2] * table.wavelength * strength
    # |s_g| <= t solved for the component of g along the beam; k is far larger than t and |g|.
    lower = -(square + 2 * tolerance * k) / (2 * (k + tolerance))
    upper = -(square - 2 * tolerance * k) / (2 * (k - tolerance))
    upper[tolerance >= k] = np.inf
    lower[0], upper[0] = -np.inf, np.inf
    _, ny, nz = table.elastic.shape
    offset = (hkl[:, 0] * ny + hkl[:, 1]) * nz + hkl[:, 2]

    def send(array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)

    return Candidates(
        hkl=send(hkl.astype(np.int64)),
        g=send(g),
        square=send(square),
        offset=send(offset.astype(np.int64)),
        lower=send(lower),
        upper=send(upper),
        strong=bethe[0] * table.wavelength * u0,
        weak=bethe[1] * table.wavelength * u0,
        wave_number=k,
    )


@dataclass(frozen=True, eq=False)
class BeamLists:
    """Strong and weak beams of many directions, row after row.

    Parameters
    ----------
    n_strong, n_weak : (n_directions,) int64 numbers of beams; 000 is a strong beam
    strong, weak : indices into the candidates, concatenated over directions, 000 first in each row
    strong_errors, weak_errors : float64 s_g of those beams [1/nm]
    """

    n_strong: Tensor
    n_weak: Tensor
    strong: Tensor
    weak: Tensor
    strong_errors: Tensor
    weak_errors: Tensor


def select_beams(reflections: Candidates, directions: Tensor, cells: int = 1 << 18) -> BeamLists:
    """Strong and weak beams for each direction.

    Parameters
    ----------
    reflections : the candidates
    directions : (n, 3) float64 unit vectors of the beam, Cartesian crystal frame
    cells : direction-reflection pairs looked at together: what stays in a CPU's cache

    Returns
    -------
    BeamLists
    """
    step = max(1, cells // len(reflections))
    parts = [_select(reflections, block) for block in directions.split(step)]
    return BeamLists(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


def _select(reflections: Candidates, directions: Tensor) -> tuple[Tensor, ...]:
    along = directions @ reflections.g.T
    rows, beams = ((along >= reflections.lower) & (along <= reflections.upper)).nonzero(
        as_tuple=True
    )
    errors = excitation_errors(
        along[rows, beams], reflections.square[beams], reflections.wave_number
    )
    size = errors.abs()
    is_strong = size <= reflections.strong
    is_weak = (size <= reflections.weak) & ~is_strong
    n = len(directions)
    return (
        torch.bincount(rows[is_strong], minlength=n),
        torch.bincount(rows[is_weak], minlength=n),
        beams[is_strong],
        beams[is_weak],
        errors[is_strong],
        errors[is_weak],
    )
