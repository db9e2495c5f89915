import pytest
import torch

from ebsdsg_sim.propagation import exponential_powers, waves


def matrices(n, m, size, dtype, seed=0):
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(n, m, m, dtype=torch.complex128, generator=generator)
    hermitian, b = a + a.mH, torch.randn(n, m, m, dtype=torch.complex128, generator=generator)
    x = 1j * hermitian - 0.05 * b @ b.mH / m
    return (x * (size / x.abs().sum(1).max())).to(dtype)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.complex64, 3e-6), (torch.complex128, 1e-12)]
)
@pytest.mark.parametrize("size", [1e-3, 0.5, 12.0])
def test_powers_of_the_exponential(dtype, tolerance, size):
    x = matrices(5, 20, size, dtype)
    exact = torch.matrix_exp(x.to(torch.complex128))
    powers = exponential_powers(x.clone(), size, 3)
    for power in powers:
        assert (power.to(torch.complex128) - exact).abs().max() < tolerance
        exact = exact @ exact


@pytest.mark.parametrize("n_terms", [1, 2, 3, 7, 8, 9, 56, 101])
@pytest.mark.parametrize("doublings", [0, 1, 3])
def test_waves_at_every_depth(n_terms, doublings):
    x = matrices(3, 12, 5.0, torch.complex128)
    psi = waves(exponential_powers(x.clone(), 5.0, doublings), n_terms)
    assert psi.shape == (3, 12, n_terms)
    for depth in {1, n_terms // 2, n_terms} - {0}:
        expected = torch.matrix_exp(x * depth)[:, :, 0]
        assert (psi[:, :, depth - 1] - expected).abs().max() < 1e-10


def test_float32_loses_no_electrons_over_the_whole_depth():
    # Without absorption the wave keeps its norm; squaring exp(X) itself would lose 1e-4 here.
    x = matrices(4, 30, 15.0, torch.complex128)
    x = ((x - x.mH) / 2).to(torch.complex64)
    psi = waves(exponential_powers(x, 15.0, 3), 100)
    assert (psi.abs().square().sum(1) - 1).abs().max() < 2e-5
