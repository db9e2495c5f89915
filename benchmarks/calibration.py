"""How honest the probabilities are: calibration error, coverage of sets, risk, unknown phases.

    python benchmarks/calibration.py --dataset D.h5 --models run-0/model.pt run-1/model.pt ... \
        --save docs/validation/calibration_answers.npz
    python benchmarks/calibration.py --predictions docs/validation/calibration_answers.npz

The first lets the model of every fold answer for the fold that it never saw and keeps the answers;
the second makes table, JSON and pictures of kept answers (``--unknown`` adds those of
``benchmarks/unknown_phases.py``).  Writes docs/validation/calibration.{md,json} and the picture.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from calibration_page import page, picture

from ebsdsg_ml.calibration import calibrate
from ebsdsg_ml.conformal import answer_threshold, coverage, prediction_sets, threshold
from ebsdsg_ml.judgement import cross_calibrated
from ebsdsg_ml.temperature import phase_weights, soft_max
from ebsdsg_ml.unknown import auroc, unknown_score
from ebsdsg_sim.atomic_file import write_atomically

DOCS = Path(__file__).parents[1] / "docs"
LEVELS = (0.8, 0.9, 0.95)
SPLITS = 300
"""Random halves of the phases: one calibrates, the other judges."""


def save_answers(dataset: Path, models: Sequence[Path], output: Path) -> None:
    """Answers of every fold's model for its fold, in one file."""
    import torch

    from ebsdsg_ml.evaluate import evaluate, join
    from ebsdsg_ml.pattern_model import PatternModel

    torch.set_num_threads(1)
    parts = []
    for path in models:
        model = PatternModel.load(path)
        fold = model.card.training["validation_fold"]
        part = evaluate(model, dataset, fold)
        if not part.held_out:
            raise SystemExit(f"{path} was trained on phases of fold {fold}")
        print(f"fold {fold}: {part.accuracy}", flush=True)
        parts.append(part)
    whole = join(parts)
    with output.open("wb") as file:
        np.savez_compressed(
            file,
            logits=whole.logits.astype(np.float32),
            truth=whole.truth,
            phase=whole.phase,
            fold=whole.fold,
            classes=np.array(whole.classes),
            label=whole.label,
            network=model.card.model,
            size=model.card.preprocessing.size,
        )
    print(f"wrote {output}")


def table_of(answers: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """All numbers of the page."""
    logits, truth = answers["logits"].astype(float), answers["truth"]
    phase, fold = answers["phase"], answers["fold"]
    out: dict[str, Any] = {
        "label": str(answers["label"]),
        "network": str(answers["network"]),
        "size": int(answers["size"]),
        "classes": answers["classes"].tolist(),
        "n_folds": len(np.unique(fold)),
        "n_phases": len(np.unique(phase)),
        "n_patterns": len(truth),
        "accuracy": float((logits.argmax(1) == truth).mean()),
        "by_level": [],
        "n_splits": SPLITS,
    }
    for score in ("lac", "aps"):
        for level in LEVELS:
            found, tables = cross_calibrated(
                logits, truth, phase, fold, coverage=level, score=score, risk=1 - level
            )
            row = {"score": score, "level": level, **tables["sets"]}
            row["risk"] = 1 - level
            row |= {k: tables[k] for k in ("answered", "answered_and_wrong", "called_strange")}
            out["by_level"].append(row)
            if (score, level) == ("lac", 0.9):
                out |= {"before": tables["before"], "after": tables["after"]}
                out["wrong"] = tables["wrong"]
                out["temperatures"] = [c.temperature for c in found.values()]
    out["splits"] = [other_splits(logits, truth, phase, level) for level in LEVELS]
    out["by_class"] = by_class(answers)
    return out


def other_splits(
    logits: np.ndarray, truth: np.ndarray, phase: np.ndarray, level: float
) -> dict[str, float]:
    """Coverage with one phase left out at a time, and over random halves of the phases."""
    rng = np.random.default_rng(0)
    keys = np.unique(phase)
    right, wrong, risk = [], [], []
    # a fixed temperature: what varies here is the threshold
    p = soft_max(logits, calibrate(logits, truth, phase).temperature)
    held = np.zeros(logits.shape, dtype=bool)
    for key in keys:
        here = phase == key
        limit = threshold(p[~here], truth[~here], phase[~here], level)
        held[here] = prediction_sets(p[here], limit)
    one_out = coverage(held, truth, phase)
    for _ in range(SPLITS):
        inside = np.isin(phase, rng.permutation(keys)[: len(keys) // 2])
        for unit, found in ((phase, right), (np.arange(len(phase)), wrong)):
            limit = threshold(p[inside], truth[inside], unit[inside], level)
            sets = prediction_sets(p[~inside], limit)
            found.append(coverage(sets, truth[~inside], phase[~inside])["coverage"])
        # only the threshold of the risk, not the sets, decides here
        least = answer_threshold(p[inside], truth[inside], phase[inside], 1 - level)
        given = p[~inside].max(1) > least
        missed = p[~inside].argmax(1) != truth[~inside]
        risk.append(float(phase_weights(phase[~inside]) @ (given & missed)))
    return {
        "level": level,
        "one_out": one_out["coverage"],
        "one_out_error": one_out["standard_error"],
        "by_phase": float(np.mean(right)),
        "by_phase_sd": float(np.std(right)),
        "by_pattern": float(np.mean(wrong)),
        "risk": float(np.mean(risk)),
    }


def by_class(answers: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Coverage of 90 % sets by true group: the promise is for all groups together."""
    logits, truth = answers["logits"].astype(float), answers["truth"]
    phase, fold = answers["phase"], answers["fold"]
    found, _ = cross_calibrated(logits, truth, phase, fold)
    sets = np.zeros(logits.shape, dtype=bool)
    for f, known in found.items():
        sets[fold == f] = known.sets(known.probabilities(logits[fold == f]))
    rows = []
    for i, group in enumerate(answers["classes"].tolist()):
        here = truth == i
        rows.append(
            {
                "group": group,
                "phases": len(np.unique(phase[here])),
                "accuracy": float(phase_weights(phase[here]) @ (logits[here].argmax(1) == i)),
                **coverage(sets[here], truth[here], phase[here]),
            }
        )
    return rows


def unknown_table(files: Sequence[Path]) -> list[dict[str, Any]]:
    """How well patterns of a group that was left out are told from known ones."""
    rows = []
    for path in files:
        with np.load(path, allow_pickle=False) as held:
            known, strange = held["known"], held["strange"]
            for score in ("energy", "max_logit", "max_probability"):
                limit = calibrate(known, held["truth"], held["phase"])
                rows.append(
                    {
                        "group": int(held["group"]),
                        "score": score,
                        "auroc": auroc(unknown_score(known, score), unknown_score(strange, score)),
                        "caught": float(limit.is_strange(strange).mean()),
                        "phases": int(held["strange_phases"]),
                        "known_phases": int(held["known_phases"]),
                        "trained_phases": int(held["trained_phases"]),
                        "accuracy": float(held["accuracy"]),
                    }
                )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", type=Path)
    parser.add_argument("--models", type=Path, nargs="+", default=[])
    parser.add_argument("--save", type=Path)
    parser.add_argument("--predictions", type=Path, nargs="+", default=[])
    parser.add_argument("--unknown", type=Path, nargs="*", default=[])
    given = parser.parse_args()
    if given.models:
        if given.dataset is None or given.save is None:
            parser.error("--models needs --dataset and --save")
        save_answers(given.dataset, given.models, given.save)
    if not given.predictions:
        return
    tables = []
    for path in given.predictions:
        with np.load(path, allow_pickle=False) as answers:
            tables.append({**table_of(dict(answers)), "file": path.name})
    unknown = unknown_table(given.unknown)
    picture(tables, DOCS / "images" / "reliability.png")
    content = {"tables": tables, "unknown": unknown}
    folder = DOCS / "validation"
    write_atomically(folder / "calibration.json", json.dumps(content, indent=1).encode())
    text = page(tables, unknown)
    write_atomically(folder / "calibration.md", text.encode())
    print(text)


if __name__ == "__main__":
    main()
