"""Which nodes of the square Lambert grid are equivalent under a crystal's point group.

The square grid is mapped onto itself by the 16 operations of 4/mmm about its axes; of a crystal's
point group those operations that are among them are used, and no other symmetry is assumed: a
polar crystal keeps two different hemispheres, and Friedel's law is not invoked.  The rim of both
hemispheres is the same set of directions (the equator) and is computed once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ebsdsg_sim.lambert import grid_directions


@dataclass(frozen=True, eq=False)
class GridOrbits:
    """Distinct directions of a pair of hemispheres, and where each belongs.

    Parameters
    ----------
    npx : half width of the grid
    directions : (n, 3) float64 unit vectors of one node per orbit, Cartesian crystal frame
    orbit : (2, 2 npx + 1, 2 npx + 1) int64, for every node of the northern [0] and southern [1]
        hemisphere the row of ``directions`` it is equivalent to
    n_operations : point-group operations that map the grid onto itself
    """

    npx: int
    directions: np.ndarray
    orbit: np.ndarray
    n_operations: int

    def fill(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Maps (north, south) from one value per orbit.

        Parameters
        ----------
        values : (n, ...) values of the distinct directions

        Returns
        -------
        north, south : (..., 2 npx + 1, 2 npx + 1)
        """
        north, south = (np.moveaxis(values[orbit], (0, 1), (-2, -1)) for orbit in self.orbit)
        return np.ascontiguousarray(north), np.ascontiguousarray(south)


def grid_operations(point_group: np.ndarray, tolerance: float = 1e-5) -> np.ndarray:
    """Operations of a point group that map the square Lambert grid onto itself.

    Parameters
    ----------
    point_group : (m, 3, 3) Cartesian matrices
    tolerance : largest deviation of a matrix element from an exact operation

    Returns
    -------
    (n, 3, 3) int64 signed permutations of x and y, with z kept or reversed; n divides 16.
    """
    rounded = np.rint(point_group).astype(np.int64)
    exact = np.abs(point_group - rounded).max(axis=(1, 2)) < tolerance
    along_z = np.abs(rounded[:, 2, 2]) == 1
    return np.unique(rounded[exact & along_z], axis=0)


def grid_orbits(point_group: np.ndarray, npx: int) -> GridOrbits:
    """Group the nodes of both hemispheres into orbits of equivalent directions.

    Parameters
    ----------
    point_group : (m, 3, 3) Cartesian matrices of the crystal's point group
    npx : half width of the grid
    """
    operations = grid_operations(point_group)
    side = 2 * npx + 1
    axis = np.arange(-npx, npx + 1)
    j, i = np.meshgrid(axis, axis, indexing="ij")
    xy = np.stack((i.ravel(), j.ravel()))
    equator = np.abs(xy).max(axis=0) == npx
    node = np.arange(2 * side * side).reshape(2, -1)
    first = node.copy()
    for operation in operations:
        x, y = operation[:2, :2] @ xy
        moved = (y + npx) * side + (x + npx)
        for hemisphere in (0, 1):
            below = (operation[2, 2] < 0) != (hemisphere == 1)
            image = moved + np.where(equator, 0, below * side * side)
            first[hemisphere] = np.minimum(first[hemisphere], image)
    distinct, orbit = np.unique(first.ravel(), return_inverse=True)
    north = grid_directions(npx).numpy().reshape(-1, 3)
    directions = north[distinct % (side * side)]
    directions[distinct >= side * side, 2] *= -1
    return GridOrbits(npx, directions, orbit.reshape(2, side, side), len(operations))
