"""Speed of training and of adaptation against the plain loops they replace.

    python benchmarks/learning.py [--size 64] [--batch 32] [--device cpu]

prints a table and writes ``docs/performance/learning.json``.  Times on a CPU are processor time, so
that a busy machine does not count; on a GPU they are wall time.  The patterns are random numbers:
no time depends on what they show.  The work of a step is that of its convolutions and matrix
products, forward and backward, as torch counts it; it is set against the rate of a large matrix
product on the same device.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from ebsdsg_ml.adaptation import AdaptationConfig
from ebsdsg_ml.adaptation.mcd import MCD
from ebsdsg_ml.datasets import PatternSource, build_dataset
from ebsdsg_ml.models import build_model
from ebsdsg_ml.pattern_dataset import PatternDataset
from ebsdsg_ml.protocol import TrainingConfig
from ebsdsg_ml.recipe import DatasetRecipe
from ebsdsg_ml.training import resolve_precision, train
from ebsdsg_ml.training_loop import preprocessing_of
from ebsdsg_sim.atomic_file import write_atomically

CLASSES = (221, 223, 225, 227, 229)
RESULT = Path(__file__).parents[1] / "docs" / "performance" / "learning.json"


def random_dataset(path: Path, size: int, per_class: int) -> None:
    """A data set of noise with two phases per class, in two folds."""
    rng = np.random.default_rng(0)
    sources = [
        PatternSource(
            phase=f"p{group}-{i}",
            formula="X",
            labels={"true": group, "relabelled": group},
            path=Path("/nowhere"),
            sha256=f"{group:032x}{i:032x}",
        )
        for group in CLASSES
        for i in range(2)
    ]
    recipe = DatasetRecipe(
        label="relabelled", classes=CLASSES, patterns_per_class=per_class, size=size, n_folds=2
    )

    def noise(source: PatternSource, quaternions: np.ndarray) -> np.ndarray:
        return rng.integers(0, 256, (len(quaternions), size, size), np.uint8)

    build_dataset(recipe, sources, path, project=noise)


class Clock:
    """Processor time on a CPU, wall time on a GPU, after it has finished."""

    def __init__(self, device: str) -> None:
        self.device = device

    def __call__(self) -> float:
        """Seconds since some moment."""
        if self.device == "cpu":
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()


def seconds_per_step(clock: Clock, step: Callable[[], object], warm: int, steps: int) -> float:
    """Least time of a step, after some to warm up: other programs only ever add to it."""
    times = []
    for number in range(warm + steps):
        start = clock()
        step()
        if number >= warm:
            times.append(clock() - start)
    return min(times)


def work_of(step: Callable[[], object]) -> int:
    """Floating-point operations of a step's convolutions and matrix products."""
    with FlopCounterMode(display=False) as counter:
        step()
    return int(counter.get_total_flops())


def product_rate(device: str, precision: str, n: int = 2048) -> float:
    """Floating-point operations per second of a product of two n x n matrices, the best of ten."""
    kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
    a, b = (torch.randn(n, n, device=device, dtype=kind) for _ in range(2))
    return 2 * n**3 / seconds_per_step(Clock(device), lambda: a @ b, 2, 10)


def autocast(precision: str, device: str) -> Any:
    """The precision's context."""
    enabled = precision == "bfloat16"
    return torch.autocast(device, torch.bfloat16, enabled=enabled, cache_enabled=False)


def plain_training(
    config: TrainingConfig, path: Path, device: str, precision: str, steps: int
) -> tuple[float, int]:
    """Seconds per step of the loop that anyone would write, and the work of a step."""
    data = PatternDataset(path, 0)
    preprocessing = preprocessing_of(config, data.recipe.size)
    network = build_model(config.model, len(CLASSES))[0].to(device)
    network = network.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.001, momentum=0.9)
    generator = torch.Generator().manual_seed(0)
    rng = np.random.default_rng(0)

    def step() -> None:
        rows = rng.choice(len(data), config.batch_size, replace=False)
        patterns = torch.from_numpy(data.read(rows)).to(device)
        labels = torch.from_numpy(data.labels[rows]).to(device)
        inputs = preprocessing.for_training(patterns, generator)
        optimizer.zero_grad()
        with autocast(precision, device):
            logits = network(inputs.contiguous(memory_format=torch.channels_last))
        cross_entropy(logits.float(), labels).backward()
        optimizer.step()

    return seconds_per_step(Clock(device), step, 3, steps), work_of(step)


def our_training(
    config: TrainingConfig, path: Path, folder: Path, device: str, log: Any = None
) -> dict[str, float]:
    """Seconds per step inside an epoch, and per epoch beside its steps."""
    clock = Clock(device)
    marks: list[tuple[int, float]] = []

    def progress(done: int, total: int, what: str) -> None:
        if log is not None:
            log.step(done, total, what)
        marks.append((done, clock()))

    train(
        config,
        path,
        folder,
        validation_fold=1,
        progress=progress,
        on_epoch=None if log is None else log.epoch,
        device=device,
    )
    per_epoch = marks[-1][0] // config.epochs
    inside = [b - a for (n, a), (_, b) in pairwise(marks) if n % per_epoch]
    between = [b - a for (n, a), (_, b) in pairwise(marks) if not n % per_epoch]
    step = min(inside[2:])
    return {"step": step, "epoch_end": min(between) - step}


def dassl_step(method: MCD, source: Any, labels: Any, target: Any, precision: str) -> None:
    """The steps of Dassl's mcd.py in its order, with nothing shared between them."""
    device = source.device.type
    generator = method.networks["generator"]
    heads = [method.networks["first"], method.networks["second"]]

    def logits(features: Any) -> list[Any]:
        return [head(features).float() for head in heads]

    def apart(features: Any) -> Any:
        first, second = logits(features)
        return (first.softmax(1) - second.softmax(1)).abs().mean()

    def descend(loss: Any, *names: str) -> None:
        for optimizer in method.optimizers.values():
            optimizer.zero_grad()
        loss.backward()
        for name in names:
            method.optimizers[name].step()

    with autocast(precision, device):
        loss = sum(cross_entropy(found, labels) for found in logits(generator(source)))
        descend(loss, "generator", "first", "second")
        with torch.no_grad():
            features_s, features_t = generator(source), generator(target)
        loss = sum(cross_entropy(found, labels) for found in logits(features_s))
        descend(loss - apart(features_t), "first", "second")
        for _ in range(method.config.generator_steps):
            descend(apart(generator(target)), "generator")


def mcd(
    size: int, batch: int, model: str, device: str, precision: str, steps: int
) -> dict[str, tuple[float, int]]:
    """Seconds per step of MCD and its work: ours in both modes, and Dassl's order."""
    source = torch.randn(batch, 1, size, size, device=device)
    source = source.contiguous(memory_format=torch.channels_last)
    target = source.flip(0).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(len(CLASSES), (batch,), device=device)
    found = {}
    for name in ("separate", "joint", "dassl"):
        config = AdaptationConfig(batchnorm="joint" if name == "joint" else "separate")
        network: nn.Module = build_model(model, len(CLASSES))[0].to(device)
        method = MCD(network.to(memory_format=torch.channels_last), config)
        method.networks.train()

        def ours(method: MCD = method) -> None:
            with autocast(precision, device):
                method.step(source, labels, target, None)

        def plain(method: MCD = method) -> None:
            dassl_step(method, source, labels, target, precision)

        step = plain if name == "dassl" else ours
        found[name] = seconds_per_step(Clock(device), step, 1, steps), work_of(step)
    return found


def logging_cost(folder: Path, epochs: int = 200) -> dict[str, float]:
    """Milliseconds that the training waits for its log, per epoch and per step."""
    from ebsdsg_flows.run_log import RunLog
    from stores.connect import connect
    from stores.documents import TrainingRunDocument
    from stores.embedded import stop

    root = folder / "root"
    stores = connect(root=root)
    try:
        stores.add(TrainingRunDocument(key="run", config={}, dataset="0" * 64, labels="true"))
        with RunLog(stores, "run", root / "training" / "run", root, every=1.0) as log:
            start = time.perf_counter()
            for epoch in range(1, epochs + 1):
                log.epoch({"epoch": epoch, "step": epoch, "train_loss": 0.5})
            per_epoch = (time.perf_counter() - start) / epochs
            start = time.perf_counter()
            for step in range(10000):
                log.step(step, 10000, "")
            per_step = (time.perf_counter() - start) / 10000
        found = stores.get(TrainingRunDocument, "run")
        assert found is not None and len(found.epochs) == epochs
    finally:
        stores.close()
        stop(root)
    return {"epoch_ms": per_epoch * 1e3, "step_us": per_step * 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=64, help="pixels of a pattern")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=12, help="timed steps of each loop")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--model", default="resnet18", help="of MCD; training is of ResNet18")
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16", "auto"))
    parser.add_argument("--json", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.disable(logging.WARNING)
    precision = resolve_precision(options.precision, options.device)
    config = TrainingConfig(
        epochs=3, batch_size=options.batch, precision=precision, threads=options.threads
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "noise.h5"
        per_fold = options.batch * (options.steps // 2 + 1)
        random_dataset(path, options.size, max(4, 2 * per_fold // len(CLASSES)))
        # an epoch's patterns are shared out evenly: both loops get the batches that ours has
        n = len(PatternDataset(path, 0))
        batch = n // -(-n // options.batch)
        config = replace(config, batch_size=batch)
        plain, work = plain_training(config, path, options.device, precision, options.steps)
        ours = our_training(config, path, folder / "run", options.device)
        log = logging_cost(folder)
    step = mcd(
        options.size - 1,
        options.batch,
        options.model,
        options.device,
        precision,
        options.steps // 3,
    )
    rows = [
        ("ResNet18, plain torch loop", plain, work, batch),
        ("ResNet18, ours", ours["step"], work, batch),
        (f"MCD {options.model}, Dassl's order", *step["dassl"], 2 * options.batch),
        (f"MCD {options.model}, ours, separate", *step["separate"], 2 * options.batch),
        (f"MCD {options.model}, ours, joint", *step["joint"], 2 * options.batch),
    ]
    rate = product_rate(options.device, precision)
    device = (
        torch.cuda.get_device_name() if options.device == "cuda" else platform.processor() or "CPU"
    )
    print(
        f"{options.size} x {options.size} pixels, batch {options.batch}, {precision}, "
        f"{options.threads} thread(s), {device}, load {os.getloadavg()[0]:.1f}"
    )
    print(f"{'':36} {'ms/step':>9} {'steps/s':>9} {'images/s':>9} {'GFLOP':>9} {'of matmul':>9}")
    for title, seconds, flop, images in rows:
        print(
            f"{title:36} {seconds * 1e3:9.1f} {1 / seconds:9.2f} {images / seconds:9.1f} "
            f"{flop / 1e9:9.1f} {flop / seconds / rate:9.0%}"
        )
    print(f"a product of 2048 x 2048 matrices: {rate / 1e9:.0f} GFLOP/s")
    print(f"overhead of our loop: {100 * (ours['step'] / plain - 1):.1f} % of a step")
    print(f"end of an epoch (validation, picture, files): {ours['epoch_end']:.2f} s")
    print(f"log: {log['epoch_ms']:.2f} ms per epoch, {log['step_us']:.2f} us per step")
    result = {
        "settings": {k: str(v) if k == "json" else v for k, v in vars(options).items()},
        "precision": precision,
        "device": device,
        "torch": torch.__version__,
        "load": os.getloadavg()[0],
        "seconds_per_step": {title: seconds for title, seconds, _, _ in rows},
        "images_per_step": {title: images for title, _, _, images in rows},
        "flop_per_step": {title: flop for title, _, flop, _ in rows},
        "product_flop_per_second": rate,
        "epoch_end_seconds": ours["epoch_end"],
        "log": log,
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    result["settings"].pop("json")
    write_atomically(options.json, (json.dumps(result, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
