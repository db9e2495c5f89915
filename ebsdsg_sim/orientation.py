"""Crystal orientations as unit quaternions (w, x, y, z).

An orientation takes vectors of the sample frame (RD, TD, ND) to the crystal frame:
``v_crystal = R v_sample`` with ``R = quaternion_to_matrix(q)``.  This is EMsoft's, orix' and
kikuchipy's convention, so quaternions and Bunge angles can be exchanged with them as they are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


class OrientationError(ValueError):
    """An orientation is malformed; the message says what was expected."""


def random_rotations(n: int, seed: int | np.random.Generator) -> np.ndarray:
    """Orientations distributed uniformly over SO(3).

    Parameters
    ----------
    n : how many.
    seed : seed of the random numbers, or a generator to continue.

    Returns
    -------
    (n, 4) float64 unit quaternions (w, x, y, z) with w >= 0.

    Raises
    ------
    OrientationError
        If ``n`` is negative.

    Notes
    -----
    A normalised four-dimensional Gaussian vector is uniform on the sphere S^3, and so, by Haar
    measure, is the rotation (Marsaglia, *Ann. Math. Stat.* 43 (1972) 645).
    """
    if n < 0:
        raise OrientationError(f"cannot draw {n} orientations")
    q = np.random.default_rng(seed).standard_normal((n, 4))
    q /= np.linalg.norm(q, axis=1, keepdims=True)
    q[q[:, 0] < 0] *= -1
    return q


def euler_to_quaternion(euler: ArrayLike) -> np.ndarray:
    """Quaternions of Bunge angles.

    Parameters
    ----------
    euler : (..., 3) angles phi1, Phi, phi2 [degrees] (Bunge: axes Z, X', Z'').

    Returns
    -------
    (..., 4) float64 unit quaternions (w, x, y, z) with w >= 0.

    Raises
    ------
    OrientationError
        If the last dimension is not 3 or an angle is not finite.

    Notes
    -----
    D. Rowenhorst et al., *Modelling Simul. Mater. Sci. Eng.* 23 (2015) 083501, eq. A.5, with
    P = +1.
    """
    angles = np.asarray(euler, dtype=np.float64)
    if angles.ndim == 0 or angles.shape[-1] != 3:
        raise OrientationError(f"Bunge angles need a last dimension of 3, got shape {angles.shape}")
    if not np.isfinite(angles).all():
        raise OrientationError("Bunge angles must be finite numbers")
    phi1, phi, phi2 = np.moveaxis(np.deg2rad(angles), -1, 0)
    half_sum, half_difference = (phi1 + phi2) / 2, (phi1 - phi2) / 2
    c, s = np.cos(phi / 2), np.sin(phi / 2)
    q = np.stack(
        (
            c * np.cos(half_sum),
            -s * np.cos(half_difference),
            -s * np.sin(half_difference),
            -c * np.sin(half_sum),
        ),
        axis=-1,
    )
    return np.where(q[..., :1] < 0, -q, q)


def quaternion_to_matrix(quaternions: ArrayLike) -> np.ndarray:
    """Rotation matrices R of quaternions, ``v_crystal = R v_sample``.

    Parameters
    ----------
    quaternions : (..., 4) quaternions (w, x, y, z); normalised here.

    Returns
    -------
    (..., 3, 3) float64 rotation matrices.

    Raises
    ------
    OrientationError
        If the last dimension is not 4, a value is not finite, or a quaternion is zero.
    """
    q = _unit(quaternions)
    w, x, y, z = np.moveaxis(q, -1, 0)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def matrix_to_quaternion(matrices: ArrayLike) -> np.ndarray:
    """Quaternions of rotation matrices; inverse of :func:`quaternion_to_matrix`.

    Parameters
    ----------
    matrices : (..., 3, 3) proper rotation matrices.

    Returns
    -------
    (..., 4) float64 unit quaternions (w, x, y, z) with w >= 0.

    Raises
    ------
    OrientationError
        If a matrix is not a proper rotation (to 1e-6).

    Notes
    -----
    The quaternion is the eigenvector of the largest eigenvalue of Bar-Itzhack's symmetric matrix
    (*J. Guid. Control Dyn.* 23 (2000) 1085), which is stable at every angle.
    """
    r = np.asarray(matrices, dtype=np.float64)
    if r.ndim < 2 or r.shape[-2:] != (3, 3):
        raise OrientationError(f"rotation matrices have shape (..., 3, 3), got {r.shape}")
    if not (
        np.allclose(r @ np.swapaxes(r, -1, -2), np.eye(3), atol=1e-6)
        and np.all(np.linalg.det(r) > 0)
    ):
        raise OrientationError("not a proper rotation: R R^T must be 1 and det R must be +1")
    k = np.empty((*r.shape[:-2], 4, 4))
    trace = np.trace(r, axis1=-2, axis2=-1)
    k[..., 0, 0] = trace
    skew = (
        r[..., 2, 1] - r[..., 1, 2],
        r[..., 0, 2] - r[..., 2, 0],
        r[..., 1, 0] - r[..., 0, 1],
    )
    for i in range(3):
        k[..., 0, i + 1] = k[..., i + 1, 0] = skew[i]
        for j in range(3):
            k[..., i + 1, j + 1] = r[..., i, j] + r[..., j, i] - (trace if i == j else 0)
    q = np.linalg.eigh(k)[1][..., -1]
    return np.where(q[..., :1] < 0, -q, q)


def multiply(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    """Hamilton product ``a b``: first ``b`` is applied to a vector, then ``a``.

    Parameters
    ----------
    a, b : (..., 4) quaternions (w, x, y, z), broadcast against each other.  To apply a symmetry
        operation ``s`` of the crystal to an orientation ``q``, form ``multiply(s, q)``.

    Returns
    -------
    (..., 4) float64 unit quaternions with w >= 0.

    Raises
    ------
    OrientationError
        If a last dimension is not 4, a value is not finite, or a quaternion is zero.
    """
    aw, ax, ay, az = np.moveaxis(_unit(a), -1, 0)
    bw, bx, by, bz = np.moveaxis(_unit(b), -1, 0)
    q = np.stack(
        (
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ),
        axis=-1,
    )
    return np.where(q[..., :1] < 0, -q, q)


def _unit(quaternions: ArrayLike) -> np.ndarray:
    """Normalised float64 quaternions, checked."""
    q = np.asarray(quaternions, dtype=np.float64)
    if q.ndim == 0 or q.shape[-1] != 4:
        raise OrientationError(f"quaternions need a last dimension of 4, got shape {q.shape}")
    norm = np.linalg.norm(q, axis=-1, keepdims=True)
    if not np.isfinite(norm).all() or np.any(norm < 1e-12):
        raise OrientationError("quaternions must be finite and not zero")
    return q / norm
