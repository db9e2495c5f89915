"""How long a training waits for its patterns: ResNet18 at 224 x 224, stored and on-the-fly data.

    python benchmarks/loader.py MASTER_PATTERN... [--json FILE] [--page FILE] [--steps N]

One process trains with one thread, one worker process makes the patterns: two processor cores.  The
share of time that the training spends waiting for the next batch is measured within one run, so a
busy machine slows both sides.  The first step of every run, in which worker and maps are loaded, is
left out.  Where there is a GPU, training and projection run on it together, in one process.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from ebsdsg_ml.classifier import collate
from ebsdsg_ml.datasets import PatternSource, build_dataset, file_sha256
from ebsdsg_ml.models import build_model
from ebsdsg_ml.pattern_bank import PatternBank
from ebsdsg_ml.pattern_dataset import PatternDataset, open_patterns
from ebsdsg_ml.recipe import DatasetRecipe
from ebsdsg_ml.sampler import EpochSampler
from ebsdsg_ml.transforms import Preprocessing

SIZE, CROP = 229, 224
NOISY = {
    "geometry": True,
    "counts": True,
    "blur": True,
    "hot_pixels": True,
    "saturation": True,
    "dynamic": True,
    "quantisation": True,
}


def make(paths: list[Path], folder: Path, generation: str, noisy: bool) -> Path:
    """Data set of some master patterns; half of them are called one class, half another."""
    sources = [
        PatternSource(p.stem, p.stem, {"true": (221, 225)[i % 2]}, p, file_sha256(p))
        for i, p in enumerate(paths)
    ]
    recipe = DatasetRecipe(
        classes=(221, 225),
        patterns_per_class=256,
        size=SIZE,
        n_folds=2,
        generation=generation,  # type: ignore[arg-type]
        imperfections=NOISY if noisy else {},
    )
    path = folder / f"{generation}-{noisy}.h5"
    build_dataset(recipe, sources, path)
    return path


def measure(patterns: PatternDataset, steps: int, batch: int, device: str) -> dict[str, float]:
    """Train some steps; say how long they took and how long they waited."""
    torch.manual_seed(0)
    network, _ = build_model("resnet18", 2, seed=0)
    network = network.to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9)
    preprocessing = Preprocessing(SIZE, CROP)
    generator = torch.Generator().manual_seed(0)
    sampler = EpochSampler(patterns, batch, seed=0)
    waited = worked = 0.0
    for step in range(steps + 1):
        if step % len(sampler) == 0:
            loader = iter(
                DataLoader(
                    patterns,  # type: ignore[arg-type]
                    batch_sampler=sampler,  # type: ignore[arg-type]
                    collate_fn=collate,
                    num_workers=1 if device == "cpu" else 0,
                )
            )
        begun = time.perf_counter()
        images, labels, _ = next(loader)
        _finish(device)
        fetched = time.perf_counter()
        inputs = preprocessing.for_training(images.to(device), generator)
        optimizer.zero_grad()
        cross_entropy(network(inputs), labels.to(device)).backward()
        optimizer.step()
        _finish(device)
        sampler.advance()
        if step:
            waited += fetched - begun
            worked += time.perf_counter() - fetched
    return {
        "step_s": worked / steps,
        "wait_s": waited / steps,
        "waiting_share": waited / (waited + worked),
    }


def loader_alone(patterns: PatternDataset, batch: int, device: str) -> dict[str, float]:
    """Patterns per second and per CPU-second that one process gives when nobody trains."""
    sampler = EpochSampler(patterns, batch, seed=0)
    batches = sampler.batches(0)
    patterns.__getitems__(batches[0].tolist())
    _finish(device)
    wall, cpu = time.perf_counter(), time.process_time()
    n = 0
    for indices in batches[1:9]:
        n += len(patterns.__getitems__(indices.tolist()))
    _finish(device)
    return {
        "patterns_per_s": n / (time.perf_counter() - wall),
        "patterns_per_cpu_s": n / (time.process_time() - cpu),
    }


def _finish(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def page(result: dict[str, Any]) -> str:
    """The page of the documentation."""
    where = "one GPU" if result["device"] == "cuda" else "two processor cores"
    rows = "\n".join(
        f"| {name} | {r['step_s']:.2f} | {1000 * r['wait_s']:.1f} "
        f"| {100 * r['waiting_share']:.2f} % | {r['patterns_per_cpu_s']:.0f} |"
        for name, r in result["runs"].items()
    )
    return f"""# Speed of the data sets

Does a training wait for its patterns? ResNet18 on {CROP} × {CROP} pixels, batches of
{result["batch"]}, on {where}: one process trains with one thread, one worker makes the patterns.
`benchmarks/loader.py` measures, within one run, how long the training waits for the next batch.

| data | step [s] | waiting [ms] | share of the time | patterns per CPU-second of the worker |
|---|---|---|---|---|
{rows}

Master patterns: {", ".join(result["master_patterns"])}; {result["steps"]} steps each after one
that is not counted. “Maps take turns” allows memory for two maps, so that blocks of phases are
loaded one after the other; “imperfections” are geometry jitter, counts, blur, hot pixels,
saturation, dynamic background correction and quantisation. Times per step depend on how busy the
machine is; the share of the time hardly does, because both sides have it equally.

The target is a share of at most 5 %. {result["verdict"]}

Not measured: {result["not_measured"]}

Machine: {result["machine"]}; peak memory of the training process {result["peak_mib"]:.0f} MiB.
"""


def main() -> None:
    """Run everything, print a table, write JSON and page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("master_patterns", nargs="+", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--batch", type=int, default=16)
    options = parser.parse_args()
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    runs: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = {
            kind: make(options.master_patterns, folder, *kind)
            for kind in (("stored", False), ("fresh", False), ("fresh", True))
        }
        fresh = files["fresh", False]
        readers = {
            "stored, compressed": PatternDataset(
                files["stored", False], training=True, in_memory=False
            ),
            "on the fly": open_patterns(fresh, training=True, device=device),
            "on the fly, maps take turns": PatternBank(
                fresh,
                training=True,
                device=device,
                memory=2 * max(PatternBank(fresh).map_bytes.values()),
            ),
            "on the fly, imperfections": open_patterns(
                files["fresh", True], training=True, device=device
            ),
        }
        for label, reader in readers.items():
            runs[label] = measure(reader, options.steps, options.batch, device) | loader_alone(
                reader, options.batch, device
            )
            print(label, {key: round(value, 4) for key, value in runs[label].items()}, flush=True)
    worst = max(runs.values(), key=lambda run: run["waiting_share"])["waiting_share"]
    result = {
        "device": device,
        "batch": options.batch,
        "steps": options.steps,
        "master_patterns": [path.stem for path in options.master_patterns],
        "runs": runs,
        "verdict": f"{'Met' if worst <= 0.05 else 'Missed'}: the largest is {100 * worst:.2f} %.",
        "not_measured": "a GPU; none was at hand." if device == "cpu" else "the processor alone.",
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}",
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    if options.page:
        options.page.write_text(page(result))
    print(f"largest share of time waiting: {100 * worst:.2f} % (target 5 %)")


if __name__ == "__main__":
    main()
