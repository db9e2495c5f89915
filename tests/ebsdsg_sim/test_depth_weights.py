"""Depth weights: EMsoft's lambdaE and thickness from EMsoft's own histograms."""

import numpy as np
import pytest

from ebsdsg_sim.depth_weights import depth_weights, integration_terms
from ebsdsg_sim.hdf5 import read_monte_carlo
from ebsdsg_sim.montecarlo import MonteCarlo, MonteCarloError


@pytest.mark.parametrize("name", ["Ni", "Si", "NiAl", "TiC"])
def test_weights_and_thickness_are_emsofts(shared, name):
    mc = read_monte_carlo(shared / f"reference/emsoft/{name}.h5")[0]
    ref = np.load(shared / f"reference/directions/{name}_20keV.npz")
    lengths = np.full(len(mc.energies), float(ref["normal_absorption_length_nm"]))
    result = depth_weights(mc, lengths)
    assert result.n_terms == len(ref["lambda_e"])
    assert np.allclose(result.weights[-1], ref["lambda_e"], rtol=1e-9, atol=0)
    assert result.thickness[-1] == ref["thick_nm"]
    running = np.load(shared / f"reference/montecarlo/{name}.npz")["izzmax_running"]
    assert np.array_equal(integration_terms(mc), running)


def test_each_energy_for_itself_holds_99_percent(shared):
    mc = read_monte_carlo(shared / "reference/emsoft/Ni.h5")[0]
    terms = integration_terms(mc, "energy")
    counts = mc.depth_histogram
    for row, k in zip(counts, terms, strict=True):
        assert row[:k].sum() >= 0.99 * row.sum() > row[: k - 1].sum()
    weights = depth_weights(mc, np.full(11, 50.0), thickness="energy").weights
    assert all((row[k:] == 0).all() for row, k in zip(weights, terms, strict=True))
    assert np.all(np.diff(integration_terms(mc, "emsoft")) >= 0)


def test_weights_without_absorption_are_the_fractions_of_electrons():
    accum_z = np.zeros((1, 4, 1, 1), dtype=np.int64)
    accum_z[0, :, 0, 0] = [50, 30, 19, 1]
    mc = MonteCarlo(np.full((1, 1, 1), 100), accum_z, np.array([20.0]), 2.0, 400, 400)
    result = depth_weights(mc, [1e12])
    assert np.allclose(result.weights, [[0.125, 0.075, 0.0475]])
    assert result.thickness == [6.0]


def test_bad_input_is_refused(shared):
    mc = read_monte_carlo(shared / "reference/emsoft/Ni.h5")[0]
    with pytest.raises(MonteCarloError, match="3 absorption lengths for 11"):
        depth_weights(mc, [1, 2, 3])
    with pytest.raises(MonteCarloError, match="positive"):
        depth_weights(mc, [0.0] * 11)
    with pytest.raises(MonteCarloError, match="thickness"):
        integration_terms(mc, "deep")  # type: ignore[arg-type]
    empty = MonteCarlo(np.ones((1, 1, 1)), np.zeros((1, 2, 1, 1)), np.array([20.0]), 1.0, 1, 1)
    with pytest.raises(MonteCarloError, match="empty"):
        integration_terms(empty)
