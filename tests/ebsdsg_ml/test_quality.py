"""Image quality falls with noise, as its inventor meant it."""

from __future__ import annotations

import itertools
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from ebsdsg_ml.quality import QualityError, image_quality


@pytest.fixture
def nickel(shared: Path) -> torch.Tensor:
    """The nine experimental nickel patterns, (9, 60, 60) uint8."""
    with h5py.File(shared / "data/patterns/kikuchipy_Ni/patterns.h5") as file:
        patterns = file["Scan 1/EBSD/Data/patterns"][...]
    return torch.from_numpy(patterns.reshape(9, 60, 60))


def test_white_noise_is_zero_and_noise_lowers_quality(nickel: torch.Tensor) -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(9, 60, 60, generator=generator)
    assert image_quality(noise).abs().max() < 0.02
    levels = [image_quality(nickel.float() + sigma * noise) for sigma in (0, 20, 60, 200)]
    for better, worse in itertools.pairwise(levels):
        assert (better > worse).all()


def test_contrast_and_brightness_do_not_matter(nickel: torch.Tensor) -> None:
    assert torch.allclose(
        image_quality(nickel), image_quality(nickel.float() * 0.3 + 17), atol=1e-5
    )


@pytest.mark.slow
def test_close_to_kikuchipy(nickel: torch.Tensor) -> None:
    import kikuchipy

    # kikuchipy numbers the frequencies from one instead of zero, hence not equal
    theirs = [kikuchipy.pattern.get_image_quality(p.numpy()) for p in nickel]
    assert np.abs(image_quality(nickel).numpy() - theirs).max() < 0.03
    assert np.corrcoef(image_quality(nickel).numpy(), theirs)[0, 1] > 0.99


def test_blank_is_nan_and_wrong_shapes_are_refused() -> None:
    assert torch.isnan(image_quality(torch.full((1, 8, 8), 7, dtype=torch.uint8))).all()
    with pytest.raises(QualityError, match="expected"):
        image_quality(torch.zeros(8, 8))
