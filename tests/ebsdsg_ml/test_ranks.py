"""Several devices make the steps of one training, and end together however they end."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ebsdsg_ml import ranks
from ebsdsg_ml.pattern_dataset import PatternDataset
from ebsdsg_ml.protocol import TrainingConfig, TrainingConfigError
from ebsdsg_ml.ranks import Rank
from ebsdsg_ml.sampler import EpochSampler
from ebsdsg_ml.training import TrainingError, TrainingResult, train
from ebsdsg_ml.training_loop import held_out_batches

# neither BatchNorm nor dropout, and no chance in the crops: devices differ in nothing but the sums
PLAIN: dict[str, Any] = {
    "model": "timm/test_convnext",
    "epochs": 2,
    "batch_size": 16,
    "learning_rate": 0.05,
    "flips": False,
    "crop": 32,
    "threads": 1,
    "checkpoint_steps": 1,
}


def test_ranks_share_every_batch_and_have_equally_many(dataset: Path) -> None:
    patterns = PatternDataset(dataset)
    samplers = [EpochSampler(patterns, 32, 3, share=Rank(n, 3).share) for n in range(3)]
    whole = EpochSampler(patterns, 32, 3).batches(0)
    for batch, *parts in zip(whole, *samplers, strict=True):
        assert sorted(np.concatenate(parts)) == sorted(batch)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert samplers[1].state_dict() == samplers[2].state_dict()
    for n in (3, 128, 385, 1000):
        shares = [held_out_batches(n, Rank(r, 3)) for r in range(3)]
        assert len({len(share) for share in shares}) == 1
        assert sorted(i for share in shares for part in share for i in part) == list(range(n))
        assert all(1 <= len(part) <= 128 for share in shares for part in share)


@pytest.mark.slow
def test_two_devices_train_what_one_does_and_go_on_when_one_of_them_was_killed(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """60 patterns in 4 batches of 15: the shares are 8 and 7, and count so in the mean."""
    started: list[subprocess.Popen[bytes]] = []
    start = ranks._start
    monkeypatch.setattr(ranks, "_start", lambda *a: started.append(start(*a)) or started[-1])

    def run(name: str, devices: int, **options: Any) -> TrainingResult:
        config = TrainingConfig(**PLAIN, devices=devices)
        return train(config, dataset, tmp_path / name, validation_fold=0, device="cpu", **options)

    one, two = run("one", 1), run("two", 2)
    assert len(started) == 1 and started[0].poll() is not None
    for name in ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy"):
        alone, together = ([row[name] for row in r.history] for r in (one, two))
        assert together == pytest.approx(alone, rel=2e-4), name
    assert two.history[0]["train_loss"] != two.history[1]["train_loss"]
    assert np.sum(two.confusion) == two.n_validation == 60
    names = sorted(path.name for path in two.directory.iterdir())
    assert names == sorted(path.name for path in one.directory.iterdir())

    def kill(done: int, total: int, what: str) -> None:
        if done == 3:
            started[-1].kill()

    told: list[int] = []
    with pytest.raises(TrainingError, match="the process of device 1 ended with code -9"):
        run("killed", 2, progress=kill)
    resumed = run("killed", 2, progress=lambda done, *_: told.append(done))
    assert told == [4, 5, 6, 7, 8]
    assert resumed.weights_sha256 == two.weights_sha256
    assert [r["train_loss"] for r in resumed.history] == [r["train_loss"] for r in two.history]
    with pytest.raises(TrainingError, match=r"holds another run .*devices"):
        run("killed", 1)
    assert all(process.poll() is not None for process in started)


@pytest.mark.slow
def test_another_rank_ends_when_rank_0_does_and_says_why_it_could_not_begin(
    dataset: Path, tmp_path: Path
) -> None:
    task = {"dataset": str(dataset), "validation_fold": 0, "threads": 1, "device": "cpu"}
    task |= {"config": PLAIN, "directory": str(tmp_path), "precision": "32-true"}
    waiting = ranks._start(Rank(1, 2), tmp_path, task)
    assert waiting.stdout is not None and waiting.stdin is not None
    assert waiting.stdout.readline() == b"ready\n"
    waiting.stdin.close()  # as the system does when rank 0 is killed
    assert waiting.wait(timeout=60) == 1
    waiting.stdout.close()
    with (
        pytest.raises(TrainingError, match=r"device 1 ended with code 1: .*does not exist"),
        ranks.all_ranks(2, "cpu", {**task, "dataset": "nowhere.h5"}),
    ):
        pytest.fail("there is no second rank")


def test_what_cannot_be_shared_out_is_refused(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TrainingConfigError, match="4 devices need two patterns each"):
        TrainingConfig(devices=4, batch_size=6)
    with pytest.raises(TrainingConfigError, match="devices = 0"):
        TrainingConfig(devices=0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    with pytest.raises(TrainingConfigError, match=r"devices = 3: this machine has 2 GPU"):
        ranks.check_devices(3, "cuda")
    with pytest.raises(TrainingConfigError, match="devices = 2: the device 'cuda:1' is one"):
        ranks.check_devices(2, "cuda:1")
    with pytest.raises(TrainingConfigError, match="there are 2 held-out patterns"):
        held_out_batches(2, Rank(0, 3))
