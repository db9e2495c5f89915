"""What relabelling and adaptation are worth, measured on a CPU; writes docs/validation/learning.md.

One command::

    python benchmarks/learning_study.py --structures SHARED/data/structures/mp_cubic.jsonl.gz

chooses phases from a Materials Project snapshot by a rule, simulates their master patterns, trains
networks with true and with relabelled groups, and compares the methods of adaptation on a synthetic
target.  Everything that is finished is a file in the cache: a study that was killed goes on where
it was, and several processes may share the work (``--part``).
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from study import bank, comparison, page, pictures, real, relabelling, relabelling_tables

from ebsdsg_ml.adaptation import Labelled
from ebsdsg_ml.pattern_model import PatternModel
from ebsdsg_ml.pattern_source import PatternSource
from ebsdsg_ml.protocol import TrainingConfig
from ebsdsg_ml.recipe import LabelKind
from ebsdsg_ml.synthetic_target import SEVERITIES, TargetPool, target_pool
from ebsdsg_sim.atomic_file import write_atomically

REPOSITORY = Path(__file__).parents[1]
PARTS = ("simulate", "relabelling", "comparison", "real", "page")
PROTOCOL = relabelling.Protocol(
    size=48,
    patterns_per_class=1100,
    n_folds=5,
    test_patterns=40,
    seed=2024,
    training=TrainingConfig(
        model="resnet18",
        epochs=8,
        batch_size=64,
        optimizer="adamw",
        learning_rate=2e-3,
        weight_decay=0.01,
        schedule="onecycle",
        precision="auto",
        threads=1,
    ),
)
BUDGET = comparison.Budget(steps=12, warmup=20, batch_size=24, learning_rate=5e-4)
SEEDS = 5
RECORDED, KEPT = 60, 30


class Study:
    """Where the study is, and its parts.

    Parameters
    ----------
    cache : folder of everything that is computed.
    structures, experiment : snapshot and phases of the experiment.
    """

    def __init__(self, cache: Path, structures: Path, experiment: Path) -> None:
        self.cache = cache
        self.bank = cache / "bank"
        self.bank.mkdir(parents=True, exist_ok=True)
        self.phases = bank.source_phases(self.bank, structures)
        self.target = bank.target_phases(self.bank, experiment)

    def simulate(self) -> None:
        """Master patterns of source and target."""
        for kind, phases in (("base", self.phases), ("target", self.target)):
            bank.simulate_phases(self.bank, kind, phases, say)

    def folder(self, name: str) -> Path:
        """A folder of the cache, made if it is not there."""
        path = self.cache / name
        path.mkdir(exist_ok=True)
        return path

    def sources(self) -> list[PatternSource]:
        """Master patterns of the first set."""
        return bank.sources(self.bank, "base", self.phases)

    def relabelling(
        self, labels: Sequence[LabelKind] = relabelling.LABELS, folds: Sequence[int] | None = None
    ) -> None:
        """All cells of part A, fold by fold."""
        sources, folder = self.sources(), self.folder("relabelling")
        for fold in range(PROTOCOL.n_folds) if folds is None else folds:
            for label in labels:
                cell = relabelling.run_cell(PROTOCOL, label, fold, sources, folder)
                say(
                    f"{label} groups, fold {fold}: {cell['validation_accuracy']:.1%} in "
                    f"{cell['training_cpu_seconds']:.0f} CPU-s"
                )

    def pool(self, severity: str) -> TargetPool:
        """Target patterns of a severity, kept in a file."""
        path = self.folder("comparison") / f"target-{severity}.npz"
        if not path.exists():
            sources = bank.sources(self.bank, "target", self.target)
            made = target_pool(
                SEVERITIES[severity],
                sources,
                size=PROTOCOL.size,
                recorded=RECORDED,
                kept=KEPT,
                seed=PROTOCOL.seed,
            )
            partial = path.with_suffix(".tmp")
            with partial.open("wb") as file:
                np.savez(file, **made.__dict__)
            partial.replace(path)
        with np.load(path, allow_pickle=False) as stored:
            return TargetPool(stored["patterns"], stored["phases"], stored["quality"])

    def truth(self) -> np.ndarray:
        """Classes of a pool's patterns: of every phase the same number."""
        labels = [relabelling.CLASSES.index(p.relabelled) for p in self.target]
        return np.repeat(labels, KEPT)

    def comparison(self, seeds: Sequence[int], severities: Sequence[str]) -> None:
        """All cells of part C, seed by seed."""
        folder = self.folder("comparison")
        source = Labelled.read(self.folder("relabelling") / "relabelled.h5")
        pools = {severity: self.pool(severity) for severity in severities}
        for seed in seeds:
            start = self.cache / "relabelling" / f"run-relabelled-{seed}" / "model.pt"
            model = PatternModel.load(start)
            for severity in severities:
                for name in comparison.METHODS:
                    cell = comparison.run_cell(
                        BUDGET,
                        name,
                        severity,
                        seed,
                        model,
                        source,
                        pools[severity],
                        self.truth(),
                        folder,
                        relabelling.CLASSES,
                    )
                    say(
                        f"seed {seed}, {severity}, {name}: {cell['per_phase']:.1%} in "
                        f"{cell['cpu_seconds']:.0f} CPU-s"
                    )

    def real(self, folder: Path) -> None:
        """Answers of part A's networks for the real patterns."""
        runs = sorted((self.cache / "relabelling").glob("run-relabelled-*/result.json"))
        models = [run.with_name("model.pt") for run in runs]
        if not models:
            raise SystemExit("no network with relabelled groups is finished yet")
        rows = real.answers(folder, models, PROTOCOL.recipe("relabelled"))
        write_atomically(self.cache / "real.json", json.dumps(rows, indent=1).encode())

    def results(self) -> dict[str, Any]:
        """All tables, from the finished cells alone."""
        cells = [json.loads(p.read_text()) for p in self._cells("relabelling")]
        labels = {
            "true": {p.key: p.true for p in self.phases},
            "relabelled": {p.key: p.relabelled for p in self.phases},
        }
        compared = [json.loads(p.read_text()) for p in self._cells("comparison")]
        answers = {
            (c["severity"], c["method"], c["seed"]): np.load(
                self.cache / "comparison" / f"{comparison.cell_name(c)}.npy"
            )
            for c in compared
        }
        truth = self.truth()
        rows = comparison.summary(compared, answers, truth)
        return {
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "torch": torch.__version__,
            "protocol": PROTOCOL.to_dict(),
            "budget": BUDGET.__dict__,
            "recorded": RECORDED,
            "kept": KEPT,
            "seeds": SEEDS,
            "places": {str(group): list(window) for group, window in bank.STRUCTURES.items()},
            "phases": [
                {"key": p.key, "formula": p.formula, "true": p.true, "relabelled": p.relabelled}
                for p in self.phases
            ],
            "target": [
                {"key": p.key, "true": p.true, "relabelled": p.relabelled} for p in self.target
            ],
            "severities": {name: s.to_dict() for name, s in SEVERITIES.items()},
            "simulation_cpu_seconds": {
                kind: bank.cpu_seconds(self.bank, kind, phases)
                for kind, phases in (("base", self.phases), ("target", self.target))
            },
            "real": json.loads((self.cache / "real.json").read_text())
            if (self.cache / "real.json").exists()
            else [],
            "relabelling": relabelling_tables.summary(cells, labels),
            "comparison": rows,
            "margin": {
                severity: {
                    than: comparison.paired(rows, severity, comparison.CHOSEN, than)
                    for than in ("source only", "MCD separate", "MCD joint")
                }
                for severity in SEVERITIES
            },
        }

    def _cells(self, part: str) -> list[Path]:
        return sorted(self.folder(part).glob("*.json"))


def say(line: str) -> None:
    """Print at once, also into a file."""
    print(datetime.now(UTC).strftime("%H:%M:%S"), line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    shared = Path(os.environ.get("EBSDSG_SHARED", REPOSITORY.parent / "shared"))
    folder = shared / "data/structures"
    parser.add_argument("--structures", type=Path, default=folder / "mp_cubic.jsonl.gz")
    parser.add_argument("--experiment", type=Path, default=folder / "phases18.json.gz")
    parser.add_argument("--patterns", type=Path, default=shared / "data/patterns")
    parser.add_argument("--cache", type=Path, default=REPOSITORY / ".learning_study")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "docs/validation")
    parser.add_argument("--part", choices=PARTS, action="append", help="default: all, in order")
    parser.add_argument("--label", choices=relabelling.LABELS, action="append")
    parser.add_argument("--fold", type=int, action="append")
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--severity", choices=tuple(SEVERITIES), action="append")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    study = Study(arguments.cache, arguments.structures, arguments.experiment)
    parts = arguments.part or PARTS
    if "simulate" in parts:
        study.simulate()
    if "relabelling" in parts:
        study.relabelling(arguments.label or relabelling.LABELS, arguments.fold)
    if "comparison" in parts:
        seeds = range(SEEDS) if arguments.seed is None else arguments.seed
        study.comparison(list(seeds), arguments.severity or list(SEVERITIES))
    if "real" in parts:
        study.real(arguments.patterns)
    if "page" in parts:
        results = study.results()
        arguments.output.mkdir(parents=True, exist_ok=True)
        content = json.dumps(results, indent=1) + "\n"
        write_atomically(arguments.output / "learning.json", content.encode())
        pictures.draw(results, arguments.output)
        shown = [p.key for p in study.target][::3]
        some = {name: study.pool(name).patterns[:: 3 * KEPT] for name in SEVERITIES}
        pictures.target_picture(some, shown, arguments.output / "learning_target.png")
        write_atomically(arguments.output / "learning.md", page.page(results).encode())
        say(f"wrote {arguments.output / 'learning.md'}")


if __name__ == "__main__":
    main()
