"""Every method adapts, resumes to the same bits, and never looks at target labels."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from ebsdsg_ml.adaptation import (
    METHOD_NAMES,
    AdaptationConfig,
    AdaptationConfigError,
    DomainError,
    Labelled,
    adapt,
)
from ebsdsg_ml.adaptation.domains import Pool, rows_of_step
from ebsdsg_ml.adaptation.mcc import class_confusion
from ebsdsg_ml.adaptation.network import adapt_batchnorm, joined, split
from ebsdsg_ml.adaptation.prior import corrected, estimate_prior
from ebsdsg_ml.adaptation.run import run_adaptation
from ebsdsg_ml.adaptation.self_training import SelfTraining, pseudo_labels
from ebsdsg_ml.answer_grid import Shown
from ebsdsg_ml.datasets import build_dataset
from ebsdsg_ml.models import build_model
from ebsdsg_ml.pattern_model import PatternModel
from ebsdsg_ml.transforms import Preprocessing

CLASSES = (221, 225, 229)
SIZE = 24
FAST: dict[str, Any] = {
    "model": "mobilenet_v3_small",
    "batch_size": 8,
    "learning_rate": 1e-3,
    "threads": 1,
    "epochs": 2,
    "steps_per_epoch": 2,
    "background": 0.0,
}


def bands(counts: tuple[int, ...], seed: int, *, shift: float = 0.0) -> Labelled:
    """Straight bands, their spacing the class; the shift adds blur, noise and a gradient."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    y, x = np.mgrid[:SIZE, :SIZE]
    patterns = []
    for label in labels:
        angle, phase = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi)
        k = 2 * np.pi / (3.0, 6.0, 12.0)[label]
        wave = np.sin(k * (x * np.cos(angle) + y * np.sin(angle)) + phase)
        noise = rng.normal(size=(SIZE, SIZE)) * (0.3 + shift)
        patterns.append(128 + 50 * (1 - 0.3 * shift) * wave + 30 * noise + 2 * shift * (x - y))
    return Labelled(np.clip(np.array(patterns), 0, 255).astype(np.uint8), labels)


@pytest.fixture(scope="module")
def source() -> Labelled:
    return bands((40, 40, 40), 0)


@pytest.fixture(scope="module")
def target() -> Labelled:
    """Shifted, and with other shares of the classes."""
    return bands((70, 20, 10), 1, shift=1.0)


@pytest.fixture(scope="module")
def start(source: Labelled) -> PatternModel:
    """A network that saw the source."""
    torch.set_num_threads(1)
    config = AdaptationConfig(**{**FAST, "method": "source-only", "epochs": 1})
    return adapt(config, [source], source.patterns, classes=CLASSES).model


def accuracy(model: PatternModel, labelled: Labelled) -> float:
    return float((model.logits(labelled.patterns).argmax(dim=1).numpy() == labelled.labels).mean())


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_resume_at_any_step_gives_the_same_bits(
    method: str, source: Labelled, target: Labelled, tmp_path: Path
) -> None:
    """Cut again and again: in the warm-up, at the end of an epoch, inside one."""
    config = AdaptationConfig.from_dict(
        {
            **FAST,
            "method": method,
            "warmup_steps": 1,
            "checkpoint_steps": 1,
            "criterion": "mutual_information",
        }
    )

    class Cut(Exception):
        pass

    made: list[int] = []

    def run(resume: Path | None, cut: int = 0) -> Any:
        def progress(done: int, total: int, what: str) -> None:
            assert total == 4
            made.append(done)
            if done == cut:
                raise Cut

        return adapt(
            config,
            [source],
            target.patterns,
            classes=CLASSES,
            resume=resume,
            validation=source,
            progress=progress,
        )

    straight = run(None)
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in straight.history]
    made.clear()
    for cut in (1, 2, 3):
        with pytest.raises(Cut):
            run(tmp_path / "cut.pt", cut)
    resumed = run(tmp_path / "cut.pt")
    assert made == [1, 1, 2, 2, 3, 3, 4]  # a step that was cut off before its point is made again
    assert resumed.model.weights_sha256() == straight.model.weights_sha256()
    again = [{k: v for k, v in row.items() if k != "seconds"} for row in resumed.history]
    assert again == rows and resumed.epoch == straight.epoch


def test_the_adapted_model_is_an_ordinary_model_file(
    start: PatternModel, source: Labelled, target: Labelled, tmp_path: Path
) -> None:
    config = AdaptationConfig(**{**FAST, "method": "mcd", "inference": "both", "epochs": 1})
    seen: list[float] = []

    def watch(model: PatternModel) -> dict[str, float]:
        seen.append(accuracy(model, target))
        return {"accuracy": seen[-1]}

    adapted = adapt(config, [source], target.patterns, classes=CLASSES, start=start, watch=watch)
    again = PatternModel.load(adapted.model.save(tmp_path / "m.pt"))
    assert np.array_equal(
        again.probabilities(target.patterns), adapted.model.probabilities(target.patterns)
    )
    assert accuracy(again, target) == seen[-1] == adapted.history[-1]["watch_accuracy"]
    assert again.card.weights_origin == f"model sha256 {start.weights_sha256()}"
    assert again.card.training["adaptation"]["method"] == "mcd"
    # the model it started from is as it was
    assert start.weights_sha256() != again.weights_sha256()


def test_several_sources_are_one(source: Labelled, target: Labelled) -> None:
    config = AdaptationConfig(**{**FAST, "method": "source-only", "epochs": 1})
    half = len(source) // 2
    parts = [
        Labelled(source.patterns[:half], source.labels[:half]),
        Labelled(source.patterns[half:], source.labels[half:]),
    ]
    together = adapt(config, parts, target.patterns, classes=CLASSES)
    one = adapt(config, [source], target.patterns, classes=CLASSES)
    assert together.model.weights_sha256() == one.model.weights_sha256()
    assert together.model.card.training["n_source"] == len(source)


def test_low_and_high_debye_waller_factors_are_the_source_and_every_epoch_has_a_picture(
    banded: SimpleNamespace, tmp_path: Path
) -> None:
    """The paper's source domain is both sets; the held-out patterns are those of the first."""
    low = [dataclasses.replace(s, debye_waller=(0.004, 0.004)) for s in banded.sources()]
    high = [dataclasses.replace(s, debye_waller=(0.006, 0.01), sha256=s.sha256[::-1]) for s in low]
    recipe = banded.recipe(
        debye_waller={"low": [0, 0.0045], "high": [0.005, 0.011]}, patterns_per_class=12
    )
    path = tmp_path / "both.h5"
    build_dataset(recipe, low + high, path, project=banded.project)
    n = {
        (fold, training): len(Labelled.read(path, fold, training=training))
        for fold in (0, None)
        for training in (False, True)
    }
    assert n == {(0, False): 18, (0, True): 36, (None, False): 36, (None, True): 72}

    config = AdaptationConfig.from_dict({**FAST, "steps_per_epoch": 1})
    pool = tmp_path / "pool.npy"
    np.save(pool, np.random.default_rng(0).integers(0, 255, (20, 32, 32), np.uint8))
    told: list[dict[str, Any]] = []
    result = run_adaptation(
        config, [path], pool, tmp_path / "run", validation_fold=0, on_epoch=told.append
    )
    assert result.n_source == 36 and result.target_accuracy is None
    assert [row["files"]["images"] for row in told] == ["epoch_0001.png", "epoch_0002.png"]
    pictures = [Image.open(tmp_path / "run" / row["files"]["images"]) for row in told]
    assert all(p.width > 6 * 96 and p.height > 4 * 96 for p in pictures)  # 12 of each side
    drawn = [np.asarray(p) for p in pictures]
    # the same patterns in both; the lines of text under them may differ
    assert drawn[0].shape == drawn[1].shape and np.array_equal(drawn[0][:96], drawn[1][:96])


def test_what_the_picture_says() -> None:
    patterns = np.zeros((5, 8, 8), np.uint8)
    known = Shown.spread(patterns, np.array([0, 0, 1, 1, 2]), 3, "source")
    assert known.lines([0, 2, 2], CLASSES) == ["source 221", "source 225, said 229", "source 229"]
    assert Shown(patterns[:1], None, "target").lines([1], CLASSES) == ["target said 225"]
    assert Shown(patterns[:1], np.array([1])).lines([1], CLASSES) == ["225"]


@pytest.mark.parametrize("method", ["mcd", "self-training"])
def test_bfloat16_adapts_and_resumes_to_the_same_bits(
    method: str, source: Labelled, target: Labelled, tmp_path: Path
) -> None:
    """The steps compute in 16 bits; what is learned and written stays in 32."""
    config = AdaptationConfig.from_dict(
        {
            **FAST,
            "method": method,
            "warmup_steps": 1,
            "precision": "bfloat16",
        }
    )

    def run(precision: str, resume: Path | None = None, progress: Any = None) -> Any:
        return adapt(
            dataclasses.replace(config, precision=precision),
            [source],
            target.patterns,
            classes=CLASSES,
            resume=resume,
            progress=progress,
        )

    def stop(done: int, total: int, what: str) -> None:
        if done == 3:
            raise KeyboardInterrupt

    halved = run("bfloat16")
    assert {t.dtype for t in halved.model.network.parameters()} == {torch.float32}
    assert halved.model.card.training["precision"] == "bfloat16"
    whole = run("float32")
    assert halved.model.weights_sha256() != whole.model.weights_sha256()
    first = [adapted.history[0]["loss_source"] for adapted in (halved, whole)]
    assert first[0] == pytest.approx(first[1], rel=0.05) and first[0] != first[1]
    with pytest.raises(KeyboardInterrupt):
        run("bfloat16", tmp_path / "cut.pt", stop)
    resumed = run("bfloat16", tmp_path / "cut.pt")
    assert resumed.model.weights_sha256() == halved.model.weights_sha256()


def test_class_confusion_follows_the_paper() -> None:
    """Equations 3 to 7 of arXiv:1912.03699, written out for each pair of classes."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(6, 4)) * 3
    e = np.exp(logits / 2.5)
    p = e / e.sum(axis=1, keepdims=True)
    h = -(p * np.log(p)).sum(axis=1)
    w = 6 * (1 + np.exp(-h)) / (1 + np.exp(-h)).sum()
    c = np.array(
        [[sum(w[i] * p[i, j] * p[i, k] for i in range(6)) for k in range(4)] for j in range(4)]
    )
    c = c / c.sum(axis=1, keepdims=True)
    expected = sum(c[j, k] for j in range(4) for k in range(4) if j != k) / 4
    assert float(class_confusion(torch.from_numpy(logits), 2.5)) == pytest.approx(expected)
    sure = torch.eye(4).double() * 100
    assert float(class_confusion(sure, 2.5)) == pytest.approx(0, abs=1e-9)


def test_prior_is_found_under_label_shift() -> None:
    """Answers that are exactly right about p(y|x) at equal shares, a pool with shares 6:3:1."""
    rng = np.random.default_rng(0)
    truth = rng.choice(3, 6000, p=[0.6, 0.3, 0.1])
    x = rng.normal(size=6000) + 1.5 * truth
    likelihood = np.exp(-0.5 * (x[:, None] - 1.5 * np.arange(3)) ** 2)
    p = likelihood / likelihood.sum(axis=1, keepdims=True)
    even = np.full(3, 1 / 3)
    prior = estimate_prior(p, even)
    assert prior == pytest.approx([0.6, 0.3, 0.1], abs=0.03)
    before = (p.argmax(axis=1) == truth).mean()
    after = (corrected(p, even, prior).argmax(axis=1) == truth).mean()
    assert after > before + 0.02
    assert estimate_prior(np.tile([1.0, 0, 0], (50, 1)), even).min() > 0


def test_pseudo_labels_are_the_surest_of_each_class() -> None:
    p = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4], [0.45, 0.55]])
    assert pseudo_labels(p, 0.5).tolist() == [0, 0, -1, -1, 1]
    assert pseudo_labels(p, 0.0).tolist() == [0, -1, -1, -1, 1]
    assert pseudo_labels(p, 1.0).tolist() == [0, 0, 0, 0, 1]


@pytest.mark.parametrize("balanced", [True, False])
def test_classes_are_drawn_as_the_settings_say(balanced: bool) -> None:
    config = AdaptationConfig(balanced=balanced, batch_size=4000, prior_correction=False)
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    method = SelfTraining(network, config, np.array([0.5, 0.5]))
    answers = np.array([[0.9, 0.1]] * 90 + [[0.1, 0.9]] * 10)
    method.begin_epoch(0, lambda: answers)
    rows, labels = method.target_rows(0, 100)
    assert (answers[rows].argmax(axis=1) == labels).all()
    assert labels.mean() == pytest.approx(0.5 if balanced else 0.1, abs=0.03)


def test_adabn_takes_the_target_s_averages_and_nothing_else() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
    x = torch.cat([torch.randn(40, 1, 8, 8), 3 + 2 * torch.randn(25, 1, 8, 8)])  # two phases
    before = {k: v.clone() for k, v in network.named_parameters()}
    adapt_batchnorm(network, x.split(32))  # 32, 32 and one alone: every value counts once
    z = network[0](x)
    assert torch.allclose(network[1].running_mean, z.mean(dim=(0, 2, 3)), atol=1e-5)
    assert torch.allclose(network[1].running_var, z.var(dim=(0, 2, 3)), rtol=1e-5)
    assert all(torch.equal(before[k], v) for k, v in network.named_parameters())
    assert network[1].momentum == 0.1 and not network[1].training


def test_the_target_s_averages_are_those_of_all_its_patterns_in_any_order() -> None:
    rng = np.random.default_rng(0)
    sizes, levels = (200, 200, 113), (60, 120, 180)  # three phases; batches of 256 leave one over
    patterns = np.concatenate(
        [rng.normal(m, m / 6, (n, 32, 32)) for n, m in zip(sizes, levels, strict=True)]
    )
    patterns = patterns.clip(0, 255).astype(np.uint8)
    torch.manual_seed(0)
    network, _ = build_model("resnet18", 3)
    grey = Preprocessing(size=32, crop=32, background=0, normalisation="imagenet")

    def answers(given: np.ndarray, batch: int) -> torch.Tensor:
        adapted = copy.deepcopy(network)
        pool = Pool(given, grey, torch.device("cpu"), False)
        adapt_batchnorm(adapted, pool.mixed(batch))
        some = Pool(patterns[::50], grey, torch.device("cpu"), False)
        with torch.no_grad():
            return adapted(next(some.evaluation(32)))

    for given in (patterns, patterns[::-1].copy(), patterns[:257]):
        together = answers(given, len(given))
        # as they come, batches of one phase each would put these answers 1.6 deviations off
        assert (answers(given, 256) - together).abs().max() < 0.15 * together.std()


def test_a_network_is_taken_apart_and_put_together() -> None:
    network, _ = build_model("mobilenet_v3_small", 3)
    network.eval()
    x = torch.randn(2, 1, 32, 32)
    expected = network(x)
    generator, head, path = split(network)
    assert torch.equal(head(generator(x)), expected)
    assert torch.equal(joined(generator, head, path)(x), expected)


def test_rows_visit_everything_before_anything_twice() -> None:
    rows = np.concatenate([rows_of_step(10, 4, step, seed=1, purpose=3) for step in range(5)])
    assert sorted(rows[:10]) == sorted(rows[10:]) == list(range(10))
    assert rows[:10].tolist() != rows[10:].tolist()
    assert len(rows_of_step(3, 8, 5, seed=1, purpose=3)) == 8


def test_what_does_not_fit_is_refused(source: Labelled, target: Labelled) -> None:
    config = AdaptationConfig(**FAST)
    with pytest.raises(DomainError, match=r"target patterns are \(20, 20\)"):
        adapt(config, [source], target.patterns[:, :20, :20], classes=CLASSES)
    with pytest.raises(DomainError, match="expected uint8"):
        adapt(config, [source], target.patterns.astype(float), classes=CLASSES)
    with pytest.raises(DomainError, match="do not cover"):
        adapt(config, [source], target.patterns, classes=(*CLASSES, 230))
    with pytest.raises(AdaptationConfigError, match="warmup_steps"):
        adapt(AdaptationConfig(method="self-training"), [source], target.patterns, classes=CLASSES)
    with pytest.raises(AdaptationConfigError, match="held-out source"):
        adapt(
            AdaptationConfig(criterion="source_validation"),
            [source],
            target.patterns,
            classes=CLASSES,
        )


def test_settings() -> None:
    paper = AdaptationConfig()
    assert (paper.method, paper.model, paper.learning_rate) == ("mcd", "resnet50", 2e-4)
    assert (paper.optimizer, paper.batch_size, paper.epochs) == ("adam", 128, 20)
    assert (paper.generator_steps, paper.criterion) == (4, "last")
    assert AdaptationConfig.from_dict(paper.to_dict()) == paper
    for values, message in (
        ({"lr": 1}, "unknown adaptation setting lr; known: .*learning_rate"),
        ({"method": "dann"}, "method = 'dann': must be one of .*mcd"),
        ({"generator_steps": 0}, "generator_steps = 0"),
        ({"keep_last": 1.5}, "keep_last = 1.5"),
        ({"batchnorm": "frozen"}, "batchnorm"),
        ({"criterion": "accuracy"}, "criterion"),
    ):
        with pytest.raises(AdaptationConfigError, match=message):
            AdaptationConfig.from_dict(values)
