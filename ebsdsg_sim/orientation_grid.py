"""Orientations on a regular grid of the fundamental zone of a point group.

The space of rotations is cut into cells of equal volume, small cubes of the cubochoric
representation; the middles of those in the fundamental zone are the grid.  Every orientation of the
crystal is equivalent to one in the zone, the smallest rotation of its equivalents.

Reference: D. Rosca, A. Morawiec and M. De Graef, *Modelling Simul. Mater. Sci. Eng.* 22 (2014)
075013.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from ebsdsg_sim.orientation import OrientationError, matrix_to_quaternion, multiply

#: Orientations looked at together.
BATCH = 1 << 16
#: Difference of scalar parts below which two equivalents are both on the zone's surface.
TIE = 1e-9


def fundamental_zone_grid(point_group: ArrayLike, spacing: float) -> np.ndarray:
    """Orientations of the fundamental zone, in equal volumes of orientation space.

    Parameters
    ----------
    point_group : (m, 3, 3) Cartesian matrices of the crystal's point group,
        :attr:`ebsdsg_sim.crystal.Crystal.point_group`.  Only its rotations make orientations
        equivalent; where patterns cannot tell a crystal from its inverse, give the Laue group.
    spacing : mean misorientation between neighbours [degrees], 0.5 to 90.

    Returns
    -------
    (n, 4) float64 unit quaternions (w, x, y, z) with w >= 0, ``v_crystal = R v_sample``; n is the
    number of cells divided by the number of rotations, to a few per cent for coarse grids.

    Raises
    ------
    OrientationError
        If the spacing is out of range or the matrices are no group of rotations.
    """
    if not 0.5 <= spacing <= 90:
        raise OrientationError(f"spacing = {spacing}: must be 0.5 to 90 degrees")
    matrices = np.asarray(point_group, dtype=np.float64)
    if matrices.ndim != 3 or matrices.shape[1:] != (3, 3):
        raise OrientationError(f"a point group has shape (m, 3, 3), not {matrices.shape}")
    operations = matrix_to_quaternion(matrices[np.linalg.det(matrices) > 0])
    edge = max(1, round(2 * math.pi ** (2 / 3) / math.radians(spacing)))
    axis = (np.arange(edge) + 0.5) / edge - 0.5
    zone = []
    layers = max(1, BATCH // edge**2)
    for first in range(0, edge, layers):
        cube = np.stack(np.meshgrid(axis[first : first + layers], axis, axis, indexing="ij"), -1)
        q = cubochoric_to_quaternion(cube.reshape(-1, 3) * math.pi ** (2 / 3))
        zone.append(q[in_fundamental_zone(q, operations)])
    return np.concatenate(zone)


def in_fundamental_zone(quaternions: ArrayLike, operations: ArrayLike) -> np.ndarray:
    """Whether orientations are the smallest rotations of their equivalents.

    Parameters
    ----------
    quaternions : (n, 4) orientations.
    operations : (m, 4) rotations of the point group.

    Returns
    -------
    (n,) bool; of equivalents on the surface of the zone exactly one is in.
    """
    q = np.asarray(quaternions, dtype=np.float64)
    others = multiply(np.asarray(operations)[:, None], q[None])
    largest = others[..., 0].max(axis=0)
    inside = largest - np.abs(q[:, 0]) < TIE
    tied = ((largest - others[..., 0]) < TIE).sum(axis=0) > 1
    for i in np.flatnonzero(inside & tied):
        rivals = others[largest[i] - others[:, i, 0] < TIE, i]
        inside[i] = max(map(_name, rivals)) == _name(q[i])
    return inside


def _name(q: np.ndarray) -> tuple[float, ...]:
    """Numbers by which equal rotations are equal and different ones have an order."""
    rounded = np.round(q, 7) + 0.0
    nonzero = rounded[np.flatnonzero(rounded)[0]]
    return tuple((rounded if nonzero > 0 else -rounded + 0.0).tolist())


def cubochoric_to_quaternion(points: ArrayLike) -> np.ndarray:
    """Rotations of points of the cubochoric cube.

    Parameters
    ----------
    points : (n, 3) points; the cube's edge is pi^(2/3), equal volumes are equal sets of rotations.

    Returns
    -------
    (n, 4) float64 unit quaternions with w >= 0.

    Raises
    ------
    OrientationError
        If a point is outside the cube.
    """
    p = np.asarray(points, dtype=np.float64)
    half = math.pi ** (2 / 3) / 2
    if p.ndim != 2 or p.shape[1] != 3 or not (np.abs(p) <= half * (1 + 1e-9)).all():
        raise OrientationError(f"cubochoric points are (n, 3) within +-{half:.4f}")
    ball = _cube_to_ball(p)
    radius = np.linalg.norm(ball, axis=1)
    angle = _rotation_angle(radius)
    axis = ball / np.where(radius > 0, radius, 1)[:, None]
    return np.concatenate((np.cos(angle / 2)[:, None], axis * np.sin(angle / 2)[:, None]), axis=1)


def _cube_to_ball(cube: np.ndarray) -> np.ndarray:
    """Volume-preserving map of the cube onto the ball of homochoric vectors (Rosca et al., 3.2)."""
    n = np.arange(len(cube))
    # The pyramid a point is in: its axis comes last.
    last = np.abs(cube).argmax(axis=1)
    order = np.stack(((last + 1) % 3, (last + 2) % 3, last), axis=1)
    x, y, z = (np.take_along_axis(cube, order, axis=1) * (math.pi / 6) ** (1 / 6)).T
    steep = np.abs(y) > np.abs(x)
    major, minor = np.where(steep, y, x), np.where(steep, x, y)
    t = math.pi / 12 * minor / np.where(major == 0, 1, major)
    # First a square onto a disc of equal area, in every layer of the pyramid ...
    beta = math.pi ** (5 / 6) / 6 ** (1 / 6) / 2
    scale = (
        (3 * math.pi / 4) ** (1 / 3) * 2**0.25 / beta * major / np.sqrt(math.sqrt(2) - np.cos(t))
    )
    along, across = (math.sqrt(2) * np.cos(t) - 1) * scale, math.sqrt(2) * np.sin(t) * scale
    # ... then the layers onto spherical caps.
    square = along**2 + across**2
    depth = np.where(z == 0, 1, z)
    shrink = np.sqrt(1 - math.pi * square / (24 * depth**2))
    result = np.empty_like(cube)
    result[n, order[:, 0]] = np.where(steep, across, along) * shrink
    result[n, order[:, 1]] = np.where(steep, along, across) * shrink
    result[n, order[:, 2]] = math.sqrt(6 / math.pi) * z - math.sqrt(math.pi / 24) * square / depth
    return result


def _rotation_angle(radius: np.ndarray) -> np.ndarray:
    """Angle w of homochoric vectors of length h: h^3 = (3/4)(w - sin w), by bisection."""
    target = np.minimum(radius**3 * 4 / 3, math.pi)
    low, high = np.zeros_like(target), np.full_like(target, math.pi)
    for _ in range(52):
        middle = (low + high) / 2
        small = middle - np.sin(middle) < target
        low, high = np.where(small, middle, low), np.where(small, high, middle)
    return (low + high) / 2
