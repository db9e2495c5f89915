import numpy as np
import pytest
from crystals import GAAS, MONOCLINIC, P1, ZNO, reference_crystal

from ebsdsg_sim.grid_symmetry import grid_operations, grid_orbits
from ebsdsg_sim.lambert import grid_directions


@pytest.mark.parametrize(
    ("c", "order"), [(GAAS, 8), (ZNO, 4), (MONOCLINIC, 2), (P1, 1)], ids=lambda x: str(x)[:9]
)
def test_operations_on_the_grid(c, order):
    assert len(grid_operations(c.point_group)) == order


def test_cubic_holohedry_uses_16_operations(shared):
    c = reference_crystal(shared, "Ni")
    orbits = grid_orbits(c.point_group, 100)
    assert orbits.n_operations == 16
    assert len(orbits.directions) == 5151  # (npx + 1)(npx + 2)/2, as EMsoft


@pytest.mark.parametrize("c", [GAAS, ZNO, MONOCLINIC, P1], ids=lambda c: c.name)
def test_filling_by_symmetry_is_evaluating_an_invariant_function(c):
    # Any function summed over the point group is invariant under it, poles, rims and all.
    npx = 6
    orbits = grid_orbits(c.point_group, npx)

    def invariant(v):
        images = np.einsum("mij,...j->m...i", c.point_group, v)
        x, y, z = np.moveaxis(images, -1, 0)
        return (np.cos(3 * x + 1) * np.sin(2 * y - 0.5) + np.exp(z) * x + y**3 * z).sum(0)

    north, south = orbits.fill(invariant(orbits.directions)[:, None])
    v = grid_directions(npx).numpy()
    assert north[0] == pytest.approx(invariant(v), abs=1e-9)
    assert south[0] == pytest.approx(invariant(v * [1, 1, -1]), abs=1e-9)
    for edge in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        assert (north[0][edge] == south[0][edge]).all()


def test_a_crystal_without_symmetry_shares_only_the_rim():
    npx = 5
    orbits = grid_orbits(P1.point_group, npx)
    side = 2 * npx + 1
    assert len(orbits.directions) == 2 * side**2 - 4 * (side - 1)
