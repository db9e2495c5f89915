"""Smoothed exit directions predict electrons they have not seen, and keep the totals."""

import numpy as np
import pytest
import torch

from ebsdsg_sim.crystal import Crystal, Site
from ebsdsg_sim.exit_directions import ExitDirections
from ebsdsg_sim.lambert import grid_directions
from ebsdsg_sim.montecarlo import MonteCarlo, simulate_monte_carlo
from ebsdsg_sim.parameters import SimulationParameters

NICKEL = Crystal("Ni", (0.35236,) * 3 + (90.0,) * 3, 225, 523, (Site("Ni", (0, 0, 0)),))


@pytest.fixture(scope="module")
def halves() -> tuple[MonteCarlo, MonteCarlo]:
    """Two independent runs."""
    return tuple(
        simulate_monte_carlo(
            NICKEL,
            SimulationParameters(
                n_electrons=150_000, energy_min=17, energy_step=1.5, mc_pixels=101, seed=seed
            ),
        )
        for seed in (1, 2)
    )


def nodes(mc: MonteCarlo) -> np.ndarray:
    return grid_directions((mc.accum_e.shape[1] - 1) // 2).numpy()[:, ::-1]


def test_prediction_of_unseen_electrons_is_as_good_as_counting_statistics_allow(halves):
    seen, unseen = halves
    predicted = ExitDirections.fit(seen).at(nodes(seen))[:, 1:-1, 1:-1]
    counts = unseen.accum_e[:, 1:-1, 1:-1].astype(float)
    shape = (len(counts), 9, 11, 9, 11)
    predicted, counts = (a.reshape(shape).sum(axis=(2, 4)) for a in (predicted, counts))
    enough = predicted > 10
    chi2 = ((counts - predicted) ** 2 / predicted)[enough].mean()
    # 1 is pure noise of the unseen run; the fit adds its own statistical error (20 parameters).
    assert chi2 < 1.5
    raw = seen.accum_e[:, 1:-1, 1:-1].astype(float).reshape(shape).sum(axis=(2, 4))
    assert chi2 < ((counts - raw) ** 2 / predicted)[enough].mean()


def test_totals_are_kept_and_the_distribution_is_mirror_symmetric_and_positive(halves):
    mc = halves[0]
    area = np.ones(mc.accum_e.shape[1])
    area[[0, -1]] = 0.5
    smooth = ExitDirections.fit(mc).at(nodes(mc))
    total = (smooth * np.outer(area, area)).sum(axis=(1, 2))
    # Equal up to the cells' size, over which the model is averaged before it is exponentiated.
    assert np.allclose(total, mc.energy_histogram, rtol=0.02)
    assert np.allclose(smooth, smooth[:, ::-1], rtol=1e-9)
    assert smooth.min() > 0


def test_an_empty_energy_stays_empty_and_few_electrons_do_no_harm():
    accum = np.zeros((2, 51, 51), dtype=int)
    accum[1, 25, 20], accum[1, 24, 10] = 2, 1
    mc = MonteCarlo(accum, np.ones((2, 1, 5, 5), dtype=int), np.array([10.0, 11.0]), 1.0, 10, 10)
    smooth = ExitDirections.fit(mc).at(grid_directions(25).numpy())
    assert (smooth[0] == 0).all()
    assert torch.isfinite(torch.from_numpy(smooth[1])).all()
    assert 0.5 < smooth[1].sum() < 20
