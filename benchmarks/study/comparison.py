"""Part C: methods of adaptation on the synthetic target, three severities, several seeds.

A seed is one source network: that of a fold of part A.  Every method starts from it and gets the
same number of steps with the same settings.  A
cell that is finished is a JSON file with its answers beside it; seeds come one after the other, so
that a study cut short still has whole rows.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ebsdsg_ml.adaptation import AdaptationConfig
from ebsdsg_ml.ensemble import summary as ensemble_summary
from ebsdsg_ml.ensemble import t_interval
from ebsdsg_ml.synthetic_target import SEVERITIES, TargetPool
from ebsdsg_sim.atomic_file import write_atomically

if TYPE_CHECKING:
    from ebsdsg_ml.adaptation import Labelled
    from ebsdsg_ml.pattern_model import PatternModel

METHODS: Mapping[str, Mapping[str, Any]] = {
    "source only": {"method": "source-only"},
    "AdaBN": {"method": "adabn"},
    "MCC": {"method": "mcc"},
    "self-training": {"method": "self-training", "epochs": 2},
    "MCD separate": {"method": "mcd", "batchnorm": "separate"},
    "MCD joint": {"method": "mcd", "batchnorm": "joint"},
}
"""Methods by the name in the tables, with what their settings have of their own."""


@dataclass(frozen=True)
class Budget:
    """What every run of the comparison gets.

    Parameters
    ----------
    steps : steps of every method.
    warmup : steps on the source alone that MCD gets besides, because its two heads start from
        random weights.
    batch_size, learning_rate : of all methods (Adam).
    """

    steps: int
    warmup: int
    batch_size: int
    learning_rate: float

    def config(self, name: str, seed: int) -> AdaptationConfig:
        """Settings of a method."""
        own = dict(METHODS[name])
        epochs = own.pop("epochs", 1)
        warmup = self.warmup if own["method"] == "mcd" else 0
        return AdaptationConfig(
            model="resnet18",
            epochs=epochs,
            steps_per_epoch=self.steps // epochs + warmup,
            warmup_steps=warmup,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            precision="auto",
            threads=1,
            seed=seed,
            **own,
        )


CHOSEN = "self-training"
"""The method recommended before anything was measured here: what holds up under label shift."""


def cell_name(cell: Mapping[str, Any]) -> str:
    """Name of a cell's files."""
    return f"{cell['severity']}-{cell['method'].replace(' ', '_')}-{cell['seed']}"


def _no_target(source: Labelled) -> np.ndarray:
    """Two source patterns: what source-only training is given where a target has to be."""
    return source.patterns[:2]


def run_cell(
    budget: Budget,
    name: str,
    severity: str,
    seed: int,
    start: PatternModel,
    source: Labelled,
    pool: TargetPool,
    truth: np.ndarray,
    folder: Path,
    classes: Sequence[int],
) -> dict[str, Any]:
    """One method on one severity with one seed, or what an earlier start found.

    Parameters
    ----------
    budget, name, severity, seed : what to do.
    start, source : the seed's network, and labelled patterns.
    pool : target patterns; all that the method sees of the target.
    truth : (n,) classes of the pool, for the accuracy alone.
    folder : of the comparison.
    classes : space groups.
    """
    stem = cell_name({"severity": severity, "method": name, "seed": seed})
    cell = folder / f"{stem}.json"
    if cell.exists():
        return json.loads(cell.read_text())
    started = time.process_time()
    model, extra = _adapted(budget, name, seed, start, source, pool, classes, folder)
    probabilities = model.probabilities(pool.patterns)
    spent = time.process_time() - started
    if name != "source only":
        model.save(folder / "models" / f"{stem}.pt")
    right = probabilities.argmax(axis=1) == truth
    phases = [float(right[pool.phases == p].mean()) for p in np.unique(pool.phases)]
    groups = [float(right[truth == c].mean()) for c in np.unique(truth)]
    values = {
        "method": name,
        "severity": severity,
        "seed": seed,
        "per_phase": float(np.mean(phases)),
        "per_class": float(np.mean(groups)),
        "phases": phases,
        "cpu_seconds": spent,
        **extra,
    }
    buffer = io.BytesIO()
    np.save(buffer, probabilities.astype(np.float32))
    write_atomically(cell.with_suffix(".npy"), buffer.getbuffer())
    write_atomically(cell, json.dumps(values, indent=1).encode())
    return values


def _adapted(
    budget: Budget,
    name: str,
    seed: int,
    start: PatternModel,
    source: Labelled,
    pool: TargetPool,
    classes: Sequence[int],
    folder: Path,
) -> tuple[PatternModel, dict[str, Any]]:
    from ebsdsg_ml.adaptation import adapt
    from ebsdsg_ml.pattern_model import PatternModel

    config = budget.config(name, seed)
    if config.method in ("source-only", "adabn"):
        # the target has no part in their steps: one training serves all severities
        path = folder / f"longer-{seed}.pt"
        if not path.exists():
            plain = budget.config("source only", seed)
            trained = adapt(plain, [source], _no_target(source), classes=classes, start=start)
            trained.model.save(path)
        model = PatternModel.load(path)
        if config.method == "adabn":
            _take_target_averages(model, pool)
        return model, {}
    made = adapt(config, [source], pool.patterns, classes=classes, start=start)
    last = made.history[-1]
    kept = ("entropy", "agreement", "largest_share", "neighbourhood_density")
    return made.model, {"prior": made.prior, **{key: last[key] for key in kept}}


def _take_target_averages(model: PatternModel, pool: TargetPool) -> None:
    import torch

    from ebsdsg_ml.adaptation.domains import Pool
    from ebsdsg_ml.adaptation.network import adapt_batchnorm

    inputs = Pool(pool.patterns, model.card.preprocessing, torch.device("cpu"), False)
    adapt_batchnorm(model.network, inputs.evaluation(256))


def summary(
    cells: Iterable[Mapping[str, Any]],
    answers: Mapping[tuple[str, str, int], np.ndarray],
    truth: np.ndarray,
) -> list[dict[str, Any]]:
    """One row per severity and method.

    Parameters
    ----------
    cells : of :func:`run_cell`.
    answers : (severity, method, seed) -> (n, classes) probabilities of the pool.
    truth : (n,) classes.

    Returns
    -------
    Rows with the mean accuracy per phase over the seeds and its interval (Student), the seeds'
    values, the number of collapsed runs, and the accuracies of the votes and of the mean.
    """
    rows = []
    cells = list(cells)
    for severity in SEVERITIES:
        for name in METHODS:
            mine = sorted(
                (c for c in cells if c["severity"] == severity and c["method"] == name),
                key=lambda c: c["seed"],
            )
            if not mine:
                continue
            stack = np.stack([answers[severity, name, c["seed"]] for c in mine]).astype(float)
            stack /= stack.sum(axis=2, keepdims=True)
            shares = np.bincount(truth, minlength=stack.shape[2]) / len(truth)
            together = ensemble_summary(stack, truth, pool=shares)
            values = [c["per_phase"] for c in mine]
            per_class = [c["per_class"] for c in mine]
            rows.append(
                {
                    "severity": severity,
                    "method": name,
                    "seeds": [c["seed"] for c in mine],
                    "values": values,
                    "interval": t_interval(values).to_dict(),
                    "per_class": t_interval(per_class).to_dict(),
                    "collapsed": len(together["collapsed"]),
                    "majority": together["all"]["majority"],
                    "averaged": together["all"]["averaged"],
                    "cpu_seconds": float(np.mean([c["cpu_seconds"] for c in mine])),
                    "phases": np.mean([c["phases"] for c in mine], axis=0).tolist(),
                }
            )
    return rows


def paired(rows: Sequence[Mapping[str, Any]], severity: str, better: str, than: str) -> Any:
    """Difference of two methods, seed by seed, with its interval; None without both."""
    found = {r["method"]: r for r in rows if r["severity"] == severity}
    if better not in found or than not in found:
        return None
    first = dict(zip(found[better]["seeds"], found[better]["values"], strict=True))
    second = dict(zip(found[than]["seeds"], found[than]["values"], strict=True))
    both = sorted(first.keys() & second.keys())
    return t_interval([first[s] - second[s] for s in both]).to_dict() if both else None
