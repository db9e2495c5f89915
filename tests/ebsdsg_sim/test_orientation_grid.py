"""Grids of the fundamental zone: equal volumes, every point group, no orientation left out."""

import numpy as np
import pytest
import spglib

from ebsdsg_sim.orientation import (
    OrientationError,
    matrix_to_quaternion,
    multiply,
    quaternion_to_matrix,
    random_rotations,
)
from ebsdsg_sim.orientation_grid import (
    cubochoric_to_quaternion,
    fundamental_zone_grid,
    in_fundamental_zone,
)

#: One space group of each of the 32 point groups.
ALL = (1, 2, 3, 6, 10, 16, 25, 47, 75, 81, 83, 89, 99, 111, 123, 143, 147, 149, 156, 162, 168, 174)
ALL = (*ALL, 175, 177, 183, 187, 191, 195, 200, 207, 215, 221)


def point_group(number: int) -> np.ndarray:
    """Cartesian matrices of a space group's point group, on a conventional cell."""
    hall = next(h for h in range(1, 531) if spglib.get_spacegroup_type(h).number == number)
    rotations = np.unique(spglib.get_symmetry_from_database(hall)["rotations"], axis=0)
    hexagonal = 143 <= number <= 194
    cell = np.array([[1, -0.5, 0], [0, np.sqrt(0.75), 0], [0, 0, 1]]) if hexagonal else np.eye(3)
    return cell @ rotations @ np.linalg.inv(cell)


def misorientation(a: np.ndarray, b: np.ndarray, operations: np.ndarray) -> np.ndarray:
    """(len(a), len(b)) smallest angles between orientations [degrees]."""
    largest = np.zeros((len(a), len(b)))
    for operation in operations:
        largest = np.maximum(largest, np.abs(multiply(operation, a) @ b.T))
    return np.degrees(2 * np.arccos(np.clip(largest, 0, 1)))


def test_there_are_32_point_groups():
    orders = {len(point_group(n)) for n in ALL}
    assert len(ALL) == 32 and max(orders) == 48


@pytest.mark.parametrize("number", ALL)
def test_the_zone_has_its_share_of_the_cells(number):
    group = point_group(number)
    operations = matrix_to_quaternion(group[np.linalg.det(group) > 0])
    grid = fundamental_zone_grid(group, 9.0)
    cells = round(2 * np.pi ** (2 / 3) / np.radians(9.0)) ** 3
    assert len(grid) * len(operations) == pytest.approx(cells, rel=0.06)
    assert np.allclose(np.linalg.norm(grid, axis=1), 1)
    smallest = np.abs(multiply(operations[:, None], grid)[..., 0]).max(axis=0)
    assert np.allclose(grid[:, 0], smallest)
    # No orientation is far from the grid, and no two nodes are the same orientation.
    q = random_rotations(50, number)
    assert misorientation(q, grid, operations).min(axis=1).max() < 13
    among = misorientation(grid[:200], grid[:200], operations)
    assert (among + 180 * np.eye(len(among))).min() > 1


def test_cells_have_equal_volumes():
    """Rotations of random points of the cube are uniform on SO(3)."""
    rng = np.random.default_rng(2)
    n = 40_000
    q = cubochoric_to_quaternion(rng.uniform(-0.5, 0.5, (n, 3)) * np.pi ** (2 / 3))
    r = quaternion_to_matrix(q)
    assert np.abs(r.mean(axis=0)).max() < 5 * np.sqrt(1 / 3 / n)
    assert np.abs((r**2).mean(axis=0) - 1 / 3).max() < 5 * np.sqrt(4 / 45 / n)
    angle = 2 * np.arccos(q[:, 0])
    edges = np.linspace(0, np.pi, 21)
    counts = np.histogram(angle, edges)[0]
    expected = n * np.diff((edges - np.sin(edges)) / np.pi)
    assert ((counts - expected) ** 2 / expected).sum() < 50


def test_the_cubes_surface_is_rotations_by_180_degrees():
    half = np.pi ** (2 / 3) / 2
    points = np.random.default_rng(0).uniform(-half, half, (300, 3))
    points[np.arange(300), np.arange(300) % 3] = half
    assert np.abs(cubochoric_to_quaternion(points)[:, 0]).max() < 1e-6
    assert np.allclose(cubochoric_to_quaternion(np.zeros((1, 3))), [[1, 0, 0, 0]])


def test_conversion_and_zone_are_those_of_orix():
    from orix.quaternion import OrientationRegion, Rotation, symmetry

    points = np.random.default_rng(1).uniform(-1, 1, (200, 3)) * np.pi ** (2 / 3) / 2
    theirs = Rotation.from_axes_angles(*axis_angle(points)).data
    ours = cubochoric_to_quaternion(points)
    assert np.allclose(np.abs((theirs * ours).sum(axis=1)), 1, atol=1e-9)
    q = random_rotations(3000, 4)
    for group in (symmetry.O, symmetry.D6, symmetry.D3, symmetry.T, symmetry.C4, symmetry.D2):
        region = OrientationRegion.from_symmetry(group)
        inside = Rotation(q) < region
        assert (inside == in_fundamental_zone(q, group.data)).mean() > 0.999


def axis_angle(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Axis and angle of cubochoric points by orix's conversion."""
    from orix.quaternion._conversions import ax2qu, cu2ro, ro2ax

    assert ax2qu is not None
    axes = ro2ax(cu2ro(points))
    return axes[:, :3], axes[:, 3]


def test_of_equivalents_on_the_surface_one_is_taken():
    cubic = matrix_to_quaternion(point_group(221)[np.linalg.det(point_group(221)) > 0])
    assert len(cubic) == 24
    for angle, axis in ((45, (0, 0, 1)), (60, (1, 1, 1))):
        v = np.sin(np.radians(angle) / 2) * np.array(axis) / np.linalg.norm(axis)
        q = np.array([np.cos(np.radians(angle) / 2), *v])
        equivalent = multiply(cubic, q)
        surface = equivalent[np.isclose(equivalent[:, 0], equivalent[:, 0].max())]
        assert len(surface) > 1
        assert in_fundamental_zone(surface, cubic).sum() == 1


@pytest.mark.parametrize(
    ("group", "spacing"), [(np.eye(3)[None], 0.1), (np.eye(3), 5), (np.ones((2, 3, 3)), 5)]
)
def test_unusable_requests_are_refused(group, spacing):
    with pytest.raises((OrientationError, ValueError)):
        fundamental_zone_grid(group, spacing)
    with pytest.raises(OrientationError):
        cubochoric_to_quaternion(np.full((1, 3), 2.0))
