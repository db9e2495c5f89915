"""The wave at every depth, from one scattering matrix per direction.

The wave obeys psi(z + dz) = P psi(z) with P = exp(X).  P is made by scaling and squaring a
polynomial that is as good as its degree allows on the imaginary axis, where the eigenvalues of X
are (the absorption that would move them away is small).  Waves are kept as rows, psi^T, because a
few rows times a matrix is fast where a matrix times a few columns is not; so X^T is what comes in.

References: C. Moler and C. Van Loan, *SIAM Rev.* 45 (2003) 3; P. Bader, S. Blanes and F. Casas,
*Mathematics* 7 (2019) 1174 for the scheme of three products; C. R. Sturkey, *Proc. Phys. Soc.* 80
(1962) 321 for the scattering matrix.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Polynomial:
    """exp(A) - 1 = y1 A + y2 A^2 + (x3 A^2 + B)(x4 + x5 A + x6 A^2 + x7 B), B = A^2(x1 A + x2 A^2).

    Parameters
    ----------
    radius : largest spectral radius of A
    x, y : coefficients x1 ... x7 and y1, y2
    """

    radius: float
    x: tuple[float, ...]
    y: tuple[float, float]


_ROOT = math.sqrt(177.0)
_X3 = 2 / 3

#: Chebyshev expansion of degree 8: error below 1e-6 for imaginary eigenvalues up to 1.65.  The
#: Taylor polynomial of this degree does that up to 0.9.
CHEBYSHEV = Polynomial(
    1.65,
    (
        0.10023609278915271,
        0.0253000214179743,
        _X3,
        0.5466957855885805,
        0.16776508441880542,
        0.01652251045533327,
        0.035914418316435937,
    ),
    (0.9999949905917875, 0.13553474294417062),
)
#: Taylor polynomial of degree 8 (Bader et al. 2019): error below 1e-14 up to 0.1.
TAYLOR = Polynomial(
    0.1,
    (
        _X3 * (1 + _ROOT) / 88,
        _X3 * (1 + _ROOT) / 352,
        _X3,
        (-271 + 29 * _ROOT) / (315 * _X3),
        11 * (-1 + _ROOT) / (1260 * _X3),
        11 * (-9 + _ROOT) / (5040 * _X3),
        (89 - _ROOT) / (5040 * _X3**2),
    ),
    (1.0, (857 - 58 * _ROOT) / 630),
)


def exponential_powers(x: Tensor, radius: float, doublings: int) -> list[Tensor]:
    """exp(X), exp(X)^2, ... exp(X)^(2^doublings) of a batch of matrices.

    Parameters
    ----------
    x : (b, n, n) complex; overwritten
    radius : of the spectrum of every X.  A little too small does no harm: 20 % beyond it the error
        of the outermost eigenvalues is 100 times larger, still below 1e-4.
    doublings : number of squarings beyond exp(X)

    Returns
    -------
    ``doublings + 1`` tensors (b, n, n).
    """
    polynomial = CHEBYSHEV if x.dtype == torch.complex64 else TAYLOR
    squarings = halvings(radius, polynomial.radius)
    # exp(X) - 1 is doubled, not exp(X): beside the 1 the small part would lose its last digits, and
    # in float32 each of the early squarings would cost intensity.
    power = _evaluate(polynomial, x.mul_(2.0**-squarings))
    for _ in range(squarings):
        power = torch.baddbmm(power, power, power, beta=2)
    power.diagonal(dim1=1, dim2=2).add_(1)
    powers = [power]
    for _ in range(doublings):
        powers.append(torch.bmm(powers[-1], powers[-1]))
    return powers


def halvings(radius: float, limit: float) -> int:
    """How often a spectral radius is halved to be at most ``limit``."""
    return max(0, math.ceil(math.log2(max(radius, 1e-30) / limit)))


def waves(powers: list[Tensor], n_terms: int) -> Tensor:
    """The wave at depths 1 to at least ``n_terms``, starting from the first beam alone.

    Parameters
    ----------
    powers : P^T, (P^T)^2, (P^T)^4, ... from `exponential_powers`
    n_terms : number of depth steps

    Returns
    -------
    (blocks, b, width, n) complex with width = 2^(len(powers) - 1) and as many blocks as needed:
    ``[i, :, j]`` is psi after i width + j + 1 steps.
    """
    first = powers[0]
    b, n = first.shape[:2]
    width = 2 ** (len(powers) - 1)
    blocks = -(-n_terms // width)
    out = torch.empty(blocks, b, width, n, dtype=first.dtype, device=first.device)
    out[0, :, 0] = first[:, 0]
    done = 1
    # Doubling: once psi_1 ... psi_m are there, P^m gives psi_{m+1} ... psi_{2m}.
    for power in powers[:-1]:
        out[0, :, done : 2 * done] = torch.bmm(out[0, :, :done], power)
        done *= 2
    for block in range(1, blocks):
        torch.bmm(out[block - 1], powers[-1], out=out[block])
    return out


def doublings(n: int, n_terms: int) -> int:
    """Squarings beyond P that make the waves cheapest.

    Parameters
    ----------
    n : beams
    n_terms : depth steps

    Notes
    -----
    A product of n x n matrices takes 0.145 n units of time, one block of 1, 2, 4 or 8 depths 0.55,
    0.57, 0.84 or 1.37, measured at n = 40 on one core: thin blocks wait for the memory.
    """
    blocks = (0.55, 0.57, 0.84, 1.37)
    costs = [0.145 * n * d + n_terms / 2**d * cost for d, cost in enumerate(blocks)]
    most = max(0, n_terms.bit_length() - 1)
    return min(range(min(len(costs), most + 1)), key=costs.__getitem__)


def _evaluate(polynomial: Polynomial, a: Tensor) -> Tensor:
    x1, x2, x3, x4, x5, x6, x7 = polynomial.x
    y1, y2 = polynomial.y
    a2 = torch.bmm(a, a)
    b = torch.bmm(a2, torch.add(a * x1, a2, alpha=x2))
    right = torch.add(a * x5, a2, alpha=x6)
    right.add_(b, alpha=x7).diagonal(dim1=1, dim2=2).add_(x4)
    left = b.add_(a2, alpha=x3)
    return a2.mul_(y2).add_(a, alpha=y1).baddbmm_(left, right)
