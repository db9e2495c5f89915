"""An adaptation in a folder: whose truth is recorded, what its model file says, which run it is."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ebsdsg_ml.adaptation import AdaptationConfig, AdaptationConfigError, DomainError
from ebsdsg_ml.adaptation.run import run_adaptation
from ebsdsg_ml.adaptation.target import read_target
from ebsdsg_ml.calibration import Calibration
from ebsdsg_ml.dataset_file import open_dataset
from ebsdsg_ml.datasets import build_dataset
from ebsdsg_ml.ensemble_model import EnsembleModel
from ebsdsg_ml.evaluate import evaluate
from ebsdsg_ml.experimental.given import Given
from ebsdsg_ml.experimental.pattern_set import read_pattern_set
from ebsdsg_ml.experimental.processing import PatternProcessing
from ebsdsg_ml.experimental.read import import_patterns
from ebsdsg_ml.experimental.scan import PatternFileError
from ebsdsg_ml.models import build_model
from ebsdsg_ml.pattern_model import ModelCard, PatternModel
from ebsdsg_ml.predict import predict
from ebsdsg_ml.quality import QualityDefinition
from ebsdsg_ml.training_result import TrainingError
from ebsdsg_ml.transforms import Preprocessing
from ebsdsg_sim.device import DeviceError

CLASSES = (221, 225, 229)
SIZE = 32
FAST: dict[str, Any] = {
    "model": "mobilenet_v3_small",
    "batch_size": 8,
    "threads": 1,
    "epochs": 1,
    "steps_per_epoch": 1,
}
PLAIN = PatternProcessing(SIZE, static=None, dynamic=None)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Folder of six camera images with a strong background, larger than the training patterns."""
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:48, :48]
    for i in range(6):
        image = 60 + 2 * x + y + 25 * np.sin(x * (0.3 + 0.1 * i) + y * 0.2)
        noisy = (image + rng.normal(size=image.shape)).clip(0, 255)
        Image.fromarray(noisy.astype(np.uint8)).save(folder / f"{i}.png")
    return folder


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    path = tmp_path / "pool.npy"
    np.save(path, np.random.default_rng(1).integers(0, 255, (8, SIZE, SIZE), np.uint8))
    return path


def model_file(path: Path, seed: int, phases: list[str] | None) -> Path:
    """A network with random weights that says it was trained on some phases."""
    card = ModelCard(
        "mobilenet_v3_small",
        CLASSES,
        "true",
        Preprocessing(SIZE, SIZE),
        training={} if phases is None else {"phases": phases},
        processing=PLAIN.to_dict(),
        quality=QualityDefinition(SIZE).to_dict(),
    )
    return PatternModel(build_model(card.model, len(CLASSES), seed=seed)[0], card).save(path)


def test_the_model_is_shown_the_patterns_that_it_was_adapted_to(
    dataset: Path, images: Path, tmp_path: Path
) -> None:
    imported = tmp_path / "set.h5"
    import_patterns(images, imported, processing=PatternProcessing(SIZE), quality_mask=0.5)
    config = AdaptationConfig(**FAST, method="adabn")
    with pytest.raises(DeviceError, match="cuda:99"):
        run_adaptation(config, [dataset], imported, tmp_path / "run", device="cuda:99")
    result = run_adaptation(config, [dataset], imported, tmp_path / "run")
    assert "processed otherwise than the sources' (static, dynamic)" in result.remarks[1]
    model, held = PatternModel.load(result.model_path), read_pattern_set(imported)
    answers = predict(model, [images]).answers
    assert np.array_equal([a.pattern for a in answers], held.patterns)
    assert np.allclose(
        [list(a.probabilities.values()) for a in answers],
        model.probabilities(held.patterns),
        atol=1e-6,
    )
    assert [a.image_quality for a in answers] == pytest.approx(held.quality.tolist())
    # a folder is read as the sources' patterns are, and the model says so
    plain = run_adaptation(config, [dataset], images, tmp_path / "plain")
    assert PatternModel.load(plain.model_path).card.processing == PLAIN.to_dict()
    assert len(plain.remarks) == 1


def test_the_model_file_says_on_which_phases_it_was_trained(
    dataset: Path, pool: Path, tmp_path: Path
) -> None:
    config = AdaptationConfig(**FAST, method="mcc")
    own = run_adaptation(config, [dataset], pool, tmp_path / "own", validation_fold=0)
    adapted = PatternModel.load(own.model_path)
    assert adapted.card.detector["distance"] > 0
    assert evaluate(adapted, dataset, 0).held_out and not evaluate(adapted, dataset, 1).held_out
    # what the model it started from was trained on counts, and the two answer together
    start = model_file(tmp_path / "start.pt", 0, ["other"])
    result = run_adaptation(config, [dataset], pool, tmp_path / "run", start=start)
    further = PatternModel.load(result.model_path)
    assert {"other", *adapted.card.training["phases"]} < set(further.card.training["phases"])
    both = EnsembleModel([PatternModel.load(start), further])
    assert both.card.training["phases"] == further.card.training["phases"]
    silent = model_file(tmp_path / "silent.pt", 0, None)
    result = run_adaptation(config, [dataset], pool, tmp_path / "silent", start=silent)
    assert not evaluate(PatternModel.load(result.model_path), dataset).held_out


def test_only_labels_of_the_sources_kind_are_the_truth(
    banded: SimpleNamespace, tmp_path: Path
) -> None:
    """The same phases with true and with relabelled groups: the class numbers agree."""
    turned = {221: 229, 225: 225, 229: 221}
    groups = [(s.phase, s.labels["true"]) for s in banded.sources()]
    sources = [banded.source(phase, group, turned[group]) for phase, group in groups]
    paths = {}
    for kind in ("true", "relabelled"):
        paths[kind] = tmp_path / f"{kind}.h5"
        recipe = banded.recipe(label=kind, patterns_per_class=8)
        build_dataset(recipe, sources, paths[kind], project=banded.project)
    config = AdaptationConfig(**FAST, method="source-only")
    for kind, path in paths.items():
        result = run_adaptation(config, [paths["relabelled"]], path, tmp_path / f"run-{kind}")
        row = result.history[-1]
        assert result.target_accuracy == row.get("watch_accuracy")
        if kind == "relabelled":
            assert result.target_accuracy is not None and not result.remarks
        else:
            assert result.target_accuracy is None
            assert (
                "has the true groups (221, 225, 229), the sources have the relabelled groups"
                in (result.remarks[0])
            )
    # a finished run still says why
    again = run_adaptation(config, [paths["relabelled"]], paths["true"], tmp_path / "run-true")
    assert again.target_accuracy is None and "the true groups" in again.remarks[0]


def test_imported_patterns_say_which_kind_their_group_is(images: Path, tmp_path: Path) -> None:
    """NiAl is 221, and 229 once its sites are alike."""
    sets = {}
    for name, given in {
        "both": Given("NiAl", 221, relabelled=229),
        "true": Given("NiAl", 221),
        "none": Given("NiAl"),
    }.items():
        sets[name] = tmp_path / f"{name}.h5"
        import_patterns(images, sets[name], processing=PLAIN, given=given)
    both = read_target(sets["both"], CLASSES, "true", PLAIN)
    assert both.labels is not None and set(both.labels) == {0} and not both.remarks
    relabelled = read_target(sets["both"], CLASSES, "relabelled", PLAIN)
    assert relabelled.labels is not None and set(relabelled.labels) == {2}
    # a file without the kind, such as all that were written before, holds the true group
    before = read_pattern_set(sets["true"])
    assert "relabelled" not in before.phases[0]
    old = read_target(sets["true"], CLASSES, "true", PLAIN)
    assert old.labels is not None and set(old.labels) == {0}
    for name, classes, kind, why in (
        ("true", CLASSES, "relabelled", "6 of 6 patterns have no relabelled space group"),
        ("none", CLASSES, "true", "6 of 6 patterns have no true space group"),
        ("both", (225, 227), "relabelled", r"relabelled groups [229] of the patterns are not"),
    ):
        found = read_target(sets[name], classes, kind, PLAIN)
        assert found.labels is None and len(found.remarks) == 1 and why in found.remarks[0]
    with pytest.raises(PatternFileError, match="give its true space group, too"):
        Given("NiAl", relabelled=229)
    with pytest.raises(PatternFileError, match="231 is not a space-group number"):
        Given("NiAl", 221, relabelled=231)


def test_a_folder_belongs_to_the_model_that_its_run_started_from(
    dataset: Path, pool: Path, tmp_path: Path
) -> None:
    config = AdaptationConfig(**FAST, method="adabn")
    first, other = (model_file(tmp_path / f"{seed}.pt", seed, ["x"]) for seed in (1, 2))
    run = tmp_path / "run"

    def adapted(start: Path | None) -> Any:
        return run_adaptation(config, [dataset], pool, run, start=start)

    result = adapted(first)
    for start in (other, None):
        with pytest.raises(TrainingError, match=r"holds another run \(different: start\)"):
            adapted(start)
    calibrated = PatternModel.load(first).calibrated(Calibration(2.0)).save(tmp_path / "c.pt")
    assert adapted(calibrated).weights_sha256 == result.weights_sha256
    # a folder of an earlier version: its result says what it started from
    identity = json.loads((run / "run.json").read_text())
    del identity["start"]
    (run / "run.json").write_text(json.dumps(identity))
    values = json.loads((run / "result.json").read_text())
    del values["remarks"]
    (run / "result.json").write_text(json.dumps(values))
    assert adapted(first).weights_sha256 == result.weights_sha256
    for start in (other, None):
        with pytest.raises(TrainingError, match=r"different: start"):
            adapted(start)
    # an unfinished one does not, and is taken for what is asked for
    (run / "result.json").unlink()
    assert adapted(other).weights_origin != result.weights_origin


def test_held_out_phases_are_held_out_of_the_start_too(
    dataset: Path, pool: Path, banded: SimpleNamespace, tmp_path: Path
) -> None:
    config = AdaptationConfig(**FAST, method="source-only", criterion="source_validation")
    with open_dataset(dataset) as opened:
        folds = {f: sorted(r["id"] for r in opened.phases if r["fold"] == f) for f in (0, 1)}

    def run(name: str, phases: list[str] | None) -> Any:
        start = model_file(tmp_path / f"{name}.pt", 0, phases)
        return run_adaptation(
            config, [dataset], pool, tmp_path / name, start=start, validation_fold=0
        )

    assert run("honest", folds[1]).history[0]["source_validation"] is not None
    with pytest.raises(DomainError, match="was trained on 6 phases of the held-out fold"):
        run("final", folds[0] + folds[1])
    with pytest.raises(DomainError, match="does not say which phases"):
        run("silent", None)
    assert not (tmp_path / "final").exists()
    # nor may another source show them
    swapped = tmp_path / "swapped.h5"
    build_dataset(banded.recipe(seed=1), banded.sources(), swapped, project=banded.project)
    with pytest.raises(DomainError, match="held-out fold of one source are trained on in another"):
        run_adaptation(config, [dataset, swapped], pool, tmp_path / "two", validation_fold=0)


@pytest.mark.parametrize("method", ["mcd", "mcc", "self-training"])
def test_a_warm_up_that_never_ends_is_refused(
    method: str, dataset: Path, pool: Path, tmp_path: Path
) -> None:
    config = AdaptationConfig.from_dict({**FAST, "method": method, "warmup_steps": 1})
    with pytest.raises(AdaptationConfigError, match=r"the run has 1 steps, so .* never see the"):
        run_adaptation(config, [dataset], pool, tmp_path / "run")
    longer = dataclasses.replace(config, steps_per_epoch=2)
    assert run_adaptation(longer, [dataset], pool, tmp_path / "two").history[-1]["step"] == 2
