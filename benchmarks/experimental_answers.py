"""What models say of real patterns of four phases, right or wrong, as it is.

    python benchmarks/experimental_answers.py --patterns FOLDER --models NAME=model.pt ...

FOLDER holds ``krkaufma_Al``, ``kikuchipy_Ni``, ``kikuchipydata_Si`` and ``openxy_ferrite``, with
``scan_rows.csv`` for the grains of the last.  Writes docs/validation/experimental.{md,json} and one
picture per model.  No model is chosen, trained or calibrated by these patterns.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ebsdsg_ml.answer_files import answer_picture, write_picture
from ebsdsg_ml.ensemble_model import AnyModel, load_model
from ebsdsg_ml.predict import Prediction, predict
from ebsdsg_sim.atomic_file import write_atomically

DOCS = Path(__file__).parents[1] / "docs"


@dataclass(frozen=True)
class Sample:
    """Patterns of one phase.

    Parameters
    ----------
    name : in the tables.
    path : file or folder, below the folder of patterns.
    groups : its space group by kind of label.
    grain : how its patterns are pooled; the name of a table beside the path, or a word.
    shown : how many of its patterns are in the picture.
    """

    name: str
    path: str
    groups: Mapping[str, int]
    grain: str
    shown: int


SAMPLES = (
    Sample("Al", "krkaufma_Al", {"true": 225, "relabelled": 225}, "all", 1),
    Sample("Ni", "kikuchipy_Ni/patterns.h5", {"true": 225, "relabelled": 225}, "all", 2),
    Sample("Si", "kikuchipydata_Si", {"true": 227, "relabelled": 227}, "all", 1),
    Sample(
        "ferrite",
        "openxy_ferrite/patterns",
        {"true": 229, "relabelled": 229},
        "../scan_rows.csv",
        4,
    ),
)


def row_of(sample: Sample, answers: Sequence[Prediction], model: AnyModel) -> dict[str, Any]:
    """What a model says of a sample, in numbers."""
    truth = sample.groups[model.card.label]
    given = [a for a in answers if a.verdict == "answer"]
    calibrated = answers[0].in_set is not None
    return {
        "sample": sample.name,
        "truth": truth,
        "n": len(answers),
        "right": sum(a.space_group == truth for a in answers),
        "answers": dict(Counter(a.space_group for a in answers).most_common()),
        "mean_probability_of_truth": sum(a.probabilities[truth] for a in answers) / len(answers),
        "covered": sum(truth in (a.in_set or ()) for a in answers) if calibrated else None,
        "set_size": sum(len(a.in_set or ()) for a in answers) / len(answers)
        if calibrated
        else None,
        "abstained": sum(a.verdict == "abstain" for a in answers),
        "unknown": sum(a.verdict == "unknown" for a in answers),
        "answered": len(given),
        "answered_right": sum(a.space_group == truth for a in given),
    }


def answers_of(model: AnyModel, folder: Path, correct: bool) -> tuple[dict[str, Any], list[Any]]:
    """Rows for patterns and for grains, and some answers for the picture."""
    rows: dict[str, list[dict[str, Any]]] = {"patterns": [], "grains": []}
    shown: list[Prediction] = []
    for sample in SAMPLES:
        path = folder / sample.path
        single = predict(model, [path], correct=correct)
        table = path / sample.grain
        grain = table.resolve() if sample.grain.endswith(".csv") else sample.grain
        pooled = predict(model, [path], correct=correct, grain=grain)
        if single.errors or not single.answers:
            raise SystemExit(f"{sample.name}: {single.errors}")
        rows["patterns"].append(row_of(sample, single.answers, model))
        rows["grains"].append(row_of(sample, pooled.answers, model))
        step = max(1, len(single.answers) // sample.shown)
        shown += single.answers[::step][: sample.shown]
    return rows, shown


def page(results: Sequence[Mapping[str, Any]]) -> str:
    """The page in Markdown."""
    lines = [
        "# What the models say of real patterns",
        "",
        "Made by `python benchmarks/experimental_answers.py`. Real patterns of four phases from",
        "four laboratories: Al (R. Kaufmann, MIT licence), Ni and Si (kikuchipy, CC-BY 4.0),",
        "ferrite in a steel (OpenXY, BSD-3). The models saw simulated patterns only, of one",
        "detector geometry that is none of these; nothing was chosen by these numbers. *Corrected*",
        "is `ebsdsg predict --correct`: static and dynamic background removed. Ferrite is Im-3m",
        "(229); Al and Ni are Fm-3m (225), Si is Fd-3m (227), before and after relabelling.",
        "A coverage promised for simulated phases is not promised here. The networks are small,",
        "started from random weights and were not adapted to experiments: that is what",
        "[adaptation](../explanation/adaptation.md) is for.",
        "",
    ]
    for result in results:
        card = result["card"]
        known = card["calibration"]
        lines += [f"## {result['name']}", ""]
        lines += [
            f"{card['model']}, {card['label']} groups, patterns of {card['size']} pixels; "
            + (
                f"temperature {known['temperature']:.2f}, sets of {known['coverage']:.0%}, "
                f"calibrated on {known['n_phases']} phases ({known['fitted_on']})."
                if known
                else "not calibrated: no sets, every pattern is answered."
            ),
            "",
        ]
        for kind, title in (("patterns", "Patterns"), ("grains", "Grains, pooled")):
            lines += [
                f"{title}:",
                "",
                "| processing | sample | group | n | most probable is right | answers | p of the "
                "truth | truth in set | groups in set | given an answer | of these right | called "
                "unknown |",
                "|---|---|---|---|---|---|---|---|---|---|---|---|",
            ]
            for processing, rows in result["rows"].items():
                for r in rows[kind]:
                    said = ", ".join(f"{g}: {n}" for g, n in r["answers"].items())
                    covered = "–" if r["covered"] is None else f"{r['covered']} of {r['n']}"
                    size = "–" if r["set_size"] is None else f"{r['set_size']:.1f}"
                    lines.append(
                        f"| {processing} | {r['sample']} | {r['truth']} | {r['n']} | "
                        f"{r['right']} | {said} | {r['mean_probability_of_truth']:.2f} | "
                        f"{covered} | {size} | {r['answered']} | {r['answered_right']} | "
                        f"{r['unknown']} |"
                    )
            lines.append("")
        lines += [f"![Answers](../images/{result['picture']})", ""]
    lines += verdict(results)
    return "\n".join(lines) + "\n"


def verdict(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the numbers say, computed from them."""
    lines = ["## What this says", ""]
    for result in results:
        for processing, rows in result["rows"].items():
            right = sum(r["right"] for r in rows["patterns"])
            n = sum(r["n"] for r in rows["patterns"])
            samples = sum(2 * r["right"] > r["n"] for r in rows["patterns"])
            lines.append(
                f"- {result['name']}, {processing}: {right} of {n} patterns right; of the four "
                f"samples the majority of patterns is right for {samples}; "
                f"{sum(r['answered'] for r in rows['patterns'])} patterns were given an answer, "
                f"{sum(r['answered_right'] for r in rows['patterns'])} of these rightly."
            )
            covered = [r["covered"] for r in rows["patterns"]]
            if None not in covered:
                promised = result["card"]["calibration"]["coverage"]
                lines[-1] += (
                    f" Sets that hold {promised:.0%} of simulated phases hold the truth of "
                    f"{sum(covered)} of these patterns."
                )
    lines += [
        "",
        "Four samples are four phases: these numbers show what happens, not how often.",
    ]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patterns", type=Path, required=True)
    parser.add_argument("--models", nargs="+", required=True, help="NAME=FILE")
    given = parser.parse_args()
    torch.set_num_threads(1)
    results = []
    for i, entry in enumerate(given.models):
        name, _, file = entry.partition("=")
        model = load_model(file)
        rows, shown = {}, []
        for processing, correct in (("as trained", False), ("corrected", True)):
            rows[processing], answers = answers_of(model, given.patterns, correct)
            shown += answers if correct else []
            print(name, processing, rows[processing]["patterns"], flush=True)
        drawn = f"experimental_answers_{i + 1}.png"
        title = f"{name}: Al, Ni, Ni, Si, ferrite (corrected)"
        write_picture(DOCS / "images" / drawn, answer_picture(shown, title))
        card = model.card
        results.append(
            {
                "name": name,
                "picture": drawn,
                "rows": rows,
                "card": {
                    "model": card.model,
                    "label": card.label,
                    "size": card.preprocessing.size,
                    "calibration": None if card.calibration is None else card.calibration.to_dict(),
                },
            }
        )
    folder = DOCS / "validation"
    write_atomically(folder / "experimental.json", json.dumps(results, indent=1).encode())
    write_atomically(folder / "experimental.md", page(results).encode())


if __name__ == "__main__":
    main()
