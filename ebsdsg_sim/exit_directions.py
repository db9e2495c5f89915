"""Smooth distribution of exit directions from a Monte Carlo with few electrons.

A million electrons spread over 501 x 501 directions and 11 energies leave 0.2 counts per pixel:
projected as they are, they print their noise into every pattern.  The true distribution is smooth
and symmetric about the plane of incidence, so its logarithm is fitted with a few polynomials of
the direction by maximum likelihood, which keeps total and moments of the counts and needs about
30 numbers where the histogram has 250,000.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from ebsdsg_sim.lambert import grid_directions
from ebsdsg_sim.montecarlo import MonteCarlo

#: Degree of the polynomials; at 10^6 electrons the residuals of Si, Ni and W are Poisson noise.
DEGREE = 5
#: Cells along one side of the square in which the counts are gathered for the fit.
CELLS = 101
#: Keeps the logarithm of the polar cosine finite at the horizon, where no electron leaves.
HORIZON = 0.02


@dataclass(frozen=True)
class ExitDirections:
    """Fitted distribution of exit directions, one per energy.

    Parameters
    ----------
    coefficients : (n_energies, n_terms) of ln(expected counts per pixel of ``accum_e``).
    populated : (n_energies,) whether the energy has any electron.
    degree : of the polynomials.
    """

    coefficients: np.ndarray
    populated: np.ndarray
    degree: int

    @classmethod
    def fit(cls, monte_carlo: MonteCarlo, degree: int = DEGREE) -> ExitDirections:
        """Fit the counts of a Monte Carlo whose beam is in the x-z plane.

        Parameters
        ----------
        monte_carlo : the histograms.
        degree : of the polynomials in x, y^2 and z.

        Notes
        -----
        Poisson regression with a logarithmic link (P. McCullagh and J. Nelder, *Generalized Linear
        Models*, 1989) on 101 x 101 cells, by Newton's method.  The basis holds
        x^a y^(2b) z^c with a + 2b + c <= degree, c = 0 or 1, and ln z, which carries the
        cosine-like fall towards the horizon.  A Gaussian prior of width 1 on orthonormal
        coefficients decides only where an energy has fewer than some hundred electrons.
        """
        counts = monte_carlo.accum_e
        cells = _cells(counts.shape[1], degree)
        rows = []
        for image in counts:
            in_cell = np.bincount(cells.owner, weights=image.ravel(), minlength=len(cells.area))
            if in_cell.any():
                rows.append(cells.transform @ _newton(cells.design, in_cell, cells.area))
            else:
                rows.append(np.zeros(cells.design.shape[1]))
        return cls(np.stack(rows), np.asarray(counts.any(axis=(1, 2))), degree)

    def at(self, directions: np.ndarray) -> np.ndarray:
        """Expected counts per pixel of ``accum_e``.

        Parameters
        ----------
        directions : (..., 3) unit vectors in the Monte Carlo's x and y, with the magnitude of z the
            cosine to the surface normal.

        Returns
        -------
        (n_energies, ...) float64; zero for an energy without electrons.
        """
        flat = directions.reshape(-1, 3)
        rate = np.exp(_basis(flat, self.degree) @ self.coefficients.T).T
        rate[~self.populated] = 0
        return rate.reshape(-1, *directions.shape[:-1])


@dataclass(frozen=True)
class _Cells:
    """Geometry of the fit: the cell of every pixel, areas in pixels, orthonormal basis."""

    owner: np.ndarray
    area: np.ndarray
    design: np.ndarray
    transform: np.ndarray


@cache
def _cells(side: int, degree: int) -> _Cells:
    half = (side - 1) // 2
    # Index [i, j] of accum_e is Lambert y = i - half, x = half - j: mirrored columns.
    nodes = grid_directions(half).numpy()[:, ::-1].reshape(-1, 3)
    # Rim pixels are cut in half by the edge of the square, corners in four.
    length = np.ones(side)
    length[[0, -1]] = 0.5
    area = np.outer(length, length).ravel()
    index, width = np.arange(-half, half + 1), max(1, round(side / CELLS))
    cell = np.sign(index) * ((np.abs(index) + width // 2) // width)
    cell -= cell.min()
    n = int(cell.max()) + 1
    owner = (cell[:, None] * n + cell[None, :]).ravel()

    def gather(values: np.ndarray) -> np.ndarray:
        return np.bincount(owner, weights=values, minlength=n * n)

    in_cell = gather(area)
    basis = _basis(nodes, degree)
    means = np.stack([gather(column * area) for column in basis.T], axis=1) / in_cell[:, None]
    root = np.sqrt(in_cell / in_cell.sum())[:, None]
    transform = np.linalg.inv(np.linalg.qr(means * root)[1])
    return _Cells(owner, in_cell, means @ transform, transform)


def _basis(v: np.ndarray, degree: int) -> np.ndarray:
    """Columns: the polynomials, then the logarithm of the polar cosine."""
    x, y2, z = v[:, 0], v[:, 1] ** 2, np.abs(v[:, 2])
    columns = [
        x**a * y2**b * z**c
        for c in (0, 1)
        for b in range((degree - c) // 2 + 1)
        for a in range(degree - c - 2 * b + 1)
    ]
    columns.append(np.log(z + HORIZON))
    return np.stack(columns, axis=1)


def _newton(design: np.ndarray, counts: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Maximum a posteriori coefficients of ln(density); Newton's method with step halving.

    In torch, because numpy's linear algebra takes every core and its threads wait for each other.
    """
    x, n, area = (torch.from_numpy(a.astype(np.float64)) for a in (design, counts, weight))
    prior = torch.ones(x.shape[1], dtype=torch.float64)
    # The first column of an orthonormal basis that starts with 1 is constant: not shrunk.
    prior[0] = 0.0

    def loss(b: torch.Tensor) -> float:
        eta = x @ b
        return float((area * eta.exp()).sum() - n @ eta + 0.5 * (prior * b) @ b)

    b = torch.zeros(x.shape[1], dtype=torch.float64)
    b[0] = torch.log(n.sum() / area.sum()) / x[0, 0]
    value = loss(b)
    for _ in range(50):
        rate = area * (x @ b).exp()
        gradient = x.T @ (rate - n) + prior * b
        hessian = (x.T * rate) @ x + torch.diag(prior + 1e-9)
        step = torch.linalg.solve(hessian, gradient)
        scale = 1.0
        while (new := loss(b - scale * step)) > value and scale > 1e-6:
            scale /= 2
        b = b - scale * step
        if value - new < 1e-8 * max(1.0, abs(value)):
            break
        value = new
    return b.numpy()
