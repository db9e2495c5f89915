"""Models, runs and answers in a notebook."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ebsdsg_ml.calibration import Calibration
from ebsdsg_ml.ensemble_model import EnsembleModel
from ebsdsg_ml.experimental.read import read_patterns
from ebsdsg_ml.models import build_model
from ebsdsg_ml.pattern_model import ModelCard, PatternModel
from ebsdsg_ml.predict import Predictions, predict
from ebsdsg_ml.protocol import TrainingConfig
from ebsdsg_ml.training import train
from ebsdsg_ml.transforms import Preprocessing

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def model() -> PatternModel:
    network, _ = build_model("mobilenet_v3_small", 2)
    card = ModelCard("mobilenet_v3_small", (225, 229), "true", Preprocessing(32, 31))
    return PatternModel(network, card)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two patterns, the name of one being HTML, and a file that is no image."""
    rng = np.random.default_rng(1)
    for name in ("good.png", f"{EVIL}.png"):
        Image.fromarray(rng.integers(0, 256, (40, 40), dtype=np.uint8)).save(tmp_path / name)
    (tmp_path / "broken.png").write_bytes(b"no image")
    return tmp_path


def test_answers_are_a_table_with_pictures_and_escaped_names(
    model: PatternModel, folder: Path
) -> None:
    found = predict(model, [folder])
    text = found._repr_html_()
    assert len(found.answers) == 2 and len(found.errors) == 1
    assert text.count("data:image/png;base64,") == 2
    assert EVIL not in text and "&lt;img src=x onerror" in text
    assert "broken.png" in text and "not calibrated" in text
    answer = found.answers[0]
    assert f"{answer.probability:.2f}" in text
    one = answer._repr_html_()
    assert one.count("data:image/png") == 1 and f"p = {answer.probability:.2f}" in one
    assert not re.search(r"https?:|<script", text + one)
    assert Predictions([], [EVIL])._repr_html_().count("<img") == 0


def test_only_the_first_answers_are_drawn(model: PatternModel, folder: Path) -> None:
    answers = predict(model, [folder / "good.png"]).answers * 50
    text = Predictions(answers, [])._repr_html_()
    assert text.count("<img") == 40 and "10 more answers" in text


def test_a_model_says_what_it_is_and_whether_it_is_calibrated(model: PatternModel) -> None:
    text = model._repr_html_()
    for words in ("mobilenet_v3_small", "225", "229", "32 × 32 pixels", "none: probabilities"):
        assert words in text, words
    known = model.calibrated(Calibration(temperature=1.5, coverage=0.9, n_phases=12))
    assert "temperature 1.50, sets of 90%, 12 phases" in known._repr_html_()
    assert "<td" in EnsembleModel([model, model])._repr_html_()
    assert ">2</td>" in EnsembleModel([model, model])._repr_html_()


def test_a_training_says_its_accuracy_and_what_it_took(dataset: Path, tmp_path: Path) -> None:
    config = TrainingConfig(model="mobilenet_v3_small", epochs=1, batch_size=20, threads=1)
    result = train(config, dataset, tmp_path / "run", validation_fold=0)
    text = result._repr_html_()
    assert result.validation_accuracy is not None
    assert f"{result.validation_accuracy:.1%} of {result.n_validation} patterns" in text
    assert "folds all but 0" in text and str(result.model_path) in text


def test_experimental_patterns_are_drawn_with_their_quality(folder: Path) -> None:
    (folder / "broken.png").unlink()
    held = read_patterns(folder)
    text = held._repr_html_()
    assert text.count("data:image/png") == 2 and EVIL not in text
    assert "2 experimental patterns, 229 × 229 pixels" in text
    assert f"{held.quality.min():.2f} to {held.quality.max():.2f}" in text


def test_a_model_says_what_its_calibration_cannot_promise(model: PatternModel) -> None:
    assert "calibration</" in model._repr_html_() and "too few" not in model._repr_html_()
    few = Calibration(coverage=0.995, set_threshold=1.0, unknown_threshold=0.0, n_phases=12)
    text = model.calibrated(few)._repr_html_()
    assert "sets of 99.5%, 12 phases; 12 phases are too few for sets of 99.5% (199 are" in text
