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
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from study import (
    bank,
    choosing,
    comparison,
    page,
    pictures,
    real,
    relabelling,
    relabelling_tables,
    starts,
)

from ebsdsg_ml.adaptation import Labelled
from ebsdsg_ml.dataset_file import open_dataset
from ebsdsg_ml.datasets import build_dataset
from ebsdsg_ml.pattern_model import PatternModel
from ebsdsg_ml.pattern_source import PatternSource
from ebsdsg_ml.protocol import TrainingConfig
from ebsdsg_ml.recipe import LabelKind
from ebsdsg_ml.synthetic_target import SEVERITIES, TargetPool
from ebsdsg_sim.atomic_file import write_atomically

REPOSITORY = Path(__file__).parents[1]
PARTS = ("simulate", "relabelling", "comparison", "real", "page")
PROTOCOL = relabelling.Protocol(
    size=48,
    patterns_per_class=1500,
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
BUDGET = comparison.Budget(steps=24, warmup=15, batch_size=24, learning_rate=5e-4)
SCHOOLING = starts.Schooling()
SEEDS = 5
DEVELOPMENT_SEEDS = 3
RECORDED, KEPT = 60, 30
UNSEEN_RECORDED, UNSEEN_KEPT = 24, 12


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
        """Target patterns of a severity."""
        return starts.stored_pool(
            self.folder("comparison") / f"target-{severity}.npz",
            SEVERITIES[severity],
            bank.sources(self.bank, "target", self.target),
            size=PROTOCOL.size,
            recorded=RECORDED,
            kept=KEPT,
            seed=PROTOCOL.seed,
        )

    def truth(self) -> np.ndarray:
        """Classes of a target pool's patterns: of every phase the same number."""
        labels = [relabelling.CLASSES.index(p.relabelled) for p in self.target]
        return np.repeat(labels, KEPT)

    def unseen_pool(self, name: str, seed: int) -> tuple[TargetPool, np.ndarray]:
        """Patterns of the phases that a seed's network never saw, and their classes."""
        with open_dataset(self.cache / "relabelling" / "relabelled.h5") as opened:
            folds = {row["id"]: row["fold"] for row in opened.phases}
        unseen = [s for s in self.sources() if folds[s.phase] == seed]
        group = {p.key: relabelling.CLASSES.index(p.relabelled) for p in self.phases}
        first = name == comparison.DEVELOPMENT
        pool = starts.stored_pool(
            self.folder("comparison") / f"{name}-{seed}.npz",
            starts.DEVELOPMENT if first else SEVERITIES["middle"],
            unseen,
            size=PROTOCOL.size,
            recorded=UNSEEN_RECORDED,
            kept=UNSEEN_KEPT,
            seed=PROTOCOL.seed + seed + (1 if first else 101),
        )
        return pool, np.repeat([group[s.phase] for s in unseen], UNSEEN_KEPT)

    def source(self, start: starts.Start, seed: int) -> Labelled:
        """Patterns that a seed's network learns from: all folds but its own."""
        name = "relabelled.h5" if start == "clean" else "imperfect.h5"
        path = self.folder("relabelling") / name
        if not path.exists():
            recipe = starts.imperfect_recipe(PROTOCOL)
            build_dataset(recipe, self.sources(), path, compression=None)
        return Labelled.read(path, starts.other_folds(PROTOCOL, seed))

    def network(self, start: starts.Start, seed: int) -> PatternModel:
        """Network that a seed starts from."""
        clean = PatternModel.load(
            self.cache / "relabelling" / f"run-relabelled-{seed}" / "model.pt"
        )
        if start == "clean":
            return clean
        path = self.folder("comparison") / "models" / f"start-{seed}.pt"
        if not path.exists():
            began = time.process_time()
            source = self.source(start, seed)
            model = starts.schooled(clean, source, relabelling.CLASSES, seed, SCHOOLING)
            model.save(path)
            spent = {"cpu_seconds": time.process_time() - began}
            write_atomically(path.with_suffix(".json"), json.dumps(spent).encode())
            say(f"seed {seed}: learned imperfections in {spent['cpu_seconds']:.0f} CPU-s")
        return PatternModel.load(path)

    def trial(self, severity: str, start: starts.Start, seed: int) -> comparison.Trial:
        """What a cell of part C is about."""
        if severity in comparison.UNSEEN:
            pool, truth = self.unseen_pool(severity, seed)
        else:
            pool, truth = self.pool(severity), self.truth()
        folder = self.folder("comparison")
        (folder / "models").mkdir(exist_ok=True)
        return comparison.Trial(
            severity=severity,
            start=start,
            seed=seed,
            network=self.network(start, seed),
            source=self.source(start, seed),
            pool=pool,
            truth=truth,
            classes=relabelling.CLASSES,
            folder=folder,
        )

    def comparison(
        self,
        seeds: Sequence[int],
        severities: Sequence[str],
        from_starts: Sequence[starts.Start] = starts.STARTS,
    ) -> None:
        """All cells of part C, seed by seed; the clean start last, it is the paper's and known."""
        for start in from_starts:
            for seed in seeds:
                for severity in severities:
                    if severity in comparison.UNSEEN and start == "clean":
                        continue
                    if severity == comparison.DEVELOPMENT and seed >= DEVELOPMENT_SEEDS:
                        continue
                    trial = self.trial(severity, start, seed)
                    for name, method in comparison.METHODS.items():
                        if start not in method.starts:
                            continue
                        cell = comparison.run_cell(BUDGET, name, trial)
                        say(
                            f"{start}, seed {seed}, {severity}, {name}: "
                            f"{cell['per_phase']:.1%} in {cell['cpu_seconds']:.0f} CPU-s"
                        )

    def real(self, folder: Path) -> None:
        """Answers of the networks with relabelled groups for the real patterns."""
        clean = sorted((self.cache / "relabelling").glob("run-relabelled-*/model.pt"))
        schooled = sorted((self.cache / "comparison" / "models").glob("start-*.pt"))
        if not clean:
            raise SystemExit("no network with relabelled groups is finished yet")
        rows = real.answers(
            folder, {"clean": clean, "imperfect": schooled}, PROTOCOL.recipe("relabelled")
        )
        write_atomically(self.cache / "real.json", json.dumps(rows, indent=1).encode())

    def results(self) -> dict[str, Any]:
        """All tables, from the finished cells alone."""
        cells = [json.loads(p.read_text()) for p in self._cells("relabelling")]
        labels = {
            "true": {p.key: p.true for p in self.phases},
            "relabelled": {p.key: p.relabelled for p in self.phases},
        }
        compared = [json.loads(p.read_text()) for p in self._cells("comparison")]
        reported = [c for c in compared if c["severity"] not in comparison.UNSEEN]
        answers = {
            name: np.load(self.cache / "comparison" / f"{name}.npy")
            for name in map(comparison.cell_name, reported)
        }
        rows = comparison.summary(reported, answers, dict.fromkeys(SEVERITIES, self.truth()))
        schooled = [
            json.loads(p.read_text())["cpu_seconds"]
            for p in sorted((self.cache / "comparison" / "models").glob("start-*.json"))
        ]
        chosen = comparison.chosen(compared)
        confirmed = comparison.unseen(compared, comparison.CONFIRMATION)
        imperfect = [c for c in reported if c["start"] == "imperfect"]
        return {
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "torch": torch.__version__,
            "protocol": PROTOCOL.to_dict(),
            "budget": BUDGET.__dict__,
            "recorded": RECORDED,
            "kept": KEPT,
            "seeds": SEEDS,
            "schooling": {**SCHOOLING.to_dict(), "cpu_seconds": schooled},
            "chosen": chosen,
            "choosing": choosing.summary(imperfect, answers) if imperfect else None,
            "development": {
                "rows": comparison.unseen(compared, comparison.DEVELOPMENT),
                "recorded": UNSEEN_RECORDED,
                "kept": UNSEEN_KEPT,
            },
            "confirmation": {
                "rows": confirmed,
                "claim": comparison.CLAIM,
                "margin": {
                    than: comparison.paired(
                        confirmed, comparison.CONFIRMATION, comparison.CLAIM, than
                    )
                    for than in comparison.METHODS
                    if than != comparison.CLAIM
                },
            },
            "places": {str(group): list(window) for group, window in bank.STRUCTURES.items()},
            "phases": [
                {"key": p.key, "formula": p.formula, "true": p.true, "relabelled": p.relabelled}
                for p in self.phases
            ],
            "target": [
                {"key": p.key, "true": p.true, "relabelled": p.relabelled} for p in self.target
            ],
            "severities": {name: s.to_dict() for name, s in SEVERITIES.items()},
            "other_detectors": {n: s.to_dict() for n, s in starts.severities_said().items()},
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
                    than: comparison.paired(rows, severity, chosen, than)
                    for than in comparison.METHODS
                    if than != chosen
                }
                for severity in SEVERITIES
            }
            if chosen is not None
            else {},
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
    domains = (comparison.DEVELOPMENT, *SEVERITIES, comparison.CONFIRMATION)
    parser.add_argument("--severity", choices=domains, action="append")
    parser.add_argument("--start", choices=starts.STARTS, action="append")
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
        study.comparison(
            list(seeds), arguments.severity or domains, arguments.start or starts.STARTS
        )
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
