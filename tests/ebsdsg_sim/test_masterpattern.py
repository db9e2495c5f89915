from dataclasses import replace

import numpy as np
import pytest
from crystals import GAAS, P1, ZNO, reference_crystal

from ebsdsg_sim.comparison import compare_with_emsoft
from ebsdsg_sim.lambert import grid_directions
from ebsdsg_sim.masterpattern import (
    MasterPattern,
    MasterPatternError,
    compute_energy,
    energy_solver,
    master_pattern_directions,
)
from ebsdsg_sim.montecarlo import MonteCarlo
from ebsdsg_sim.parameters import SimulationParameters

SETTINGS = SimulationParameters(
    voltage=15.0, energy_min=14.0, depth_max=30.0, dmin=0.12, npx=7, mc_pixels=21
)


@pytest.fixture(scope="module")
def monte_carlo():
    """Histograms with an exponential depth profile."""
    counts = np.round(1e4 * np.exp(-np.arange(SETTINGS.n_depths) / 6)).astype(int)
    accum_z = np.broadcast_to(counts[None, :, None, None], (2, len(counts), 3, 3)).copy()
    return MonteCarlo(
        accum_e=np.ones((2, 21, 21), dtype=int),
        accum_z=accum_z,
        energies=SETTINGS.energies,
        depth_step=SETTINGS.depth_step,
        n_electrons=10**6,
        n_simulated=10**6,
    )


@pytest.mark.parametrize("c", [GAAS, ZNO, P1], ids=lambda c: c.name)
def test_every_node_holds_its_own_direction(c, monte_carlo):
    north, south, statistics = compute_energy(c, SETTINGS, monte_carlo, 1)
    side = 2 * SETTINGS.npx + 1
    assert north.shape == south.shape == (len(c.sites), side, side)
    assert north.dtype == np.float32
    v = grid_directions(SETTINGS.npx).numpy().reshape(-1, 3)
    bloch, _ = energy_solver(c, SETTINGS, monte_carlo, 1)
    for half, sign in ((north, 1), (south, -1)):
        expected, _ = bloch.intensities(v * [1, 1, sign])
        found = half.reshape(len(c.sites), -1).T
        assert found == pytest.approx(expected, rel=1e-5)
    assert (north[:, 0] == south[:, 0]).all()
    assert (north[:, :, -1] == south[:, :, -1]).all()
    assert np.abs(north - south).max() > 1e-3 * north.max()
    assert statistics.energy == 15.0
    assert statistics.n_directions < 2 * side**2


def test_centrosymmetric_hemispheres_are_equal(shared, monte_carlo):
    c = reference_crystal(shared, "Si")
    north, south, statistics = compute_energy(c, SETTINGS, monte_carlo, 0)
    assert (north == south).all()
    assert statistics.n_operations == 16
    assert (north == north.swapaxes(1, 2)).all()


def test_float64_checks_float32(monte_carlo):
    single, double = (
        compute_energy(GAAS, SETTINGS, monte_carlo, 0, dtype=dtype)[0]
        for dtype in ("float32", "float64")
    )
    assert single == pytest.approx(double, rel=1e-5)


def test_another_absorption_length_is_another_scale(monte_carlo):
    physical = SimulationParameters.from_dict(
        {**SETTINGS.to_dict(), "absorption_length": "physical"}
    )
    low = [compute_energy(GAAS, s, monte_carlo, 0)[0] for s in (SETTINGS, physical)]
    top = [compute_energy(GAAS, s, monte_carlo, 1)[0] for s in (SETTINGS, physical)]
    assert top[0] == pytest.approx(top[1], rel=1e-6)
    assert not np.allclose(low[0], low[1], rtol=1e-4)


def test_other_debye_waller_factors_reuse_the_geometry(monte_carlo):
    warm = replace(GAAS, sites=tuple(replace(s, debye_waller=0.012) for s in GAAS.sites))
    cold = compute_energy(GAAS, SETTINGS, monte_carlo, 0)[0]
    found = compute_energy(warm, SETTINGS, monte_carlo, 0)[0]
    directions = master_pattern_directions(GAAS, SETTINGS)
    assert master_pattern_directions(warm, SETTINGS) is directions
    fresh, _ = energy_solver(warm, SETTINGS, monte_carlo, 0)[0].intensities(directions.directions)
    assert found == pytest.approx(directions.fill(fresh)[0], rel=1e-6)
    # Warmer atoms scatter more diffusely: less contrast.
    assert found.std() / found.mean() < cold.std() / cold.mean()


def test_a_monte_carlo_of_other_energies_is_refused(monte_carlo):
    other = SimulationParameters.from_dict({**SETTINGS.to_dict(), "voltage": 16.0})
    with pytest.raises(MasterPatternError, match="has energies"):
        compute_energy(GAAS, other, monte_carlo, 0)


def test_master_pattern_object(monte_carlo):
    maps = [compute_energy(GAAS, SETTINGS, monte_carlo, i) for i in range(2)]
    mp = MasterPattern(
        north=np.stack([m[0] for m in maps], axis=1),
        south=np.stack([m[1] for m in maps], axis=1),
        energies=SETTINGS.energies,
        crystal=GAAS,
        parameters=SETTINGS,
        monte_carlo=monte_carlo,
    )
    assert mp.npx == 7
    assert mp.total("south") == pytest.approx(mp.south[0] + mp.south[1])
    disc = mp.stereographic(-1)
    assert disc.shape == (15, 15)
    assert disc[0, 0] == 0
    assert disc[7, 7] == pytest.approx(mp.total()[-1, 7, 7], rel=1e-6)
    assert mp.stereographic(0, size=41, hemisphere="south").shape == (41, 41)
    assert repr(mp) == "MasterPattern(GaAs, 14-15 keV, 2 bins, 15 x 15, 2 site map(s))"
    with pytest.raises(MasterPatternError, match="expected"):
        MasterPattern(mp.north[:, :1], mp.south, mp.energies, GAAS, SETTINGS, monte_carlo)
    with pytest.raises(MasterPatternError, match="hemisphere"):
        mp.total("east")


@pytest.mark.parametrize("name", ["Ni", "Ni_B080", "Si", "NiAl", "TiC"])
def test_emsoft_master_patterns_at_every_energy(shared, name):
    rows = compare_with_emsoft(shared / f"reference/emsoft/{name}.h5", nodes=100)
    assert [row.energy for row in rows] == list(range(10, 21))
    for row in rows:
        assert row.ncc > 1 - 1e-7, row
        assert row.mean_absolute < 1e-4, row
        assert row.max_relative < 5e-3, row
        assert row.scale == pytest.approx(1, abs=1e-4)
