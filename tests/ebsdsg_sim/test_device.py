"""A device that torch cannot use is one clear error, before anything is computed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from crystals import GAAS

from ebsdsg_sim.device import DeviceError, usable_device
from ebsdsg_sim.memory import memory_budget
from ebsdsg_sim.parameters import SimulationParameters
from ebsdsg_sim.simulate import simulate


def test_the_processor_can_be_used() -> None:
    assert usable_device("cpu") == usable_device(torch.device("cpu")) == torch.device("cpu")


@pytest.mark.parametrize("name", ["cuda:99", "foo", "meta", ""])
def test_what_cannot_be_used_is_named(name: str) -> None:
    with pytest.raises(DeviceError, match=f"torch cannot use device '{name}': .*choose 'cpu'"):
        usable_device(name)


def test_neither_a_budget_nor_a_simulation_begins_there(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="cuda:99"):
        memory_budget(device="cuda:99")
    with pytest.raises(DeviceError, match="cuda:99"):
        simulate(GAAS, SimulationParameters(), tmp_path / "gaas.h5", device="cuda:99")
    assert list(tmp_path.iterdir()) == []
