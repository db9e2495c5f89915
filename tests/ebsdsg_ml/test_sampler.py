"""A training that is cut off sees the batches it would have seen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader

from ebsdsg_ml.pattern_dataset import PatternDataset
from ebsdsg_ml.sampler import EpochSampler, SamplerError


def run(sampler: EpochSampler, steps: int, patterns: PatternDataset) -> Iterator[list[int]]:
    """Rows of the next batches, as a training with two workers fetching ahead gets them."""
    while steps:
        loader = DataLoader(patterns, batch_sampler=sampler, num_workers=2)  # type: ignore[arg-type]
        for _, _, rows in loader:
            sampler.advance()
            yield rows.tolist()
            steps -= 1
            if not steps:
                return


def test_every_epoch_has_all_patterns_in_another_order(dataset: Path) -> None:
    patterns = PatternDataset(dataset)
    sampler = EpochSampler(patterns, 32, seed=3)
    first, second = (np.concatenate(sampler.batches(epoch)) for epoch in (0, 1))
    assert sorted(first) == sorted(second) == list(range(len(patterns)))
    assert (first != second).mean() > 0.9
    sizes = {len(batch) for batch in sampler.batches(0)}
    assert max(sizes) <= 32 and max(sizes) - min(sizes) <= 1
    assert (np.concatenate(EpochSampler(patterns, 16, seed=3).batches(0)) == first).all()
    assert (np.concatenate(EpochSampler(patterns, 32, seed=4).batches(0)) != first).mean() > 0.9


def test_resumed_at_any_step_it_goes_on_as_if_nothing_had_happened(dataset: Path) -> None:
    patterns = PatternDataset(dataset)
    whole = list(run(EpochSampler(patterns, 32, seed=1), 10, patterns))  # two and a half epochs
    for cut in (1, 4, 7):
        cut_off = EpochSampler(patterns, 32, seed=1)
        assert list(run(cut_off, cut, patterns)) == whole[:cut]
        resumed = EpochSampler(patterns, 32, seed=1)
        resumed.load_state_dict(cut_off.state_dict())
        assert list(run(resumed, 10 - cut, patterns)) == whole[cut:]


def test_a_position_of_something_else_is_refused(dataset: Path) -> None:
    patterns = PatternDataset(dataset)
    state = EpochSampler(patterns, 32, seed=1).state_dict()
    with pytest.raises(SamplerError, match="different: batch_size, seed"):
        EpochSampler(patterns, 16, seed=2).load_state_dict(state)
    with pytest.raises(SamplerError, match="n_patterns"):
        EpochSampler(PatternDataset(dataset, 0), 32, seed=1).load_state_dict(state)
    told = EpochSampler(patterns, 32, seed=1, position=lambda: 5)
    assert told.position == 5 and told.state_dict()["position"] == 5
    assert next(iter(told)) == told.batches(1)[1].tolist()
    with pytest.raises(SamplerError, match="told by the training"):
        told.advance()
