"""A run whose worker is killed or whose database goes away ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pymongo.errors import AutoReconnect
from striped_patterns import striped_dataset

from ebsdsg_flows.learning import train_classifier
from ebsdsg_flows.run_log import LogNotDelivered, RunLog, TakenAway
from ebsdsg_flows.training_runs import TrainingFailed, carry_out
from ebsdsg_ml.training import TrainingConfig, train
from stores.collections import Stores
from stores.connect import connect
from stores.documents import DatasetDocument, TrainingRunDocument
from stores.embedded import ensure_running, stop
from stores.identity import content_hash
from stores.states import StateError

TRAINING: dict[str, Any] = {
    "model": "mobilenet_v3_small",
    "epochs": 4,
    "batch_size": 8,
    "learning_rate": 0.01,
    "checkpoint_steps": 1,
    "threads": 1,
}


@pytest.fixture
def dataset(stores: Stores, root: Path) -> DatasetDocument:
    """24 patterns of 4 phases in 2 folds, as a document of the database."""
    return striped_dataset(stores, root)


def check_whole(stores: Stores, run: TrainingRunDocument, straight: str, root: Path) -> None:
    """One document, every epoch once and in order, the weights of the undisturbed run."""
    assert stores.training_runs.count_documents({}) == 1
    assert run.state == "completed"
    assert [row["epoch"] for row in run.epochs] == [1, 2, 3, 4]
    assert [image.epoch for image in run.images] == [1, 2, 3, 4]
    assert all((root / image.path).is_file() for image in run.images)
    assert [point.epoch for point in run.checkpoints] == [1, 2, 3, 4]
    assert run.computed_with["weights_sha256"] == straight


def straight_weights(dataset: DatasetDocument, root: Path, directory: Path) -> str:
    config = TrainingConfig.from_dict(TRAINING)
    path = root / dataset.file.path
    return train(config, path, directory, validation_fold=0, device="cpu").weights_sha256


@pytest.mark.slow
def test_killed_at_any_step_it_ends_with_the_same_weights_and_one_whole_document(
    stores: Stores, root: Path, dataset: DatasetDocument, tmp_path: Path
) -> None:
    step = random.SystemRandom().randint(1, 7)
    script = tmp_path / "run.py"
    script.write_text(
        textwrap.dedent(f"""
        import json, os, signal
        from ebsdsg_flows import learning
        from ebsdsg_flows.run_log import RunLog
        from ebsdsg_flows.session import open_stores
        from stores.documents import DatasetDocument

        def killed(self, done, total, what):
            if done == {step}:
                os.kill(os.getpid(), signal.SIGKILL)

        RunLog.step = killed
        stores = open_stores()
        dataset = stores.get(DatasetDocument, {dataset.key!r})
        learning.train_classifier(stores, dataset, 0, json.loads({json.dumps(TRAINING)!r}))
        """)
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    died = subprocess.run([sys.executable, script], env=environment, check=False)
    assert died.returncode == -signal.SIGKILL
    found = stores.training_runs.find_one({})
    assert found is not None and found["state"] == "running"
    run = train_classifier(stores, dataset, 0, TRAINING)
    check_whole(stores, run, straight_weights(dataset, root, tmp_path / "straight"), root)
    # what is finished is not touched
    assert train_classifier(stores, dataset, 0, TRAINING) == run


@pytest.mark.slow
def test_database_stopped_during_training_loses_nothing(
    stores: Stores,
    root: Path,
    dataset: DatasetDocument,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It goes away in the second epoch and comes back when the training has long ended."""
    away: list[int] = []
    told = RunLog.step

    def step(self: RunLog, done: int, total: int, what: str) -> None:
        told(self, done, total, what)
        if done == 3:
            assert stop(root)
        if done >= 3:
            away.append(done)

    monkeypatch.setattr(RunLog, "step", step)
    back = threading.Timer(6.0, ensure_running, (root,))
    back.start()
    try:
        run = train_classifier(stores, dataset, 0, TRAINING)
    finally:
        back.join()
    assert away[-1] == 8, "it trained on while the database was away"
    check_whole(stores, run, straight_weights(dataset, root, tmp_path / "straight"), root)


def waiting_run(stores: Stores) -> TrainingRunDocument:
    run = TrainingRunDocument(
        key="run", config={}, dataset=content_hash({}), labels="true", fold=None
    )
    stores.add(run)
    return run


def row(epoch: int) -> dict[str, Any]:
    return {
        "epoch": epoch,
        "step": 10 * epoch,
        "train_loss": 1 / epoch,
        "validation_loss": None,
        "files": {"images": f"epoch_{epoch}.png", "checkpoint": "resume.ckpt"},
    }


def epochs(stores: Stores) -> list[int]:
    found = stores.get(TrainingRunDocument, "run")
    assert found is not None
    return [int(entry["epoch"]) for entry in found.epochs]


def make_log(stores: Stores, root: Path, **options: Any) -> RunLog:
    return RunLog(stores, "run", root / "training" / "run", root, every=0.1, **options)


def failing(original: Callable[..., Any], times: int, *, after: bool) -> Callable[..., Any]:
    """An update that loses its request or its acknowledgement some times."""
    left = [times]

    def update_one(*arguments: Any, **options: Any) -> Any:
        pushes = "$push" in arguments[1]
        result = original(*arguments, **options) if after or not (pushes and left[0]) else None
        if pushes and left[0]:
            left[0] -= 1
            raise AutoReconnect("connection closed")
        return result

    return update_one


@pytest.mark.parametrize("after", [True, False])
def test_lost_requests_and_lost_acknowledgements_arrive_once(
    stores: Stores, root: Path, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    waiting_run(stores)
    monkeypatch.setattr("ebsdsg_flows.run_log.RETRY", 0.05)
    broken = failing(stores.training_runs.update_one, 3, after=after)
    collection = type("Broken", (), {"update_one": staticmethod(broken)})()
    collection.find_one = stores.training_runs.find_one
    monkeypatch.setattr(stores, "training_runs", collection)
    with make_log(stores, root) as log:
        for number in (1, 2, 3):
            log.epoch(row(number))
    assert epochs(stores) == [1, 2, 3]


def test_a_resumed_run_tells_again_and_nothing_is_doubled(stores: Stores, root: Path) -> None:
    waiting_run(stores)
    with make_log(stores, root) as log:
        log.epoch(row(1))
        log.epoch(row(2))
    with (root / "training" / "run" / "log.jsonl").open("a") as file:
        file.write('{"values": {"epoch": 3.0, "st')  # cut off by a kill
    with make_log(stores, root) as log:
        for number in (1, 2, 3):
            log.epoch(row(number))
    assert epochs(stores) == [1, 2, 3]
    document = stores.get(TrainingRunDocument, "run")
    assert document is not None
    assert document.images[2].path == "training/run/epoch_3.png"
    assert document.epochs[1] == {"epoch": 2.0, "step": 20.0, "train_loss": 0.5}


def test_an_undelivered_log_is_delivered_by_the_next_worker(stores: Stores, root: Path) -> None:
    waiting_run(stores)
    directory = root / "training" / "run"
    with make_log(stores, root) as log:
        log.epoch(row(1))
    lines = (directory / "log.jsonl").read_text()
    (directory / "log.jsonl").write_text(lines + lines.replace("1.0", "2.0"))
    with make_log(stores, root):
        pass
    assert epochs(stores) == [1, 2]


def test_a_lost_folder_begins_the_history_anew(stores: Stores, root: Path) -> None:
    waiting_run(stores)
    with make_log(stores, root) as log:
        log.epoch(row(1))
        log.epoch(row(2))
    (root / "training" / "run" / "log.jsonl").unlink()
    with make_log(stores, root) as log:
        log.epoch(row(1))
    assert epochs(stores) == [1]


def test_a_database_that_stays_away_is_said_and_the_run_is_not_failed(
    stores: Stores, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = waiting_run(stores)
    monkeypatch.setattr("ebsdsg_flows.run_log.PATIENCE", 0.5)
    monkeypatch.setattr(RunLog.__init__, "__kwdefaults__", {"patience": 0.5})

    def compute(directory: Path, log: RunLog) -> dict[str, Any]:
        def away(*arguments: Any) -> None:
            raise AutoReconnect("gone")

        monkeypatch.setattr(log, "_deliver", away)
        log.epoch(row(1))
        return {}

    started = time.monotonic()
    with pytest.raises(LogNotDelivered, match=r"1 epochs of training run run are in .*log\.jsonl"):
        carry_out(stores, run, compute)
    assert time.monotonic() - started < 10
    found = stores.get(TrainingRunDocument, "run")
    assert found is not None and found.state == "running" and found.epochs == []
    again = carry_out(stores, found, lambda directory, log: {})
    assert again.state == "completed" and epochs(stores) == [1]


class Worker:
    """A worker of its own connection that computes the run until it is let go."""

    def __init__(
        self, root: Path, run: TrainingRunDocument, error: Exception | None = None
    ) -> None:
        self.begun, self.let_go = threading.Event(), threading.Event()
        self.raised: list[BaseException] = []
        self._run, self._root, self._error = run, root, error
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def _work(self) -> None:
        with connect(root=self._root) as stores:
            try:
                carry_out(stores, self._run, self._compute)
            except Exception as error:
                self.raised.append(error)

    def _compute(self, directory: Path, log: RunLog) -> dict[str, Any]:
        self.begun.set()
        step = 0
        while not self.let_go.wait(0.05):
            step += 1
            log.step(step, 1000, "waiting")
        if self._error is not None:
            raise self._error
        return {"accuracy": 0.25}

    def end(self) -> None:
        self.let_go.set()
        self.thread.join(30)


def never(directory: Path, log: RunLog) -> dict[str, Any]:
    raise AssertionError("two workers compute one run in one folder")


def test_a_second_worker_waits_for_the_first(stores: Stores, root: Path) -> None:
    run = waiting_run(stores)
    first = Worker(root, run)
    assert first.begun.wait(30)
    threading.Timer(1.5, first.let_go.set).start()
    running = stores.get(TrainingRunDocument, "run")
    assert running is not None and running.state == "running"
    found = carry_out(stores, running, never)
    first.end()
    assert not first.raised
    assert found.state == "completed" and found.accuracy == 0.25


def test_a_second_worker_does_not_repeat_what_failed(stores: Stores, root: Path) -> None:
    run = waiting_run(stores)
    first = Worker(root, run, OSError(28, "No space left on device"))
    assert first.begun.wait(30)
    threading.Timer(1.5, first.let_go.set).start()
    with pytest.raises(TrainingFailed, match=r"failed at another worker: .*No space left"):
        carry_out(stores, run, never)
    first.end()
    # asked for again, it is tried again
    assert carry_out(stores, run, lambda directory, log: {}).state == "completed"


def test_what_another_machine_left_is_taken_over_and_its_worker_ends_nothing(
    stores: Stores, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = waiting_run(stores)
    first = Worker(root, run)
    assert first.begun.wait(30)
    far = {"claim.run": "another", "claim.owner.host": "elsewhere"}
    stores.training_runs.update_one({"key": "run"}, {"$set": far})
    first.thread.join(30)  # it notices by itself
    assert [type(error) for error in first.raised] == [TakenAway]
    left = stores.get(TrainingRunDocument, "run")
    assert left is not None and left.state == "running" and left.finished is None
    monkeypatch.setattr("ebsdsg_flows.training_runs.STALE", timedelta(seconds=1))
    found = carry_out(stores, run, lambda directory, log: {"accuracy": 0.75})
    assert found.state == "completed" and found.accuracy == 0.75


def test_a_run_that_another_worker_has_is_not_ended(stores: Stores, root: Path) -> None:
    run = waiting_run(stores)

    def compute(directory: Path, log: RunLog) -> dict[str, Any]:
        stores.training_runs.update_one(
            {"key": "run"},
            {"$set": {"claim.run": "another", "state": "completed", "accuracy": 0.5}},
        )
        return {"accuracy": 0.25}

    with pytest.raises((StateError, TakenAway)):
        carry_out(stores, run, compute)
    found = stores.get(TrainingRunDocument, "run")
    assert found is not None and found.accuracy == 0.5


def test_a_run_that_an_older_version_left_running_is_taken_over(stores: Stores, root: Path) -> None:
    run = waiting_run(stores)
    old = {"state": "running", "heartbeat": run.heartbeat - timedelta(hours=1)}
    stores.training_runs.update_one({"key": "run"}, {"$set": old, "$unset": {"claim": True}})
    found = stores.get(TrainingRunDocument, "run")
    assert found is not None and found.claim is None
    assert carry_out(stores, found, lambda directory, log: {}).state == "completed"
