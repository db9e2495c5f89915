"""Orientations: uniformity, conventions shared with orix, group properties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebsdsg_sim.orientation import (
    OrientationError,
    euler_to_quaternion,
    matrix_to_quaternion,
    multiply,
    quaternion_to_matrix,
    random_rotations,
)

angles = st.tuples(st.floats(-720, 720), st.floats(0, 180), st.floats(-720, 720))


def test_random_rotations_are_uniform_on_so3():
    n = 40_000
    r = quaternion_to_matrix(random_rotations(n, seed=5))
    # Rotated axes are uniform on the sphere: means vanish, every squared component averages 1/3.
    assert np.abs(r.mean(axis=0)).max() < 5 * np.sqrt(1 / 3 / n)
    assert np.abs((r**2).mean(axis=0) - 1 / 3).max() < 5 * np.sqrt(4 / 45 / n)
    # The rotation angle w has the density (1 - cos w)/pi.
    angle = np.arccos(np.clip((np.trace(r, axis1=1, axis2=2) - 1) / 2, -1, 1))
    edges = np.linspace(0, np.pi, 21)
    expected = n * np.diff((edges - np.sin(edges)) / np.pi)
    counts = np.histogram(angle, edges)[0]
    chi2 = ((counts - expected) ** 2 / expected).sum()
    assert chi2 < 50  # 20 degrees of freedom: exceeded with probability 2e-4


def test_seed_fixes_the_rotations():
    assert np.array_equal(random_rotations(5, 1), random_rotations(5, 1))
    assert not np.array_equal(random_rotations(5, 1), random_rotations(5, 2))
    q = random_rotations(100, 3)
    assert np.allclose(np.linalg.norm(q, axis=1), 1)
    assert (q[:, 0] >= 0).all()


@given(angles)
def test_bunge_angles_give_bunges_matrix(euler):
    p1, p, p2 = np.deg2rad(euler)
    c1, s1, c, s, c2, s2 = np.cos(p1), np.sin(p1), np.cos(p), np.sin(p), np.cos(p2), np.sin(p2)
    bunge = np.array(
        [
            [c1 * c2 - s1 * s2 * c, s1 * c2 + c1 * s2 * c, s2 * s],
            [-c1 * s2 - s1 * c2 * c, -s1 * s2 + c1 * c2 * c, c2 * s],
            [s1 * s, -c1 * s, c],
        ]
    )
    assert np.allclose(quaternion_to_matrix(euler_to_quaternion(euler)), bunge, atol=1e-12)


def test_conventions_are_those_of_orix():
    from orix import quaternion as orix

    euler = np.random.default_rng(0).uniform([0, 0, 0], [360, 180, 360], (20, 3))
    theirs = orix.Rotation.from_euler(euler, degrees=True)
    ours = euler_to_quaternion(euler)
    sign = np.sign((theirs.data * ours).sum(axis=1, keepdims=True))
    assert np.allclose(theirs.data * sign, ours, atol=1e-12)
    assert np.allclose(theirs.to_matrix(), quaternion_to_matrix(ours), atol=1e-12)


@given(st.integers(0, 1000))
def test_product_of_quaternions_is_product_of_matrices(seed):
    a, b = random_rotations(2, seed)
    product = quaternion_to_matrix(multiply(a, b))
    assert np.allclose(product, quaternion_to_matrix(a) @ quaternion_to_matrix(b), atol=1e-12)


@given(angles)
def test_matrix_returns_its_quaternion(euler):
    q = euler_to_quaternion(euler)
    back = matrix_to_quaternion(quaternion_to_matrix(q))
    assert abs(back @ q) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    "call",
    [
        lambda: random_rotations(-1, 0),
        lambda: euler_to_quaternion([0, 0]),
        lambda: euler_to_quaternion([0, np.nan, 0]),
        lambda: quaternion_to_matrix([0, 0, 0, 0]),
        lambda: quaternion_to_matrix([1, 0, 0]),
        lambda: matrix_to_quaternion(-np.eye(3)),
    ],
)
def test_malformed_orientations_are_refused(call):
    with pytest.raises(OrientationError):
        call()
