"""Parameters in the wrong unit or of the wrong type are refused, those in use are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ebsdsg_sim.parameters import ParameterError, SimulationParameters


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"voltage": 20_000.0}, "voltage = 20000: must be from 1 to 300 keV; 20000 V are 20 keV"),
        ({"voltage": 0.5, "energy_min": 0.1, "energy_step": 0.1}, "voltage = 0.5: .* 300 keV$"),
        ({"dmin": 0.5}, "dmin = 0.5: must be at most 0.3 nm; 0.5 Angstrom are 0.05 nm"),
        ({"depth_step": 3.0}, "depth_step = 3.0 nm does not divide depth_max = 100.0 nm"),
        ({"depth_max": 20.0, "depth_step": 40.0}, "does not divide depth_max"),
        ({"sample_tilt": "70"}, "sample_tilt = '70'"),
        ({"sample_tilt": float("nan")}, "sample_tilt = nan"),
        ({"bethe": (8, 50)}, "bethe = .* three numbers"),
        ({"bethe": None}, "bethe = None: must be three numbers"),
    ],
)
def test_values_in_the_wrong_unit_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        SimulationParameters(**values)


@pytest.mark.parametrize(
    "values",
    [
        {"voltage": 300, "energy_min": 299},
        {"depth_max": 10.0, "depth_step": 0.1},
        {"depth_max": 0.3, "depth_step": 0.1},
        {"dmin": 0.3},
        {"sample_tilt": 0},
        {"bethe": [4, 8, 50]},
    ],
)
def test_what_can_be_simulated_is_not_refused(values: dict[str, Any]) -> None:
    made = SimulationParameters(**values)
    assert SimulationParameters.from_dict(made.to_dict()) == made
    depths = made.depth_step * (made.n_depths - 1)
    assert depths == pytest.approx(made.depth_max)


def test_the_parameters_of_the_campaigns_are_as_they_were() -> None:
    for path in sorted((Path(__file__).parents[2] / "campaigns").glob("*.yaml")):
        values = yaml.safe_load(path.read_text())["simulation"]["parameters"]
        made = SimulationParameters.from_dict(values).to_dict()
        assert {name: made[name] for name in values} == values, path
