import numpy as np
import pytest
import torch
from crystals import GAAS, reference_crystal

from ebsdsg_sim.batches import SYMMETRIC_FROM, rounded
from ebsdsg_sim.blochwave import BlochWaveSolver
from ebsdsg_sim.memory import MemoryBudgetError, free_memory, memory_budget
from ebsdsg_sim.structure_factors import fourier_table, site_weights


def solver(c, memory):
    return BlochWaveSolver(
        c,
        fourier_table(c, 20.0, 0.08),
        site_weights(c, 0.08),
        np.exp(-np.arange(50) / 8),
        1.0,
        50.0,
        dmin=0.08,
        bethe=(8.0, 50.0, 100.0),
        memory=memory,
    )


def test_half_of_what_is_free():
    assert memory_budget(123) == 123
    assert memory_budget() == pytest.approx(free_memory() / 2, rel=0.2)
    with pytest.raises(MemoryBudgetError, match="positive"):
        memory_budget(0)


def test_container_limits_count(tmp_path, monkeypatch):
    monkeypatch.setattr("ebsdsg_sim.memory._CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("400000\n")
    assert free_memory() == 600_000
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory() > 600_000


def test_too_little_memory_is_said_before_anything_is_computed():
    with pytest.raises(MemoryBudgetError, match="allow more memory"):
        solver(GAAS, 1 << 16)


@pytest.mark.parametrize("memory", [3 << 20, 8 << 20, 1 << 30])
def test_batches_and_blocks_stay_within_the_setting(shared, memory):
    for c in (GAAS, reference_crystal(shared, "Ni")):
        bloch = solver(c, memory)
        for n, w in ((8, 0), (40, 35), (bloch._most, bloch._most)):
            batch = bloch._batch_size(n, w) * bloch._direction_bytes(n, w)
            lists = bloch._block_size * 96 * bloch._most
            assert batch <= max(memory, bloch._direction_bytes(n, w))
            assert batch + lists < memory


def test_matrix_sizes():
    n = torch.arange(1, 200)
    for symmetric in (False, True):
        size = rounded(n, symmetric)
        assert (size >= n).all()
        assert (size - n < 8).all()
        assert (size[1:] >= size[:-1]).all()
        assert (size % 4 == 0).all()
    real = size >= SYMMETRIC_FROM
    assert (size[real] % 8 == 0).all()
