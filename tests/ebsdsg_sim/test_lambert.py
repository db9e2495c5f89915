"""Modified Lambert projection: equal areas, exact inverse, EMsoft's grid directions."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ebsdsg_sim.lambert import LambertError, grid_directions, to_sphere, to_square

coordinate = st.floats(-1, 1, allow_nan=False)


@given(coordinate, coordinate)
def test_a_point_returns_to_itself_and_lands_on_the_northern_unit_sphere(x, y):
    point = torch.tensor([x, y], dtype=torch.float64)
    v = to_sphere(point)
    assert v.norm().item() == pytest.approx(1, abs=1e-12)
    assert v[2] >= -1e-15
    assert torch.allclose(to_square(v), point, atol=1e-7)


@given(st.floats(-1, 1), st.floats(0, 2 * np.pi))
def test_a_direction_returns_to_itself(z, azimuth):
    s = np.sqrt(1 - z * z)
    v = torch.tensor([s * np.cos(azimuth), s * np.sin(azimuth), z], dtype=torch.float64)
    back = to_sphere(to_square(v))
    back[2] *= 1 if z >= 0 else -1
    assert torch.allclose(back, v, atol=1e-7)


@given(st.floats(-0.98, 0.98), st.floats(-0.98, 0.98))
def test_equal_areas_of_the_square_are_equal_solid_angles(x, y):
    if abs(abs(x) - abs(y)) < 1e-3 or max(abs(x), abs(y)) < 1e-3:
        return  # the map has kinks on the diagonals
    point = torch.tensor([x, y], dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(to_sphere, point)
    solid_angle = torch.linalg.cross(jacobian[:, 0], jacobian[:, 1]).norm().item()
    assert solid_angle == pytest.approx(2 * np.pi / 4, rel=1e-9)


def test_single_precision_keeps_the_neighbourhood_of_the_pole():
    v = torch.tensor([1e-4, 2e-5, 1.0], dtype=torch.float64)
    v = v / v.norm()
    assert torch.allclose(to_square(v.float()).double(), to_square(v), rtol=1e-6, atol=0)


def test_grid_directions_are_emsofts(shared: Path):
    data = np.load(shared / "reference/directions/Ni_20keV.npz")
    npx = 100
    grid = grid_directions(npx).numpy()
    i, j = data["grid_ij"].T
    assert np.abs(grid[j + npx, i + npx] - data["grid_direction"]).max() < 1e-7


def test_rim_is_the_equator_and_centre_is_the_pole():
    grid = grid_directions(7)
    assert torch.equal(grid[7, 7], torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64))
    rim = torch.cat((grid[0], grid[-1], grid[:, 0], grid[:, -1]))
    assert rim[:, 2].abs().max() < 1e-15


@pytest.mark.parametrize(
    "call",
    [
        lambda: to_sphere(torch.zeros(3)),
        lambda: to_square(torch.zeros(2)),
        lambda: grid_directions(0),
    ],
)
def test_wrong_shapes_are_refused(call):
    with pytest.raises(LambertError):
        call()
