import math

import pytest
import torch

from ebsdsg_sim.propagation import (
    CHEBYSHEV,
    TAYLOR,
    doublings,
    exponential_powers,
    halvings,
    waves,
)
from ebsdsg_sim.symmetric_exponential import RADIUS, SQUARES, square, symmetric_exponential_powers


def matrices(n, m, radius, dtype, seed=0, symmetric=False):
    """Like i times a dynamical matrix: oscillating, a little absorbing, of known radius."""
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(n, m, m, dtype=torch.complex128, generator=generator)
    b = torch.randn(n, m, m, dtype=torch.complex128, generator=generator)
    if symmetric:
        a, b = a.real.to(a.dtype), b.real.to(b.dtype)
    x = 1j * (a + a.mH) - 0.05 * b @ b.mH / m
    return (x * (radius / torch.linalg.eigvals(x).abs().max())).to(dtype)


@pytest.mark.parametrize(
    ("polynomial", "tolerance"), [(CHEBYSHEV, 1e-6), (TAYLOR, 1e-14)], ids=["float32", "float64"]
)
def test_polynomials_on_the_imaginary_axis(polynomial, tolerance):
    a = 1j * torch.linspace(-1, 1, 501, dtype=torch.float64) * polynomial.radius
    (x1, x2, x3, x4, x5, x6, x7), (y1, y2) = polynomial.x, polynomial.y
    b = a**2 * (x1 * a + x2 * a**2)
    value = y1 * a + y2 * a**2 + (x3 * a**2 + b) * (x4 + x5 * a + x6 * a**2 + x7 * b)
    assert (value - (torch.exp(a) - 1)).abs().max() < tolerance


def test_polynomial_of_squares_on_the_imaginary_axis():
    z = 1j * torch.linspace(-1, 1, 501, dtype=torch.float64) * RADIUS
    k, a, b, c, d, e, f = SQUARES
    y = (z * z + a * z) ** 2
    value = k * (y + b * z * z + c * z) ** 2 + d * y + e * z * z + f * z
    assert (value - (torch.exp(z) - 1)).abs().max() < 4e-7


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.complex64, 1e-5), (torch.complex128, 1e-12)]
)
@pytest.mark.parametrize("radius", [1e-3, 0.5, 12.0])
def test_powers_of_the_exponential(dtype, tolerance, radius):
    x = matrices(5, 20, radius, dtype)
    exact = torch.matrix_exp(x.to(torch.complex128))
    for number, power in enumerate(exponential_powers(x.clone(), radius, 3)):
        # Each squaring doubles the error it starts from.
        assert (power.to(torch.complex128) - exact).abs().max() < tolerance * 2**number
        exact = exact @ exact


@pytest.mark.parametrize("radius", [1e-3, 0.5, 12.0])
def test_powers_of_the_exponential_of_symmetric_matrices(radius):
    x = matrices(5, 24, radius, torch.complex64, symmetric=True)
    assert (x == x.mT).all()
    exact = torch.matrix_exp(x.to(torch.complex128))
    for number, power in enumerate(symmetric_exponential_powers(x.clone(), radius, 2)):
        assert (power.to(torch.complex128) - exact).abs().max() < 1e-5 * 2**number
        exact = exact @ exact


def test_square_of_a_pair_is_the_square_of_the_matrix():
    x = matrices(3, 8, 1.0, torch.complex128, symmetric=True)
    u, v = square((x.real + x.imag, x.real - x.imag), 2.0)
    expected = x @ x + 2 * x
    assert ((u + v) / 2 - expected.real).abs().max() < 1e-14
    assert ((u - v) / 2 - expected.imag).abs().max() < 1e-14


@pytest.mark.parametrize("n_terms", [1, 2, 3, 7, 8, 9, 56, 101])
@pytest.mark.parametrize("squarings", [0, 1, 3])
def test_waves_at_every_depth(n_terms, squarings):
    x = matrices(3, 12, 5.0, torch.complex128)
    rows = waves(exponential_powers(x.mT.clone(), 5.0, squarings), n_terms)
    psi = rows.permute(1, 3, 0, 2).reshape(3, 12, -1)
    assert psi.shape[2] >= n_terms
    for depth in {1, n_terms // 2, n_terms} - {0}:
        expected = torch.matrix_exp(x * depth)[:, :, 0]
        assert (psi[:, :, depth - 1] - expected).abs().max() < 1e-10


@pytest.mark.parametrize("powers", [exponential_powers, symmetric_exponential_powers])
def test_float32_loses_no_electrons_over_the_whole_depth(powers):
    # Without absorption the wave keeps its norm, here for a wave in all eigenvectors alike; in a
    # crystal the outermost, which the polynomial serves worst, hardly take part.
    x = matrices(4, 32, 9.0, torch.complex128, symmetric=True)
    x = (1j * x.imag).to(torch.complex64)
    psi = waves(powers(x, 9.0, 1), 100)
    error = (psi.abs().square().sum(-1) - 1).abs()
    assert error[:10].max() < 5e-5
    assert error.max() < 5e-4


def test_halvings_and_doublings():
    assert [halvings(r, 1.0) for r in (0.0, 1.0, 1.01, 8.0, 8.1)] == [0, 0, 1, 3, 4]
    assert doublings(30, 1) == 0
    for n in (8, 40, 300):
        for n_terms in (2, 5, 50, 101):
            assert 2 ** doublings(n, n_terms) <= n_terms
    assert doublings(16, 100) > doublings(64, 100) > doublings(400, 100) - 1
    assert math.isfinite(doublings(4, 10**6))
