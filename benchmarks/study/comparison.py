"""Part C: methods of adaptation on the synthetic target, three severities, several seeds.

A seed is one source network: that of a fold of part A, as it is (``clean``) or after it has learned
imperfections (see :mod:`study.starts`).  Every method starts from it and gets the same number of
steps with the same settings.  A cell that is finished is a JSON file with its answers beside it;
seeds come one after the other, so that a study cut short still has whole rows.

Which method is recommended is decided on a development target: patterns of the phases that the
seed's network never saw, on yet another detector.  The target has no part in it.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ebsdsg_ml.adaptation import AdaptationConfig
from ebsdsg_ml.ensemble import summary as ensemble_summary
from ebsdsg_ml.ensemble import t_interval
from ebsdsg_ml.synthetic_target import SEVERITIES, TargetPool
from ebsdsg_sim.atomic_file import write_atomically

from .starts import STARTS, Start

if TYPE_CHECKING:
    from ebsdsg_ml.adaptation import Labelled
    from ebsdsg_ml.pattern_model import PatternModel

DEVELOPMENT = "development"
"""Name of the severity that methods are chosen by."""
CONFIRMATION = "confirmation"
"""Name of the last test: the middle severity on the phases that a seed's network never saw."""
UNSEEN = (DEVELOPMENT, CONFIRMATION)
"""Targets that are made of those phases, not of the experiment's."""
CLAIM = "self-training, target averages"
"""What the confirmation is for: then ahead at middle severity, though not what the development
target chose.  The claim was written down before the confirmation was run."""


@dataclass(frozen=True)
class Method:
    """One row of the tables.

    Parameters
    ----------
    settings : of the adaptation, where they are not those of all.
    after : another method whose network is taken, with the target's BatchNorm averages; then there
        is nothing to learn.
    starts : networks that it is tried from.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    after: str | None = None
    starts: tuple[Start, ...] = STARTS


ONLY: tuple[Start, ...] = ("imperfect",)
METHODS: Mapping[str, Method] = {
    "source only": Method({"method": "source-only"}),
    "AdaBN": Method(after="source only"),
    "MCC": Method({"method": "mcc"}, starts=ONLY),
    "MCC, target averages": Method(after="MCC", starts=ONLY),
    "self-training": Method({"method": "self-training", "epochs": 3}, starts=ONLY),
    "self-training, target averages": Method(
        {"method": "self-training", "epochs": 3, "statistics": "target"}, starts=ONLY
    ),
    "MCD separate": Method({"method": "mcd", "batchnorm": "separate"}),
    "MCD separate, target averages": Method(after="MCD separate", starts=ONLY),
    "MCD joint": Method({"method": "mcd", "batchnorm": "joint"}),
    "MCD joint, target averages": Method(after="MCD joint", starts=ONLY),
}
"""Methods by their name in the tables.  "Target averages": BatchNorm answers with the averages of
the target's patterns (``statistics: target``), else with the running ones, as in the paper."""


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
        own = dict(METHODS[name].settings)
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


def chosen(cells: Iterable[Mapping[str, Any]]) -> str | None:
    """Method with the highest mean on the development target; None if it was not asked.

    Parameters
    ----------
    cells : of :func:`run_cell`.
    """
    by_method: dict[str, list[float]] = {}
    for cell in cells:
        if cell["severity"] == DEVELOPMENT:
            by_method.setdefault(cell["method"], []).append(cell["per_phase"])
    return max(by_method, key=lambda name: float(np.mean(by_method[name])), default=None)


def cell_name(cell: Mapping[str, Any]) -> str:
    """Name of a cell's files."""
    method = cell["method"].replace(",", "").replace(" ", "_")
    return f"{cell['severity']}-{cell['start']}-{method}-{cell['seed']}"


@dataclass(frozen=True)
class Trial:
    """What a cell is about: everything but the method.

    Parameters
    ----------
    severity, start, seed : where the cell stands in the tables.
    network : that it starts from.
    source : labelled patterns.
    pool : target patterns; all that a method sees of the target.
    truth : (n,) classes of the pool, for the accuracy alone.
    classes : space groups.
    folder : of the comparison.
    """

    severity: str
    start: Start
    seed: int
    network: PatternModel
    source: Labelled
    pool: TargetPool
    truth: np.ndarray
    classes: Sequence[int]
    folder: Path

    def named(self, method: str) -> dict[str, Any]:
        """What names a cell."""
        return {
            "method": method,
            "severity": self.severity,
            "start": self.start,
            "seed": self.seed,
        }

    def model_path(self, method: str) -> Path:
        """Where the network of a method is kept; source only is one for all severities."""
        if METHODS[method].settings.get("method") == "source-only":
            return self.folder / "models" / f"source_only-{self.start}-{self.seed}.pt"
        return self.folder / "models" / f"{cell_name(self.named(method))}.pt"


def run_cell(budget: Budget, name: str, trial: Trial) -> dict[str, Any]:
    """One method in one trial, or what an earlier start found.

    Parameters
    ----------
    budget, name : what to do.
    trial : where.
    """
    cell = trial.folder / f"{cell_name(trial.named(name))}.json"
    if cell.exists():
        return json.loads(cell.read_text())
    started = time.process_time()
    model, extra = _adapted(budget, name, trial)
    probabilities = model.probabilities(trial.pool.patterns)
    spent = time.process_time() - started
    right = probabilities.argmax(axis=1) == trial.truth
    phases = [
        float(right[trial.pool.phases == phase].mean()) for phase in np.unique(trial.pool.phases)
    ]
    groups = [float(right[trial.truth == c].mean()) for c in np.unique(trial.truth)]
    values = {
        **trial.named(name),
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


def _adapted(budget: Budget, name: str, trial: Trial) -> tuple[PatternModel, dict[str, Any]]:
    from ebsdsg_ml.adaptation import adapt
    from ebsdsg_ml.pattern_model import PatternModel

    after = METHODS[name].after
    if after is not None:
        run_cell(budget, after, trial)
        model = PatternModel.load(trial.model_path(after))
        take_target_averages(model, trial.pool.patterns)
        model.save(trial.model_path(name))
        return model, {}
    path = trial.model_path(name)
    config = budget.config(name, trial.seed)
    if config.method == "source-only" and path.exists():
        return PatternModel.load(path), {}
    # source only sees no target: two source patterns stand where one has to be
    plain = config.method == "source-only"
    target = trial.source.patterns[:2] if plain else trial.pool.patterns
    made = adapt(config, [trial.source], target, classes=trial.classes, start=trial.network)
    made.model.save(path)
    last = made.history[-1]
    kept = ("entropy", "agreement", "largest_share", "neighbourhood_density")
    extra = {} if plain else {"prior": made.prior, **{key: last[key] for key in kept}}
    return made.model, extra


def take_target_averages(model: PatternModel, patterns: np.ndarray) -> None:
    """Give a network the BatchNorm averages of some patterns, (n, size, size) uint8; in place."""
    import torch

    from ebsdsg_ml.adaptation.domains import Pool
    from ebsdsg_ml.adaptation.network import adapt_batchnorm

    inputs = Pool(patterns, model.card.preprocessing, torch.device("cpu"), False)
    adapt_batchnorm(model.network, inputs.mixed(256))


def summary(
    cells: Iterable[Mapping[str, Any]],
    answers: Mapping[str, np.ndarray],
    truths: Mapping[str, np.ndarray],
) -> list[dict[str, Any]]:
    """One row per start, severity and method.

    Parameters
    ----------
    cells : of :func:`run_cell`, without those of the development target.
    answers : name of a cell -> (n, classes) probabilities of the pool.
    truths : severity -> (n,) classes.

    Returns
    -------
    Rows with the mean accuracy per phase over the seeds and its interval (Student), the seeds'
    values, the number of collapsed runs, and the accuracies of the votes and of the mean.
    """
    rows = []
    found: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for cell in cells:
        found.setdefault((cell["start"], cell["severity"], cell["method"]), []).append(cell)
    order = [(start, s, name) for start in STARTS for s in SEVERITIES for name in METHODS]
    for key in order:
        if key not in found:
            continue
        mine = sorted(found[key], key=lambda c: c["seed"])
        start, severity, name = key
        truth = truths[severity]
        stack = np.stack([answers[cell_name(c)] for c in mine]).astype(float)
        stack /= stack.sum(axis=2, keepdims=True)
        shares = np.bincount(truth, minlength=stack.shape[2]) / len(truth)
        together = ensemble_summary(stack, truth, pool=shares)
        values = [c["per_phase"] for c in mine]
        rows.append(
            {
                "start": start,
                "severity": severity,
                "method": name,
                "seeds": [c["seed"] for c in mine],
                "values": values,
                "interval": t_interval(values).to_dict(),
                "per_class": t_interval([c["per_class"] for c in mine]).to_dict(),
                "collapsed": len(together["collapsed"]),
                "majority": together["all"]["majority"],
                "averaged": together["all"]["averaged"],
                "cpu_seconds": float(np.mean([c["cpu_seconds"] for c in mine])),
                "phases": np.mean([c["phases"] for c in mine], axis=0).tolist(),
            }
        )
    return rows


def unseen(cells: Iterable[Mapping[str, Any]], name: str) -> list[dict[str, Any]]:
    """One row per method on a target of unseen phases.

    Parameters
    ----------
    cells : of :func:`run_cell`.
    name : :data:`DEVELOPMENT` or :data:`CONFIRMATION`.

    Returns
    -------
    Rows with the mean over the seeds, its interval (Student) and the seeds' values.
    """
    rows = []
    cells = [c for c in cells if c["severity"] == name]
    for method in METHODS:
        mine = sorted((c for c in cells if c["method"] == method), key=lambda c: c["seed"])
        if mine:
            values = [c["per_phase"] for c in mine]
            rows.append(
                {
                    "start": "imperfect",
                    "severity": name,
                    "method": method,
                    "seeds": [c["seed"] for c in mine],
                    "values": values,
                    "interval": t_interval(values).to_dict(),
                    "cpu_seconds": float(np.mean([c["cpu_seconds"] for c in mine])),
                }
            )
    return rows


def paired(rows: Sequence[Mapping[str, Any]], severity: str, better: str, than: str) -> Any:
    """Difference of two methods from the imperfect start, seed by seed, with its interval.

    None where one of them is missing.
    """
    found = {
        r["method"]: r for r in rows if r["severity"] == severity and r["start"] == "imperfect"
    }
    if better not in found or than not in found:
        return None
    first = dict(zip(found[better]["seeds"], found[better]["values"], strict=True))
    second = dict(zip(found[than]["seeds"], found[than]["values"], strict=True))
    both = sorted(first.keys() & second.keys())
    return t_interval([first[s] - second[s] for s in both]).to_dict() if both else None
