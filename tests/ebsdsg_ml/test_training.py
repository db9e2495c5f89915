"""Training learns, stops and goes on to the same bits, and never runs twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ebsdsg_ml.evaluate import EvaluationError, evaluate, join
from ebsdsg_ml.model_file import ModelFileError, state_sha256
from ebsdsg_ml.pattern_dataset import PatternDataset
from ebsdsg_ml.pattern_model import PatternModel
from ebsdsg_ml.protocol import TrainingConfig, TrainingConfigError
from ebsdsg_ml.training import TrainingError, TrainingResult, resolve_precision, train
from ebsdsg_ml.transforms import TransformError
from ebsdsg_sim.detector import Detector
from ebsdsg_sim.device import DeviceError

FAST: dict[str, Any] = {
    "batch_size": 16,
    "optimizer": "adamw",
    "learning_rate": 2e-3,
    "schedule": "onecycle",
    "threads": 1,
}


class Cut(Exception):
    """Stands for whatever stops a run."""


def without_times(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in history]


@pytest.fixture(scope="module")
def trained(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    """A run long enough to learn the stand-in's classes."""
    torch.set_num_threads(1)
    directory = tmp_path_factory.mktemp("run")
    config = TrainingConfig(epochs=12, **FAST)
    return train(config, dataset, directory, validation_fold=0, device="cpu")


def test_it_learns_phases_it_never_saw(trained: TrainingResult, dataset: Path) -> None:
    assert trained.validation_accuracy is not None and trained.validation_accuracy > 0.85
    assert trained.history[0]["train_loss"] > 2 * trained.history[-1]["train_loss"]
    accuracies = [row["validation_accuracy"] for row in trained.history]
    assert trained.best_epoch == 1 + int(np.argmax(accuracies))
    assert np.sum(trained.confusion) == trained.n_validation == 60
    assert trained.weights_origin == "none" and trained.n_training == 60


def test_the_model_file_gives_the_validation_again(trained: TrainingResult, dataset: Path) -> None:
    model = PatternModel.load(trained.model_path)
    assert model.weights_sha256() == trained.weights_sha256
    result = evaluate(model, dataset, 0)
    assert result.held_out and result.accuracy.value == trained.validation_accuracy
    assert result.confusion.tolist() == trained.confusion
    assert not evaluate(model, dataset, 1).held_out
    assert model.card.training["best_epoch"] == trained.best_epoch
    assert model.card.dataset_sha256 == trained.dataset_sha256
    # the recipe leaves the geometry to the default; the file tells it in numbers
    size = model.card.preprocessing.size
    assert Detector(shape=(size, size), **model.card.detector) == Detector.paper(size)
    rows = result.by_phase()
    assert len(rows) == 6 and {r["formula"] for r in rows} == {r["phase"].upper() for r in rows}
    json.dumps(result.to_dict())


def test_saved_and_loaded_predict_the_same(
    trained: TrainingResult, dataset: Path, tmp_path: Path
) -> None:
    model = PatternModel.load(trained.model_path)
    patterns = PatternDataset(dataset).read(range(20))
    before = model.probabilities(patterns)
    again = PatternModel.load(model.save(tmp_path / "copy.pt"))
    assert (again.probabilities(patterns) == before).all()
    assert np.allclose(before.sum(axis=1), 1) and again.card == model.card
    # in parts or at once: the same answers
    assert np.allclose(model.probabilities(patterns, batch=7), before, atol=1e-6)
    with pytest.raises(TransformError, match="expected"):
        model.probabilities(patterns[:, :-1])


def test_nothing_but_the_run_is_left_behind(trained: TrainingResult) -> None:
    names = sorted(p.name for p in trained.directory.iterdir())
    pictures = [f"epoch_{epoch:04d}.png" for epoch in range(1, 13)]
    assert names == [*pictures, "metrics.csv", "model.pt", "result.json", "run.json"]
    lines = (trained.directory / "metrics.csv").read_text().splitlines()
    assert len(lines) == 13 and lines[0].startswith("epoch,step,learning_rate,train_loss,")
    assert lines[-1].split(",")[3] == str(trained.history[-1]["train_loss"])
    with Image.open(trained.directory / "epoch_0012.png") as picture:
        assert picture.width > 6 * 96 and picture.height > 4 * 96


def test_it_stops_early_and_a_kill_after_the_last_epoch_changes_nothing(
    dataset: Path, tmp_path: Path
) -> None:
    """A learning rate of zero: the second epoch is no better, nor is the third."""
    values = {**FAST, "learning_rate": 0.0, "model": "mobilenet_v3_small"}
    config = TrainingConfig(epochs=9, patience=2, **values)

    def killed(row: dict[str, Any]) -> None:
        if row["epoch"] == 3:
            raise Cut

    with pytest.raises(Cut):
        train(config, dataset, tmp_path / "a", validation_fold=0, on_epoch=killed, device="cpu")
    told: list[int] = []
    result = train(
        config,
        dataset,
        tmp_path / "a",
        validation_fold=0,
        on_epoch=lambda row: told.append(row["epoch"]),
        device="cpu",
    )
    assert told == [1, 2, 3] and result.best_epoch == 1
    straight = train(config, dataset, tmp_path / "b", validation_fold=0, device="cpu")
    assert len(straight.history) == 3 and straight.weights_sha256 == result.weights_sha256


def test_a_finished_run_is_not_trained_again(
    trained: TrainingResult, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ebsdsg_ml.training_loop as loop

    monkeypatch.setattr(loop, "run_training", lambda *a, **k: pytest.fail("trained twice"))
    told: list[dict[str, Any]] = []
    again = train(
        trained.config, dataset, trained.directory, validation_fold=0, on_epoch=told.append
    )
    assert again == trained and told == trained.history
    with pytest.raises(TrainingError, match=r"holds another run .*validation_fold"):
        train(trained.config, dataset, trained.directory, validation_fold=1)
    with pytest.raises(TrainingError, match=r"holds another run .*epochs"):
        train(TrainingConfig(epochs=2, **FAST), dataset, trained.directory, validation_fold=0)


def test_a_changed_model_file_is_noticed(
    trained: TrainingResult, dataset: Path, tmp_path: Path
) -> None:
    for path in trained.directory.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    content = bytearray((tmp_path / "model.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "model.pt").write_bytes(content)
    with pytest.raises(TrainingError, match="missing or changed"):
        train(trained.config, dataset, tmp_path, validation_fold=0)
    with pytest.raises(ModelFileError, match=r"model\.pt"):
        PatternModel.load(tmp_path / "model.pt")


@pytest.mark.slow
@pytest.mark.parametrize("validation_fold", [0, None])
def test_cut_anywhere_it_goes_on_to_the_same_bits(
    dataset: Path, tmp_path: Path, validation_fold: int | None
) -> None:
    """Cut again and again.  Dropout included: mobilenet's head has it, and it is small."""
    config = TrainingConfig(
        model="mobilenet_v3_small", epochs=2, checkpoint_steps=1, weight_decay=0.01, **FAST
    )
    options: dict[str, Any] = {"validation_fold": validation_fold, "device": "cpu"}
    straight = train(config, dataset, tmp_path / "straight", **options)
    total = straight.history[-1]["step"]
    steps: list[int] = []
    told: list[dict[str, Any]] = []

    def go_on(cut: int | None) -> TrainingResult:
        steps.clear()
        told.clear()

        def progress(done: int, of: int, _: str) -> None:
            assert of == total
            steps.append(done)
            if done == cut:
                raise Cut

        return train(
            config, dataset, tmp_path / "cut", progress=progress, on_epoch=told.append, **options
        )

    # without validation only the epoch's end differs
    first = 1
    for cut in range(1, total + 1) if validation_fold == 0 else (1, total // 2, total):
        with pytest.raises(Cut):
            go_on(cut)
        assert steps == list(range(first, cut + 1))
        # inside an epoch nothing is repeated; its last step is made again with its validation
        first = cut if cut % (total // 2) == 0 else cut + 1
    resumed = go_on(None)
    assert steps == [total]
    assert resumed.weights_sha256 == straight.weights_sha256
    assert without_times(resumed.history) == without_times(straight.history)
    assert [row["epoch"] for row in told] == [1, 2]


@pytest.mark.slow
def test_killed_process_goes_on(dataset: Path, tmp_path: Path) -> None:
    config = TrainingConfig(model="mobilenet_v3_small", epochs=3, checkpoint_steps=2, **FAST)
    straight = train(config, dataset, tmp_path / "straight", validation_fold=0, device="cpu")
    script = tmp_path / "run.py"
    script.write_text(
        textwrap.dedent(f"""
        import json, sys
        from ebsdsg_ml.protocol import TrainingConfig
        from ebsdsg_ml.training import train
        config = TrainingConfig.from_dict(json.loads({json.dumps(config.to_dict())!r}))
        train(config, {str(dataset)!r}, {str(tmp_path / "killed")!r}, validation_fold=0,
              device="cpu", progress=lambda done, of, what: print(done, flush=True))
        """)
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(
        [sys.executable, script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) >= 7:
            os.kill(process.pid, signal.SIGKILL)
            break
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed" / "result.json").exists()
    steps: list[int] = []
    resumed = train(
        config,
        dataset,
        tmp_path / "killed",
        validation_fold=0,
        device="cpu",
        progress=lambda done, of, _: steps.append(done),
    )
    assert steps[0] >= 7
    assert resumed.weights_sha256 == straight.weights_sha256


def test_lightning_is_quiet(
    dataset: Path, clean_dir: Path, capfd: pytest.CaptureFixture[str], recwarn: Any
) -> None:
    config = TrainingConfig(model="mobilenet_v3_small", epochs=1, **FAST)
    global_state = torch.random.get_rng_state()
    train(config, dataset, clean_dir / "run", validation_fold=None, device="cpu")
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
    assert [str(w.message) for w in recwarn if "ightning" in str(w.filename)] == []
    assert [p.name for p in clean_dir.iterdir()] == ["run"]
    assert torch.equal(torch.random.get_rng_state(), global_state)
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_device_that_is_not_there_leaves_no_run(
    dataset: Path, trained: TrainingResult, tmp_path: Path
) -> None:
    config = TrainingConfig(epochs=1, **FAST)
    with pytest.raises(DeviceError, match="cuda:99"):
        train(config, dataset, tmp_path, validation_fold=0, device="cuda:99")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DeviceError, match="cuda:99"):
        PatternModel.load(trained.model_path, device="cuda:99")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_one_gpu_is_chosen_by_its_number(dataset: Path, tmp_path: Path) -> None:
    config = TrainingConfig(epochs=1, **{**FAST, "precision": "auto"})
    result = train(config, dataset, tmp_path, validation_fold=0, device="cuda:0")
    assert (result.device, result.precision) == ("cuda:0", "bfloat16")


def test_what_was_computed_with_is_recorded(dataset: Path, tmp_path: Path) -> None:
    config = TrainingConfig(model="mobilenet_v3_small", epochs=1, precision="bfloat16", **FAST)
    result = train(config, dataset, tmp_path / "run", validation_fold=1, device="cpu")
    assert (result.precision, result.threads, result.device) == ("bfloat16", 1, "cpu")
    card = PatternModel.load(result.model_path).card
    assert card.training["precision"] == "bfloat16" and card.training["validation_fold"] == 1
    assert card.classes == (221, 225, 229) and card.preprocessing.size == 32
    assert all(p.split("-")[0] in ("p221", "p225", "p229") for p in card.training["phases"])
    assert TrainingResult.from_dict(json.loads(json.dumps(result.to_dict()))) == result


def test_a_diverging_run_says_so(dataset: Path, tmp_path: Path) -> None:
    config = TrainingConfig(model="mobilenet_v3_small", learning_rate=1e30, batch_size=16)
    with pytest.raises(TrainingError, match="lower the learning rate"):
        train(config, dataset, tmp_path, validation_fold=0, device="cpu")


def test_cross_validation_answers_every_pattern_once(
    trained: TrainingResult, dataset: Path
) -> None:
    model = PatternModel.load(trained.model_path)
    folds = [evaluate(model, dataset, fold) for fold in (1, 0)]
    whole = join(folds)
    assert len(whole.rows) == 120 and (np.diff(whole.rows) > 0).all()
    assert whole.accuracy.right == sum(f.accuracy.right for f in folds)
    assert not whole.held_out
    with pytest.raises(EvaluationError, match="more than one"):
        join([folds[0], folds[0]])


def test_settings() -> None:
    paper = TrainingConfig()
    assert (paper.model, paper.epochs, paper.learning_rate, paper.momentum) == (
        "resnet18",
        10,
        0.001,
        0.9,
    )
    rates = [paper.learning_rate_factor(step, 100) for step in (0, 699, 700, 1399, 1400)]
    assert rates == pytest.approx([1, 1, 0.9, 0.9, 0.81])
    cycle = TrainingConfig(schedule="onecycle", epochs=10)
    factors = [cycle.learning_rate_factor(step, 10) for step in range(101)]
    assert factors[0] == pytest.approx(0.04) and max(factors) == 1 and factors[30] == 1
    assert factors[99] < 0.001 and factors[100] == pytest.approx(0)
    assert TrainingConfig.from_dict(paper.to_dict()) == paper
    for values, message in (
        ({"lr": 1}, "unknown training setting lr; known: .*learning_rate"),
        ({"epochs": 0}, "epochs = 0"),
        ({"batch_size": 1}, "batch_size = 1"),
        ({"optimizer": "adam"}, "optimizer = 'adam'"),
        ({"learning_rate": float("nan")}, "learning_rate = nan"),
        ({"crop": 0}, "crop = 0"),
        ({"precision": "float64"}, "precision"),
    ):
        with pytest.raises(TrainingConfigError, match=message):
            TrainingConfig.from_dict(values)
    assert resolve_precision("auto", "cpu") in ("float32", "bfloat16")
    assert resolve_precision("float32", "cuda") == "float32"


def test_folds_that_are_not_there(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingConfigError, match="folds 0 to 1"):
        train(TrainingConfig(), dataset, tmp_path, validation_fold=2)


def test_broken_model_files(trained: TrainingResult, tmp_path: Path) -> None:
    whole = trained.model_path.read_bytes()
    path = tmp_path / "m.pt"
    with pytest.raises(ModelFileError, match="does not exist"):
        PatternModel.load(path)
    for content in (b"", b"text", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(ModelFileError, match="cannot be read"):
            PatternModel.load(path)
    torch.save({"weights": {}}, path)
    with pytest.raises(ModelFileError, match="not an ebsdsg model"):
        PatternModel.load(path)


def test_a_model_file_cannot_run_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"format": "ebsdsg model", "card": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(ModelFileError, match="cannot be read"):
        PatternModel.load(tmp_path / "evil.pt")
    assert not (tmp_path / "ran").exists()


def test_state_digest_sees_every_bit() -> None:
    state = {"a": torch.zeros(3), "b": torch.ones(2, dtype=torch.bfloat16)}
    digest = state_sha256(state)
    assert state_sha256(dict(reversed(state.items()))) == digest
    assert state_sha256({**state, "a": torch.tensor([0.0, 0.0, -0.0])}) != digest
