"""Where the zone axes of low indices are in the pictures of a master pattern."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import gcd

import numpy as np
import torch

from ebsdsg_sim.crystal import Crystal
from ebsdsg_sim.lambert import to_square


@dataclass(frozen=True)
class ZoneAxis:
    """One zone axis of a hemisphere.

    Parameters
    ----------
    uvw : indices of the direction in the conventional cell.
    stereographic, lambert : (x, y) in the pictures, each from -1 to 1, y pointing up.
    """

    uvw: tuple[int, int, int]
    stereographic: tuple[float, float]
    lambert: tuple[float, float]


def zone_axes(crystal: Crystal, *, south: bool = False, largest: int = 1) -> list[ZoneAxis]:
    """Zone axes of a hemisphere, with their places in both projections.

    Parameters
    ----------
    crystal : gives the cell.
    south : the southern hemisphere (z < 0) instead of the northern one; directions on the rim
        belong to both.
    largest : largest index.

    Returns
    -------
    Zone axes with indices without common divisor, those nearest the centre first.

    Notes
    -----
    A direction (x, y, z) is drawn at (x, y)/(1 + |z|) stereographically, and at
    :func:`ebsdsg_sim.lambert.to_square` of (x, y, |z|) in the Lambert square, as the maps of both
    hemispheres are stored.
    """
    found = []
    for u, v, w in product(range(-largest, largest + 1), repeat=3):
        if gcd(u, v, w) != 1:
            continue
        x, y, z = np.array([u, v, w]) @ crystal.lattice
        length = float(np.sqrt(x * x + y * y + z * z))
        x, y, z = x / length, y / length, (-z if south else z) / length
        if z < -1e-9:
            continue
        z = max(float(z), 0.0)
        square = to_square(torch.tensor([x, y, z], dtype=torch.float64))
        found.append(
            ZoneAxis(
                (u, v, w),
                (float(x / (1 + z)), float(y / (1 + z))),
                (float(square[0]), float(square[1])),
            )
        )
    return sorted(
        found, key=lambda axis: (round(float(np.hypot(*axis.stereographic)), 6), axis.uvw)
    )
