"""Patterns made on the fly are those of the file, new in every epoch, whatever their company."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from types import SimpleNamespace as Banded

import numpy as np
import pytest
from torch.utils.data import DataLoader

from ebsdsg_ml.classifier import collate
from ebsdsg_ml.dataset_file import open_dataset
from ebsdsg_ml.datasets import PatternSource, build_dataset, file_sha256
from ebsdsg_ml.pattern_bank import PatternBank
from ebsdsg_ml.pattern_dataset import PatternDataset, open_patterns
from ebsdsg_ml.pattern_source import DatasetError
from ebsdsg_ml.recipe import DatasetRecipe
from ebsdsg_ml.sampler import EpochSampler

NOISY = {"geometry": True, "counts": True, "blur": True, "hot_pixels": True, "dynamic": True}
GROUPS = {"Ni": 225, "TiC": 225, "NiAl": 221, "Si": 221}


@pytest.fixture(scope="module")
def paths(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same recipe, stored and fresh, of real master patterns; labels only serve the folds."""
    folder = tmp_path_factory.mktemp("bank")
    sources = [
        PatternSource(name, name, {"true": group}, path, file_sha256(path))
        for name, group in GROUPS.items()
        for path in [shared / f"reference/emsoft/{name}.h5"]
    ]
    made = {}
    for imperfections, generation in product(({}, NOISY), ("stored", "fresh")):
        recipe = DatasetRecipe.from_dict(
            {"classes": [221, 225], "patterns_per_class": 24, "size": 40, "n_folds": 2}
            | {"generation": generation, "imperfections": imperfections}
        )
        name = f"{'noisy ' if imperfections else ''}{generation}"
        made[name] = folder / f"{name}.h5"
        build_dataset(recipe, sources, made[name])
    return made


def test_held_out_patterns_are_those_a_stored_set_would_hold(paths: dict[str, Path]) -> None:
    stored, bank = (open_patterns(path, 1) for path in (paths["stored"], paths["fresh"]))
    assert isinstance(bank, PatternBank) and not isinstance(stored, PatternBank)
    assert (bank.rows == stored.rows).all() and (bank.labels == stored.labels).all()
    everything = np.arange(len(bank))
    difference = bank.read(everything).astype(int) - stored.read(everything)
    assert np.abs(difference).max() <= 1  # maps are kept as 16-bit numbers
    assert (difference == 0).mean() > 0.9
    later = bank.read(everything + 3 * len(bank))
    assert (later == bank.read(everything)).all()  # held-out patterns never change


def test_imperfections_follow_from_the_pattern_too(paths: dict[str, Path]) -> None:
    perfect = open_patterns(paths["stored"], 1).read(range(20)).astype(float)
    stored = open_patterns(paths["noisy stored"], 1).read(range(20)).astype(float)
    fresh = open_patterns(paths["noisy fresh"], 1).read(range(20)).astype(float)
    for i in range(20):
        assert np.corrcoef(stored[i].ravel(), perfect[i].ravel())[0, 1] < 0.95
        # the same noise, but for electrons that the rounding of the maps moves
        assert np.corrcoef(stored[i].ravel(), fresh[i].ravel())[0, 1] > 0.97


@pytest.mark.parametrize("kind", ["fresh", "noisy fresh"])
def test_every_epoch_is_new_and_follows_from_the_index_alone(
    paths: dict[str, Path], kind: str
) -> None:
    bank = open_patterns(paths[kind], training=True)
    assert bank.fresh
    n = len(bank)
    first, second = bank.read(range(n)), bank.read(range(n, 2 * n))
    assert not (first == second).all(axis=(1, 2)).any()
    mixed = [2 * n + 5, 3, n + 7, 3, 40]
    again = open_patterns(paths[kind], training=True)
    assert (again.read(mixed)[[1, 3]] == first[3]).all()
    assert (again.read(mixed)[2] == second[7]).all()
    assert (again[40][0].numpy() == first[40]).all()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_gives_the_same_whatever_works_for_it(
    paths: dict[str, Path], workers: int
) -> None:
    bank = open_patterns(paths["fresh"], training=True)
    sampler = EpochSampler(bank, 16, seed=5)
    sampler.advance(4)  # in the second epoch, which has three batches
    loader = DataLoader(
        bank,  # type: ignore[arg-type]
        batch_sampler=sampler,  # type: ignore[arg-type]
        collate_fn=collate,
        num_workers=workers,
    )
    expected = sampler.batches(1)[1:]
    for (patterns, labels, rows), indices in zip(loader, expected, strict=True):
        assert indices.min() >= len(bank)
        assert (patterns.numpy() == bank.read(indices)).all()
        positions = indices % len(bank)
        assert (labels.numpy() == bank.labels[positions]).all()
        assert (rows.numpy() == bank.rows[positions]).all()


def test_maps_that_do_not_fit_take_turns_and_are_loaded_once_an_epoch(
    paths: dict[str, Path],
) -> None:
    whole = PatternBank(paths["fresh"], training=True)
    one = max(whole.map_bytes.values())
    small = PatternBank(paths["fresh"], training=True, memory=2 * one)
    blocks = small.blocks(0, seed=3)
    assert len(blocks) > 1 and sorted(row for block in blocks for row in block) == sorted(
        small.map_bytes
    )
    assert blocks != small.blocks(1, seed=3)
    order = small.order(0, seed=3)
    assert sorted(order) == list(range(len(small)))
    for indices in np.array_split(order, 6):
        assert (small.read(indices) == whole.read(indices)).all()
        held = sum(small.map_bytes[row] for row in small._projectors)
        assert held <= small.memory
    assert small.loads == len(GROUPS) and whole.loads == len(GROUPS)
    unordered = PatternBank(paths["fresh"], training=True, memory=one)
    for indices in np.array_split(whole.order(0, seed=3), 6):
        unordered.read(indices)
    assert unordered.loads > 2 * len(GROUPS)  # what the blocks are for


def test_blocks_hold_the_classes_evenly(banded: Banded, paths: dict[str, Path]) -> None:
    bank = PatternBank(paths["fresh"], training=True)
    bank.map_bytes = {row: 100 for row in range(60)}
    bank.phases = [{"true": 221 if row < 40 else 225} for row in range(60)]
    bank.memory = 1200
    for block in bank.blocks(0, seed=1):
        assert 9 <= len(block) <= 12
        assert abs(sum(row < 40 for row in block) / len(block) - 2 / 3) < 0.12


def test_wrong_reader_and_damage_are_told(paths: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="made on the fly"):
        PatternDataset(paths["fresh"])
    with pytest.raises(DatasetError, match="no bank"):
        PatternBank(paths["stored"])
    open_dataset(paths["fresh"], verify=True).close()
    import h5py

    copy = tmp_path / "copy.h5"
    copy.write_bytes(paths["fresh"].read_bytes())
    with h5py.File(copy, "r+") as file:
        file["maps/2/maps"][0, 3, 3] += 0.5
    with pytest.raises(DatasetError, match="patterns of Si are not those"):
        open_dataset(copy, verify=True)
