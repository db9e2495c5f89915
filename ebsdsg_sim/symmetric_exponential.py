"""Matrix exponentials with half the arithmetic, for crystals with an inversion centre.

With the origin at an inversion centre all Fourier coefficients are real, so the elastic and the
absorptive part of the dynamical matrix are real and symmetric, and X = C + iS is complex symmetric,
as all its powers are.  Kept as the pair U = C + S, V = C - S, the square of such a matrix needs two
real products where a general complex one needs four:

    X^2 = C^2 - S^2 + i (CS + SC),    UV = C^2 - S^2 - (CS - SC),

and both CS - SC and CS + SC follow from M = CS, because SC is the transpose of M.  The exponential
is therefore written with squares alone.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebsdsg_sim.propagation import halvings

Pair = tuple[Tensor, Tensor]

#: k (Y + b A^2 + c A)^2 + d Y + e A^2 + f A with Y = (A^2 + a A)^2, fitted to exp(A) - 1 by least
#: squares for imaginary A up to `RADIUS`: error below 4e-7.  Coefficients k, a, b, c, d, e, f.
SQUARES = (
    7.793029572721816e-06,
    4.8009496515341805,
    18.4027942249959,
    132.46329412298115,
    0.008442067723839706,
    0.1686760678247734,
    0.999997385146269,
)
RADIUS = 0.9


def symmetric_exponential_powers(x: Tensor, radius: float, doublings: int) -> list[Tensor]:
    """What `ebsdsg_sim.propagation.exponential_powers` gives, for complex symmetric matrices.

    Parameters
    ----------
    x : (b, n, n) complex64, X^T = X
    radius : of the spectrum of every X
    doublings : number of squarings beyond exp(X)

    Returns
    -------
    ``doublings + 1`` tensors (b, n, n).
    """
    squarings = halvings(radius, RADIUS)
    pair = _exponential(_split(x, 2.0**-squarings), squarings)
    powers = [_join(pair)]
    for _ in range(doublings):
        pair = square(pair)
        powers.append(_join(pair))
    return powers


def square(pair: Pair, linear: float = 0.0) -> Pair:
    """X^2 + linear X.

    Parameters
    ----------
    pair : C + S and C - S of X = C + iS, (b, n, n) real
    linear : factor of the linear term
    """
    u, v = pair
    m = torch.bmm(u + v, u - v)  # 4 CS
    t = torch.bmm(u, v)
    if linear:
        total = torch.add(t, u, alpha=linear)
        t.add_(v, alpha=linear)
    else:
        total = t.clone()
    return total.add_(m, alpha=0.5), t.sub_(m.mT, alpha=0.5)


def _exponential(pair: Pair, squarings: int) -> Pair:
    """Pair of exp(2^squarings A) from the pair of A."""
    k, a, b, c, d, e, f = SQUARES
    u, v = pair
    u2, v2 = square(pair)
    uy, vy = square((torch.add(u2, u, alpha=a), torch.add(v2, v, alpha=a)))
    power = square(
        (
            torch.add(uy, u2, alpha=b).add_(u, alpha=c),
            torch.add(vy, v2, alpha=b).add_(v, alpha=c),
        )
    )
    for out, fourth, second, first in zip(power, (uy, vy), (u2, v2), pair, strict=True):
        out.mul_(k).add_(fourth, alpha=d).add_(second, alpha=e).add_(first, alpha=f)
    for _ in range(squarings):
        power = square(power, 2.0)
    for part in power:
        part.diagonal(dim1=1, dim2=2).add_(1)
    return power


def _split(x: Tensor, scale: float) -> Pair:
    parts = torch.view_as_real(x)
    real, imaginary = parts[..., 0], parts[..., 1]
    return torch.add(real, imaginary).mul_(scale), torch.sub(real, imaginary).mul_(scale)


def _join(pair: Pair) -> Tensor:
    parts = torch.empty(*pair[0].shape, 2, dtype=pair[0].dtype, device=pair[0].device)
    torch.add(*pair, out=parts[..., 0])
    torch.sub(*pair, out=parts[..., 1])
    return torch.view_as_complex(parts.mul_(0.5))
