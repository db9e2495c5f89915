"""Images of every common kind become patterns; broken ones give one clear error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ebsdsg_ml.models import build_model
from ebsdsg_ml.pattern_model import ModelCard, PatternModel
from ebsdsg_ml.predict import ImageError, as_training_pattern, predict, read_image
from ebsdsg_ml.transforms import Preprocessing


@pytest.fixture(scope="module")
def model() -> PatternModel:
    network, _ = build_model("resnet18", 3)
    card = ModelCard("resnet18", (221, 225, 229), "true", Preprocessing(48, 47))
    return PatternModel(network, card)


@pytest.fixture
def grey() -> np.ndarray:
    """(80, 100) uint8, bands and a gradient."""
    y, x = np.mgrid[:80, :100]
    return (100 + 50 * np.sin(x / 5 + y / 9) + y).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "jpg"])
def test_formats_agree(grey: np.ndarray, tmp_path: Path, suffix: str) -> None:
    Image.fromarray(grey).save(tmp_path / f"p.{suffix}")
    found = read_image(tmp_path / f"p.{suffix}")
    assert found.shape == (80, 100)
    assert np.abs(found - grey).max() <= (12 if suffix == "jpg" else 0)


def test_depth_and_colour_do_not_matter(
    grey: np.ndarray, tmp_path: Path, model: PatternModel
) -> None:
    Image.fromarray(grey).save(tmp_path / "a8.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "a16.png")
    Image.fromarray(np.stack([grey] * 3, axis=2)).save(tmp_path / "rgb.png")
    Image.fromarray(np.stack([*[grey] * 3, grey // 2], axis=2)).save(tmp_path / "rgba.png")
    Image.fromarray(grey.astype(np.float32) / 3).save(tmp_path / "float.tif")
    names = ["a8.png", "a16.png", "rgb.png", "rgba.png", "float.tif"]
    assert read_image(tmp_path / "a16.png").max() > 255
    answers = predict(model, [tmp_path / name for name in names])
    for answer in answers:
        assert sum(answer.probabilities.values()) == pytest.approx(1)
        assert answer.space_group == max(answer.probabilities, key=answer.probabilities.get)
        for group, probability in answers[0].probabilities.items():
            assert answer.probabilities[group] == pytest.approx(probability, abs=0.02)
    assert answers[0].to_dict()["path"].endswith("a8.png")


def test_an_image_of_a_training_pattern_is_that_pattern(tmp_path: Path, dataset: Path) -> None:
    from ebsdsg_ml.pattern_dataset import PatternDataset

    pattern = PatternDataset(dataset).read([3])[0]
    Image.fromarray(pattern).save(tmp_path / "p.png")
    back = as_training_pattern(read_image(tmp_path / "p.png"), pattern.shape[0])
    assert np.corrcoef(back.ravel(), pattern.ravel())[0, 1] > 0.999


def test_the_middle_square_is_taken_and_hot_pixels_do_not_matter(grey: np.ndarray) -> None:
    square = as_training_pattern(grey.astype(np.float32), 80)
    assert np.corrcoef(square.ravel(), grey[:, 10:90].ravel())[0, 1] > 0.999
    hot = grey.astype(np.float32)
    hot[40, 50] = 1e5
    assert as_training_pattern(hot, 80).std() > 0.9 * square.std()


def test_real_patterns_are_read(shared: Path, model: PatternModel) -> None:
    folder = shared / "data/patterns"
    files = [
        folder / "krkaufma_Al/sample_ebsd.tiff",
        folder / "kikuchipy_Ni/calibration_425_447.bmp",
        *sorted((folder / "openxy_ferrite/patterns").glob("*.jpg"))[:3],
    ]
    files = [f for f in files if f.exists()]
    assert len(files) == 5
    for answer in predict(model, files):
        assert 0 < answer.image_quality < 1


def test_broken_images_give_one_clear_error(
    grey: np.ndarray, tmp_path: Path, model: PatternModel
) -> None:
    good = tmp_path / "good.png"
    Image.fromarray(grey).save(good)
    cases = {"text.png": b"not an image", "empty.png": b"", "cut.png": good.read_bytes()[:-60]}
    Image.fromarray(grey).save(tmp_path / "whole.jpg")
    cases["cut.jpg"] = (tmp_path / "whole.jpg").read_bytes()[:700]
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ImageError, match=f"{name} is not a readable image"):
            predict(model, [good, tmp_path / name])
    with pytest.raises(ImageError, match="does not exist"):
        read_image(tmp_path / "none.png")
    Image.fromarray(np.full((50, 50), 7, np.uint8)).save(tmp_path / "blank.png")
    with pytest.raises(ImageError, match=r"blank\.png is blank"):
        read_image(tmp_path / "blank.png")
    Image.fromarray(grey[:8, :8]).save(tmp_path / "tiny.png")
    with pytest.raises(ImageError, match="at least 16"):
        read_image(tmp_path / "tiny.png")
    frames = [Image.fromarray(grey), Image.fromarray(grey)]
    frames[0].save(tmp_path / "two.tif", save_all=True, append_images=frames[1:])
    with pytest.raises(ImageError, match="holds 2 images"):
        read_image(tmp_path / "two.tif")
    lone = np.full((100, 100), 7, np.uint8)
    lone[50, 50] = 200
    with pytest.raises(ImageError, match="blank but for single pixels"):
        as_training_pattern(lone.astype(np.float32), 100)
    assert predict(model, []) == []
