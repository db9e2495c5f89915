"""Crops, flips and background: what they keep and what they remove."""

from __future__ import annotations

import pytest
import spglib
import torch

from ebsdsg_ml.transforms import (
    Preprocessing,
    TransformError,
    check_flips,
    crop_size,
    has_improper_operations,
)


def patterns(n: int = 6, size: int = 24) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, size, size), generator=generator, dtype=torch.uint8)


def test_paper_crop() -> None:
    assert crop_size(229) == 224
    assert [crop_size(n) for n in (48, 64, 96)] == [47, 63, 94]


def test_every_group_agrees_with_spglib() -> None:
    seen = set()
    for hall in range(1, 531):
        group = spglib.get_spacegroup_type(hall).number
        rotations = spglib.get_symmetry_from_database(hall)["rotations"]
        determinants = torch.linalg.det(torch.tensor(rotations, dtype=torch.float64))
        assert bool((determinants < 0).any()) == has_improper_operations(group), group
        seen.add(group)
    assert seen == set(range(1, 231))


def test_flips_are_refused_for_groups_without_mirrors() -> None:
    check_flips((221, 223, 225, 227, 229, 230))
    with pytest.raises(TransformError, match="198, 213"):
        check_flips((198, 213, 225))


def test_training_crop_is_a_piece_of_the_prepared_pattern_up_to_flips() -> None:
    p = Preprocessing(24, 20)
    prepared = p.prepare(patterns())
    out = p.for_training(patterns(), torch.Generator().manual_seed(5))
    for whole, piece in zip(prepared, out[:, 0], strict=True):
        pieces = [
            whole[r : r + 20, c : c + 20].flip(dims)
            for r in range(5)
            for c in range(5)
            for dims in ([], [0], [1], [0, 1])
        ]
        assert sum(torch.equal(piece, candidate) for candidate in pieces) == 1


def test_chance_comes_from_the_generator_alone() -> None:
    p = Preprocessing(24, 20)

    def draw(seed: int) -> torch.Tensor:
        return p.for_training(patterns(), torch.Generator().manual_seed(seed))

    assert torch.equal(draw(1), draw(1)) and not torch.equal(draw(1), draw(2))
    same = p.for_training(
        patterns()[:1].expand(200, -1, -1), torch.Generator().manual_seed(0), flips=False
    )
    assert len(torch.unique(same.flatten(1), dim=0)) == 25  # all 5 x 5 crops, no flip


def test_evaluation_crop_is_central_and_fixed() -> None:
    p = Preprocessing(24, 20)
    assert torch.equal(p.for_evaluation(patterns())[:, 0], p.prepare(patterns())[:, 2:22, 2:22])


def test_background_brightness_and_contrast_do_not_matter() -> None:
    size = 48
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    bands = torch.sin(0.9 * x + 0.7 * y)
    plain = (128 + 40 * bands).to(torch.uint8)
    # illumination as a screen has it: bright in the middle, darker at the bottom
    shaded = (120 + 30 * bands + 60 * torch.exp(-((x - 24) ** 2 + (y - 12) ** 2) / 600)).to(
        torch.uint8
    )
    p = Preprocessing(size, size)
    a, b = p.prepare(torch.stack([plain, shaded])).flatten(1)
    assert torch.corrcoef(torch.stack([a, b]))[0, 1] > 0.97
    for row in (a, b):
        assert abs(row.mean()) < 1e-5 and abs(row.std(correction=0) - 1) < 1e-4
    kept = Preprocessing(size, size, background=0).prepare(torch.stack([plain, shaded])).flatten(1)
    assert torch.corrcoef(kept)[0, 1] < 0.95


def test_bad_settings_are_refused() -> None:
    for values, message in (
        ({"size": 20, "crop": 21}, "crop = 21"),
        ({"size": 20, "crop": 20, "background": -1}, "background"),
        ({"size": 20, "crop": 20, "normalisation": "imagenet"}, "background = 0"),
        ({"size": 20, "crop": 20, "blur": 3}, "not usable"),
    ):
        with pytest.raises(TransformError, match=message):
            Preprocessing.from_dict(values)
    with pytest.raises(TransformError, match=r"expected \(n, 20, 20\)"):
        Preprocessing(20, 20).prepare(patterns())
