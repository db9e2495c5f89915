"""The square that carries the sphere: modified Lambert projection of one hemisphere.

A hemisphere of directions is mapped onto the square [-1, 1] x [-1, 1] so that equal areas of the
square are equal solid angles.  Master patterns and Monte Carlo exit directions both live on this
square; a map of half width ``npx`` has ``2 npx + 1`` nodes per side, and array element
``[row, column]`` is the node ``x = (column - npx) / npx``, ``y = (row - npx) / npx``.

References: D. Rosca, *Astron. Astrophys.* 520 (2010) A63; P. Callahan and M. De Graef,
*Microsc. Microanal.* 19 (2013) 1255.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


class LambertError(ValueError):
    """Points or directions cannot be projected; the message says which shape was expected."""


def to_sphere(xy: Tensor) -> Tensor:
    """Directions of points of the square (northern hemisphere).

    Parameters
    ----------
    xy : (..., 2) points of the square, each coordinate in [-1, 1].

    Returns
    -------
    (..., 3) unit vectors with z >= 0; the square's edge maps to the equator.

    Raises
    ------
    LambertError
        If the last dimension is not 2.

    Notes
    -----
    With m the coordinate of larger magnitude and w the other one, z = 1 - m^2, and the
    azimuth measured from the axis of m is (pi/4) w/m: Rosca (2010), eq. 8-9, scaled to the unit
    square.
    """
    if xy.shape[-1] != 2:
        raise LambertError(f"points of the square have 2 coordinates, not {xy.shape[-1]}")
    x, y = xy.unbind(-1)
    along_x = x.abs() >= y.abs()
    major = torch.where(along_x, x, y)
    minor = torch.where(along_x, y, x)
    safe = torch.where(major == 0, torch.ones_like(major), major)
    angle = (math.pi / 4) * minor / safe
    # sin(theta) carries the sign of the major coordinate, so one formula serves both its signs.
    sin_theta = major * torch.sqrt(2 - major * major)
    first, second = sin_theta * torch.cos(angle), sin_theta * torch.sin(angle)
    return torch.stack(
        (
            torch.where(along_x, first, second),
            torch.where(along_x, second, first),
            1 - major * major,
        ),
        dim=-1,
    )


def to_square(v: Tensor) -> Tensor:
    """Points of the square of unit vectors; both hemispheres fold onto it by the magnitude of z.

    Parameters
    ----------
    v : (..., 3) unit vectors.  The caller tells the hemispheres apart by the sign of z.

    Returns
    -------
    (..., 2) points, each coordinate in [-1, 1].

    Raises
    ------
    LambertError
        If the last dimension is not 3.

    Notes
    -----
    Inverse of :func:`to_sphere`.  ``1 - |z|`` is formed as ``(x^2 + y^2)/(1 + |z|)``, which stays
    exact near the pole in single precision.
    """
    if v.shape[-1] != 3:
        raise LambertError(f"directions have 3 components, not {v.shape[-1]}")
    x, y, z = v.unbind(-1)
    along_x = x.abs() >= y.abs()
    major = torch.where(along_x, x, y)
    minor = torch.where(along_x, y, x)
    safe = torch.where(major == 0, torch.ones_like(major), major)
    radius = torch.sqrt((x * x + y * y) / (1 + z.abs())).clamp_max(1.0)
    first = torch.copysign(radius, major)
    second = first * torch.atan(minor / safe) * (4 / math.pi)
    return torch.stack(
        (torch.where(along_x, first, second), torch.where(along_x, second, first)), dim=-1
    )


def interpolate(maps: Tensor, xy: Tensor) -> Tensor:
    """Values of maps between their nodes, bilinearly.

    Parameters
    ----------
    maps : (channels, 2 npx + 1, 2 npx + 1) maps on the square, ``[row, column]`` as in this
        module's description.
    xy : (..., 2) points of the square, same dtype and device.

    Returns
    -------
    (channels, ...) values.
    """
    flat = xy.reshape(1, 1, -1, 2)
    values = torch.nn.functional.grid_sample(
        maps[None], flat, mode="bilinear", padding_mode="border", align_corners=True
    )
    return values.reshape(maps.shape[0], *xy.shape[:-1])


def to_stereographic(north: Tensor) -> Tensor:
    """Stereographic pictures of one hemisphere's maps, on a grid of the same size.

    Parameters
    ----------
    north : (channels, 2 npx + 1, 2 npx + 1) maps of one hemisphere.

    Returns
    -------
    (channels, 2 npx + 1, 2 npx + 1); zero outside the unit disc.  Column and row are x and y of
    the projection plane as for the Lambert square: EMsoft's ``masterSP``.

    Notes
    -----
    A point (X, Y) of the disc is the direction (2X, 2Y, 1 - r^2)/(1 + r^2).
    """
    npx = (north.shape[-1] - 1) // 2
    axis = torch.arange(-npx, npx + 1, dtype=torch.float64, device=north.device) / npx
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    r2 = x * x + y * y
    v = torch.stack((2 * x, 2 * y, 1 - r2), dim=-1) / (1 + r2)[..., None]
    picture = interpolate(north, to_square(v).to(north.dtype))
    return torch.where(
        r2 <= 1 + 1e-9, picture, torch.zeros((), dtype=north.dtype, device=north.device)
    )


def grid_directions(
    npx: int, *, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu"
) -> Tensor:
    """Directions of all nodes of a square map.

    Parameters
    ----------
    npx : half width of the map.
    dtype, device : of the result.

    Returns
    -------
    (2 npx + 1, 2 npx + 1, 3) unit vectors with z >= 0, ``[row, column]`` as in this module's
    description.

    Raises
    ------
    LambertError
        If ``npx`` is below 1.
    """
    if npx < 1:
        raise LambertError(f"npx = {npx}: a map needs a half width of at least 1")
    axis = torch.arange(-npx, npx + 1, dtype=torch.float64, device=device) / npx
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return to_sphere(torch.stack((x, y), dim=-1)).to(dtype)
