"""Zone axes lie where the crystal's directions are projected."""

import math

import pytest

from ebsdsg_sim.crystal import Crystal
from ebsdsg_sim.zone_axes import zone_axes


def crystal(cell: list[float], space_group: int, hall_number: int) -> Crystal:
    site = {"element": "Ni", "position": [0, 0, 0], "occupancy": 1, "debye_waller": 0.004}
    return Crystal.from_dict(
        {
            "name": "x",
            "cell": cell,
            "space_group": space_group,
            "hall_number": hall_number,
            "sites": [site],
        }
    )


def test_a_cubic_cell_has_its_textbook_places() -> None:
    axes = {a.uvw: a for a in zone_axes(crystal([0.35] * 3 + [90.0] * 3, 225, 523))}
    assert len(axes) == 9 + 8  # within the hemisphere, and around the rim
    assert axes[0, 0, 1].stereographic == axes[0, 0, 1].lambert == (0, 0)
    # 45 and 54.74 degrees from the pole: tan(45/2), tan(54.74/2)
    assert axes[1, 0, 1].stereographic == pytest.approx((math.tan(math.pi / 8), 0))
    assert math.hypot(*axes[1, 1, 1].stereographic) == pytest.approx(
        math.tan(math.acos(1 / math.sqrt(3)) / 2)
    )
    assert axes[-1, 0, 0].stereographic == pytest.approx((-1, 0))
    # equal areas: the cap down to 45 degrees has 1 - cos 45 of the hemisphere and of the square
    assert axes[1, 0, 1].lambert[0] ** 2 == pytest.approx(1 - math.cos(math.pi / 4))
    assert axes[1, 1, 0].lambert == pytest.approx((1, 1))


def test_the_southern_hemisphere_is_seen_from_the_same_side() -> None:
    cubic = crystal([0.35] * 3 + [90.0] * 3, 225, 523)
    south = {a.uvw: a for a in zone_axes(cubic, south=True)}
    assert (0, 0, -1) in south and (0, 0, 1) not in south
    assert south[1, 0, -1].stereographic == pytest.approx((math.tan(math.pi / 8), 0))


def test_a_hexagonal_axis_b_is_at_120_degrees() -> None:
    axes = {a.uvw: a for a in zone_axes(crystal([0.3, 0.3, 0.5, 90.0, 90.0, 120.0], 194, 488))}
    assert axes[0, 1, 0].stereographic == pytest.approx((-0.5, math.sqrt(3) / 2))
    assert axes[1, 1, 0].stereographic == pytest.approx((0.5, math.sqrt(3) / 2))
