"""Reading maps of the sphere in the directions of pixels: where projection spends its time.

Directions come as planes of x, y and z and of their length, not normalised.  Everything works in
place on planes of a few ten thousand pixels, which stay in a processor's cache.

`LambertLookup` interpolates the Lambert squares of a master pattern as EMEBSD does.
`StereographicLookup` has them resampled to a finer stereographic disc, where a direction costs two
divisions instead of a root and an arctangent.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, grid_sample

from ebsdsg_sim.lambert import interpolate, to_square

#: Up to this many maps, interpolating them one by one is the fastest.
FEW_MAPS = 4
#: Nodes along a stereographic map for every step of the Lambert map, and at most.
FINER, FINEST = 4, 1024


class LambertLookup:
    """Bilinear interpolation of maps on the Lambert square.

    Parameters
    ----------
    maps : (n_maps, side, side) of one hemisphere that serves both, or (n_maps, side, 2 side) with
        the southern maps to the right of the northern ones.
    """

    #: Planes of work memory a call needs besides x, y, z and length.
    planes = 5

    def __init__(self, maps: Tensor) -> None:
        self.maps = maps
        self._npx = maps.shape[1] // 2
        self._two_sided = maps.shape[2] != maps.shape[1]
        if len(maps) > FEW_MAPS:
            # One row of all maps' values per node: the four corners are four contiguous reads.
            self._rows = maps.flatten(1).T.contiguous()

    @staticmethod
    def prepare(north: Tensor, south: Tensor) -> Tensor:
        """Maps as this lookup takes them, from (n_maps, side, side) of the two hemispheres."""
        return north if torch.equal(north, south) else torch.cat((north, south), dim=2)

    def __call__(self, xy: Tensor, z: Tensor, length: Tensor, work: Tensor) -> Tensor:
        """Values of all maps.

        Parameters
        ----------
        xy, z, length : (2, m, rows, columns), (m, rows, columns) and a shape that broadcasts to
            it; overwritten, but for the length.
        work : (planes, m, rows, columns) to work in.

        Returns
        -------
        (n_maps, m, rows, columns)
        """
        _to_square(xy, z, length, work)
        npx = self._npx
        if len(self.maps) > FEW_MAPS:
            return self._by_rows(xy, z)
        if self._two_sided:
            # Side by side, 2 npx + 1 columns each: 4 npx + 1 steps from edge to edge.
            middle = torch.tensor(1 + 1 / (2 * npx), device=z.device)
            xy[0].sub_(torch.copysign(middle, z, out=z)).mul_(2 * npx / (4 * npx + 1))
        return _sample(self.maps, xy, align_corners=True)

    def means(self) -> Tensor:
        """(n_maps,) means over all directions; equal areas of the square are equal solid angles."""
        return self.maps.mean(dim=(1, 2))

    def _by_rows(self, xy: Tensor, z: Tensor) -> Tensor:
        npx, width = self._npx, self.maps.shape[2]
        steps = xy.add_(1).mul_(npx)
        node = steps.int().clamp_(0, 2 * npx - 1)
        right, below = steps.sub_(node)
        corner = node[1] * width + node[0]
        if self._two_sided:
            corner += (z < 0) * (2 * npx + 1)
        offsets = torch.tensor([0, 1, width, width + 1], dtype=torch.int32, device=z.device)
        both = right * below
        weights = torch.stack((1 - right - below + both, right - both, below - both, both), dim=-1)
        values = embedding_bag(
            (corner[..., None] + offsets).reshape(-1, 4),
            self._rows,
            mode="sum",
            per_sample_weights=weights.reshape(-1, 4),
        )
        return values.T.reshape(-1, *z.shape)


class StereographicLookup:
    """Bilinear interpolation of maps on the stereographic disc.

    Parameters
    ----------
    maps : (n_maps, side, side) of one hemisphere that serves both, or (n_maps, 2 side, side) with
        the southern maps below the northern ones; pixels, not nodes: the first one's edge is -1.
    """

    def __init__(self, maps: Tensor) -> None:
        self.maps = maps
        self._two_sided = maps.shape[2] != maps.shape[1]
        self.planes = 1 if self._two_sided else 0

    @staticmethod
    def prepare(north: Tensor, south: Tensor) -> Tensor:
        """Maps as this lookup takes them, from (n_maps, side, side) Lambert maps.

        The result has four pixels for every Lambert step, up to 1024 pixels per side.
        """
        side = min(FINEST, FINER * (north.shape[-1] - 1))
        inside, outside = _disc(side)
        same = torch.equal(north, south)
        discs = []
        for near, far in ((north, south), (south, north))[: 1 if same else 2]:
            disc = interpolate(near, inside)
            # Beyond the edge are directions of the other hemisphere, for the interpolation.
            disc[:, outside] = interpolate(far, inside[outside])
            discs.append(disc)
        return torch.cat(discs, dim=1)

    def __call__(self, xy: Tensor, z: Tensor, length: Tensor, work: Tensor) -> Tensor:
        """Values (n_maps, m, rows, columns) of all maps; see :meth:`LambertLookup.__call__`.

        Notes
        -----
        The point of a direction v is (x, y)/(abs(v) + abs(z)).
        """
        if not self._two_sided:
            xy.div_(z.abs_().add_(length))
        else:
            xy.div_(torch.abs(z, out=work[0]).add_(length))
            half = torch.copysign(torch.tensor(0.5, device=z.device), z, out=z)
            xy[1].mul_(0.5).sub_(half)
        return _sample(self.maps, xy, align_corners=False)

    def means(self) -> Tensor:
        """(n_maps,) means over all directions: an area at radius r is worth 4/(1 + r^2)^2 of it."""
        side = self.maps.shape[2]
        axis = (torch.arange(side, device=self.maps.device) + 0.5) * (2 / side) - 1
        r2 = axis**2 + axis[:, None] ** 2
        worth = torch.where(r2 <= 1, (1 + r2) ** -2, 0)
        halves = self.maps.unflatten(1, (-1, side))
        return (halves * worth).sum(dim=(2, 3)).mean(dim=1) / worth.sum()


def _sample(maps: Tensor, xy: Tensor, *, align_corners: bool) -> Tensor:
    """Bilinear values (n_maps, m, rows, columns) at points (2, m, rows, columns)."""
    # x and y in planes of their own save the interpolation from sorting them.
    points = xy.flatten(1).T[None, None]
    values = grid_sample(
        maps[None],
        points,
        mode="bilinear",
        padding_mode="border",
        align_corners=align_corners,
    )
    return values.reshape(-1, *xy.shape[1:])


@lru_cache(maxsize=2)
def _disc(side: int) -> tuple[Tensor, Tensor]:
    """Lambert points (side, side, 2) of a stereographic map's pixels; which are off the disc."""
    axis = (torch.arange(side, dtype=torch.float64) + 0.5) * (2 / side) - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    r2 = x * x + y * y
    v = torch.stack((2 * x, 2 * y, 1 - r2), dim=-1) / (1 + r2)[..., None]
    return to_square(v).to(torch.float32), r2 > 1


#: Coefficients of t, t^3, ... of (4/pi) arctan t for 0 <= t <= 1, to 3e-7 (least maximum).
_ARCTAN = (
    1.27323459, -0.424209903, 0.252200922, -0.168492075, 0.101379885, -0.0427861188, 0.0086730111
)  # fmt: skip


def _to_square(xy: Tensor, z: Tensor, length: Tensor, work: Tensor) -> None:
    """Turn x and y of directions into points of the Lambert square, in place.

    The formula of :func:`ebsdsg_sim.lambert.to_square` without temporary arrays and with a
    polynomial for the arctangent.
    """
    x, y = xy
    a, b, major, minor, t = work
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
    radius.div_(torch.abs(z, out=t).add_(length).mul_(length)).sqrt_()
    angle.mul_(radius)
    torch.copysign(torch.where(along_y, angle, radius, out=b), x, out=x)
    torch.copysign(torch.where(along_y, radius, angle, out=b), y, out=y)
