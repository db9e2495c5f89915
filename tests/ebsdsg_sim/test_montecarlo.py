"""Monte Carlo: EMsoft's numbers, conservation, reproducibility, and an independent slow program."""

import math
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from ebsdsg_sim.crystal import Crystal, Site
from ebsdsg_sim.electrons import Medium, follow_electrons
from ebsdsg_sim.hdf5 import read_monte_carlo
from ebsdsg_sim.montecarlo import MonteCarlo, MonteCarloError, simulate_monte_carlo
from ebsdsg_sim.parameters import SimulationParameters

TUNGSTEN = Crystal("W", (0.31652,) * 3 + (90.0,) * 3, 229, 529, (Site("W", (0, 0, 0)),))


@cache
def as_emsoft(path: Path) -> MonteCarlo:
    theirs, crystal, _ = read_monte_carlo(path)
    n = min(2 * theirs.n_simulated, 1_000_000)
    return simulate_monte_carlo(
        crystal, SimulationParameters(n_electrons=n, max_scatterings=300, seed=1)
    )


@pytest.fixture(params=["Ni", "Si", "NiAl", "TiC"])
def pair(request, shared):
    """Our Monte Carlo and EMMCOpenCL's numbers for one crystal."""
    ours = as_emsoft(shared / f"reference/emsoft/{request.param}.h5")
    return ours, np.load(shared / f"reference/montecarlo/{request.param}.npz")


def agree(ours, theirs, sigma, relative=0.02):
    """Within 2 % or within three standard errors."""
    return np.abs(ours - theirs) <= np.maximum(relative * np.abs(theirs), 3 * sigma)


@pytest.mark.slow
def test_yield_is_emsofts_in_every_energy_bin(pair):
    mc, ref = pair
    n = mc.n_simulated
    per_bin = mc.energy_histogram / n
    sigma = np.hypot(np.sqrt(per_bin / n), ref["yield_per_bin_se"])
    assert agree(per_bin, ref["yield_per_bin"], sigma).all()
    # All bins together: 11 degrees of freedom, exceeded with probability 1e-4.
    assert (((per_bin - ref["yield_per_bin"]) / sigma) ** 2).sum() < 37
    assert mc.backscatter_yield == pytest.approx(ref["yield_true"], rel=0.01)


@pytest.mark.slow
def test_mean_depth_is_emsofts_in_every_energy_bin(pair):
    mc, ref = pair
    sigma = np.hypot(
        ref["mean_depth_se_nm"], ref["depth_std_nm"] / np.sqrt(mc.depth_histogram.sum(axis=1))
    )
    assert agree(mc.mean_depth, ref["mean_depth_nm"], sigma).all()
    assert (((mc.mean_depth - ref["mean_depth_nm"]) / sigma) ** 2).sum() < 37


@pytest.mark.slow
def test_exit_angles_are_emsofts(pair):
    mc, ref = pair
    half = (mc.accum_e.shape[1] - 1) / 2
    i, j = np.indices(mc.accum_e.shape[1:]) - half
    # On the Lambert square the polar cosine is 1 - max(|x|, |y|)^2.
    cosine = 1 - (np.maximum(np.abs(i), np.abs(j)) / half) ** 2
    ours = np.histogram(cosine, ref["exit_cos_edges"], weights=mc.accum_e.sum(axis=0))[0]
    theirs = ref["exit_cos_hist"]
    a, b = ours / ours.sum(), theirs / theirs.sum()
    sigma = np.sqrt(a / ours.sum() + b / theirs.sum())
    assert agree(a, b, sigma).all()


def test_direction_grid_is_oriented_as_emsofts(pair):
    mc, _ = pair
    counts = mc.accum_e.sum(axis=0)
    index = np.arange(counts.shape[0]) - (counts.shape[0] - 1) / 2
    first, second = (
        (counts.sum(axis=axis) * index).sum() / counts.sum() / index[-1] for axis in (1, 0)
    )
    assert abs(first) < 0.005  # symmetric about the plane of incidence
    assert second < -0.2  # forward: +x, which is the negative second index


@pytest.fixture(scope="module")
def small() -> MonteCarlo:
    return simulate_monte_carlo(TUNGSTEN, SimulationParameters(n_electrons=60_000, seed=3))


def test_electrons_are_conserved(small):
    assert small.n_simulated == small.n_electrons == 60_000
    assert 0 < small.accum_e.sum() < small.n_simulated
    assert small.backscatter_yield == small.accum_e.sum() / 60_000
    # Tungsten's electrons all come from less than 100 nm: both histograms count the same ones.
    assert np.array_equal(small.energy_histogram, small.depth_histogram.sum(axis=1))
    # ... and the coarse direction grid is the fine one, ten by ten (halves away from zero).
    fine = np.arange(-250, 251)
    owner = (np.sign(fine) * ((np.abs(fine) + 5) // 10)) + 25
    coarse = np.zeros((51, 51), dtype=int)
    np.add.at(coarse, np.ix_(owner, owner), small.accum_e.sum(axis=0))
    assert np.array_equal(coarse, small.accum_z.sum(axis=(0, 1)))


def test_every_energy_of_a_heavy_element_is_populated_unless_the_electrons_are_stopped(small):
    assert small.energy_histogram.min() > 100
    stopped = simulate_monte_carlo(
        TUNGSTEN, SimulationParameters(n_electrons=60_000, max_scatterings=300, seed=3)
    )
    assert stopped.energy_histogram[:3].max() <= 2  # EMsoft: 0, 0, 1 of 225,000
    assert stopped.backscatter_yield == pytest.approx(0.6712, abs=0.007)


def test_seed_fixes_the_result_and_threads_do_not_change_it():
    parameters = SimulationParameters(n_electrons=300_000, max_scatterings=40, mc_pixels=51, seed=7)
    threads = torch.get_num_threads()
    results = []
    try:
        for n in (1, 2):
            torch.set_num_threads(n)
            results.append(simulate_monte_carlo(TUNGSTEN, parameters))
    finally:
        torch.set_num_threads(threads)
    one, two = results
    assert np.array_equal(one.accum_e, two.accum_e)
    assert np.array_equal(one.accum_z, two.accum_z)
    other = simulate_monte_carlo(TUNGSTEN, replace(parameters, seed=8))
    assert not np.array_equal(one.accum_e, other.accum_e)
    difference = other.accum_e.sum() - one.accum_e.sum()
    assert abs(difference) < 5 * math.sqrt(2 * one.accum_e.sum())


def test_density_scales_depths_and_nothing_else():
    medium = Medium.of(TUNGSTEN)
    parameters = SimulationParameters()
    denser = replace(medium, path=medium.path / 2)
    cpu = torch.device("cpu")
    a = follow_electrons(medium, parameters, 5_000, 11, cpu)
    b = follow_electrons(denser, parameters, 5_000, 11, cpu)
    assert torch.equal(a[0], b[0])
    assert torch.equal(a[2:], b[2:])
    assert torch.equal(a[1], 2 * b[1])


def test_exits_are_directions_and_energies():
    exits = follow_electrons(
        Medium.of(TUNGSTEN), SimulationParameters(), 20_000, 5, torch.device("cpu")
    ).double()
    energy, depth, cos, sin, ex, ey = exits
    assert energy.min() > 10
    assert energy.max() <= 20
    assert depth.min() > 0
    assert cos.max() < 0
    assert (cos**2 + sin**2 - 1).abs().max() < 1e-4
    assert (ex**2 + ey**2 - 1).abs().max() < 1e-4


def reference_exits(z, a, density, n, seed, e0=20.0, e_min=10.0, tilt=70.0):
    """The same physics, written down once more: float64, no shortcuts, no early ends."""
    rng = np.random.default_rng(seed)
    j = (9.76 * z + 58.5 * z**-0.19) * 1e-3
    c = np.tile([math.sin(math.radians(tilt)), 0, math.cos(math.radians(tilt))], (n, 1))
    e = np.full(n, e0)

    def path_and_loss(e):
        alpha = 3.4e-3 * z**0.66667 / e
        sigma = 5.21 * 602.2 * (z / e) ** 2 * 4 * np.pi / (alpha * (1 + alpha))
        sigma = sigma * ((e + 511) / (e + 1024)) ** 2
        path = -a * 1e7 / (density * sigma) * np.log(1 - rng.random(len(e)))
        return path, 0.00785 * z / (a * e) * np.log(1.166 * e / j + 0.9911) * density * path

    path, loss = path_and_loss(e)
    depth, e = c[:, 2] * path, e - loss
    energies, depths = [], []
    while len(e):
        alpha = 3.4e-3 * z**0.66667 / e
        r = rng.random(len(e))
        cos = 1 - 2 * alpha * r / (1 + alpha - r)
        sin = np.sqrt(1 - cos**2)
        psi = 2 * np.pi * rng.random(len(e))
        helper = np.where(np.abs(c[:, 2:]) < 0.9, [[0.0, 0, 1]], [[1.0, 0, 0]])
        u = np.cross(c, helper)
        u /= np.linalg.norm(u, axis=1, keepdims=True)
        v = np.cross(c, u)
        sideways = np.cos(psi)[:, None] * u + np.sin(psi)[:, None] * v
        c = cos[:, None] * c + sin[:, None] * sideways
        path, loss = path_and_loss(e)
        before, depth, e = depth, depth + path * c[:, 2], e - loss
        out = (depth <= 0) & (e > e_min)
        energies.append(e[out])
        depths.append((before / np.abs(c[:, 2]))[out])
        alive = (depth > 0) & (e > e_min)
        c, e, depth = c[alive], e[alive], depth[alive]
    return np.concatenate(energies), np.concatenate(depths)


@pytest.mark.slow
def test_an_independent_program_without_shortcuts_agrees(small):
    n = 30_000
    energies, depths = reference_exits(74, 183.84, TUNGSTEN.density, n, seed=2)
    p = small.backscatter_yield
    assert abs(len(energies) / n - p) < 4 * math.sqrt(p * (1 - p) * (1 / n + 1 / 60_000))
    theirs = np.bincount(np.floor(energies - 10 + 0.5).astype(int), minlength=11) / n
    ours = small.energy_histogram / 60_000
    chi2 = ((theirs - ours) ** 2 / (ours * (1 / n + 1 / 60_000))).sum()
    assert chi2 < 37
    binned = np.floor(depths + 0.5)
    hist = small.depth_histogram.sum(axis=0)
    mean = (hist * np.arange(len(hist))).sum() / hist.sum()
    sigma = binned.std() * math.sqrt(1 / len(binned) + 1 / hist.sum())
    assert abs(binned.mean() - mean) < 4 * sigma


def test_unusable_requests_are_refused():
    grazing = SimulationParameters(n_electrons=1, energy_min=19.99, energy_step=0.01, sample_tilt=0)
    with pytest.raises(MonteCarloError, match="none of 1 electrons"):
        simulate_monte_carlo(TUNGSTEN, grazing)
    with pytest.raises(MonteCarloError, match="cpu or cuda"):
        simulate_monte_carlo(TUNGSTEN, SimulationParameters(), device="meta")
    empty = replace(TUNGSTEN, sites=(Site("W", (0, 0, 0), 0.0),))
    with pytest.raises(MonteCarloError, match="does the cell hold any atom"):
        simulate_monte_carlo(empty, SimulationParameters())
    with pytest.raises(MonteCarloError, match="accum_z"):
        MonteCarlo(np.zeros((2, 5, 5)), np.zeros((2, 3, 4, 4)), np.array([1.0, 2.0]), 1.0, 1, 1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_and_cpu_are_statistically_equal(small):
    gpu = simulate_monte_carlo(
        TUNGSTEN, SimulationParameters(n_electrons=60_000, seed=3), device="cuda"
    )
    expected = (gpu.energy_histogram + small.energy_histogram) / 2
    chi2 = ((gpu.energy_histogram - small.energy_histogram) ** 2 / (2 * expected)).sum()
    assert chi2 < 37
