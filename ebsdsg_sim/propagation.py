"""The wave at every depth, from one scattering matrix per direction.

The wave obeys psi(z + dz) = P psi(z) with P = exp(X).  P is made by scaling and squaring a
polynomial, and squaring goes on a little beyond P: P^2, P^4, P^8 carry whole blocks of depths at
once, so that nearly all work is matrix multiplication.

References: C. Moler and C. Van Loan, *SIAM Rev.* 45 (2003) 3; P. Bader, S. Blanes and F. Casas,
*Mathematics* 7 (2019) 1174 for the polynomial; C. R. Sturkey, *Proc. Phys. Soc.* 80 (1962) 321 for
the scattering matrix.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_ROOT = math.sqrt(177.0)
_X3 = 2 / 3
_X1 = _X3 * (1 + _ROOT) / 88
_X2 = _X3 * (1 + _ROOT) / 352
_X4 = (-271 + 29 * _ROOT) / (315 * _X3)
_X5 = 11 * (-1 + _ROOT) / (1260 * _X3)
_X6 = 11 * (-9 + _ROOT) / (5040 * _X3)
_X7 = (89 - _ROOT) / (5040 * _X3**2)
_Y2 = (857 - 58 * _ROOT) / 630

#: Largest 1-norm (about twice the spectral radius here) for the polynomial of degree 8, whose
#: relative error at spectral radius r is r^9/9!: below 1e-9 and 1e-20.
LARGEST_NORM = {torch.complex64: 0.8, torch.complex128: 0.05}


def exponential_powers(x: Tensor, norm: float, doublings: int) -> list[Tensor]:
    """exp(X), exp(X)^2, ... exp(X)^(2^doublings) of a batch of matrices.

    Parameters
    ----------
    x : (n, m, m) complex; overwritten
    norm : bound of the 1-norm of every X
    doublings : number of squarings beyond exp(X)

    Returns
    -------
    ``doublings + 1`` tensors (n, m, m).
    """
    squarings = max(0, math.ceil(math.log2(max(norm, 1e-30) / LARGEST_NORM[x.dtype])))
    # exp(X) - 1 is doubled, not exp(X): beside the 1 the small part would lose its last digits, and
    # in float32 each of the early squarings would cost intensity.
    power = _polynomial(x.mul_(2.0**-squarings))
    for _ in range(squarings):
        power = torch.baddbmm(power, power, power, beta=2)
    power.diagonal(dim1=1, dim2=2).add_(1)
    powers = [power]
    for _ in range(doublings):
        powers.append(torch.bmm(powers[-1], powers[-1]))
    return powers


def waves(powers: list[Tensor], n_terms: int) -> Tensor:
    """The wave at depths 1 to ``n_terms``, starting from the first beam alone.

    Parameters
    ----------
    powers : P, P^2, P^4, ... from `exponential_powers`
    n_terms : number of depth steps

    Returns
    -------
    (n, m, n_terms) complex: column k is psi after k + 1 steps.
    """
    first = powers[0]
    out = torch.empty(*first.shape[:2], n_terms, dtype=first.dtype, device=first.device)
    out[:, :, 0] = first[:, :, 0]
    done = 1
    # Doubling: once psi_1 ... psi_m are there, P^m gives psi_{m+1} ... psi_{2m}.
    for power in powers:
        if done >= n_terms:
            return out
        width = min(done, n_terms - done)
        out[:, :, done : done + width] = torch.bmm(power, out[:, :, :width])
        done += width
    last, width = powers[-1], 2 ** (len(powers) - 1)
    while done < n_terms:
        size = min(width, n_terms - done)
        block = out[:, :, done - width : done - width + size]
        out[:, :, done : done + size] = torch.bmm(last, block)
        done += size
    return out


def _polynomial(a: Tensor) -> Tensor:
    """Taylor polynomial of degree 8 of exp(A) - 1 with three products (Bader et al. 2019)."""
    a2 = torch.bmm(a, a)
    a4 = torch.bmm(a2, _X1 * a + _X2 * a2)
    right = _X5 * a + _X6 * a2
    right.add_(a4, alpha=_X7).diagonal(dim1=1, dim2=2).add_(_X4)
    left = a4.add_(a2, alpha=_X3)
    result = a2.mul_(_Y2).add_(a)
    return torch.baddbmm(result, left, right)
