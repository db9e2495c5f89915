"""The study's page, from its numbers alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ebsdsg_ml.figures import SYMBOLS

from . import reading, real
from .comparison import CHOSEN, METHODS
from .relabelling import CLASSES, LABELS

HISTORY = """\
## How the protocol was settled

On a pilot: relabelled groups, one fold of four, 127 phases that happened to be simulated, another
seed and other orientations, 4 epochs of 5,800 patterns: 81 % on held-out phases.  The study was
then started with 4 epochs of 4,400 patterns and stopped after its first fold: the networks had not
learned their own training patterns (78 % relabelled, 74 % true; on the held-out phases of that
fold 59 % and 63 %).  The epochs were doubled for both labels; phases, folds, seeds and patterns
stayed.  Nothing of part C was looked at before its settings were fixed; its few steps are what the
processor time allowed.
"""

LIMITS = """\
## What this does not show

- How good such networks can be.  The paper's have 23 times as many pixels, ImageNet
  weights, 45,000 patterns of 5,148 structures and reach 98 %; here it is the order that counts.
- What happens for rare groups: of Pm-3n and Fd-3m there are about ten phases, two or three in a
  fold, and whole phases succeed or fail together.
- Which method of adaptation is best in the end.  All start from a trained network and take a few
  steps; the paper's MCD takes thousands.  Its heads start from random weights, those of the others
  do not.
- What the methods do with BatchNorm averages of the target: all but AdaBN answer with the running
  averages of their few steps, as in the paper (`statistics: target` was not tried), and all learn
  from clean patterns (imperfections in the source were not tried).
- Anything about other phases than the sixteen: intervals over seeds are narrower than those over
  phases would be, and all seeds see the same target.
- Experiments.  Imperfections are modelled one by one; scratches, deformed grains, overlapping
  patterns and contamination are not among them.
- The paper's second set of Debye–Waller factors, which was not simulated here.
"""


def percent(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{100 * value:.{digits}f}"


def spread(interval: Mapping[str, Any]) -> str:
    """Mean and half width in percent."""
    half = interval["half_width"]
    return f"{percent(interval['mean'])} ± {'?' if half is None else percent(half)}"


def _counts(phases: Sequence[Mapping[str, Any]], label: str) -> str:
    numbers = [sum(p[label] == group for p in phases) for group in CLASSES]
    return " | ".join(str(n) for n in numbers)


def _unfinished(tables: Mapping[str, Any], n_folds: int) -> list[str]:
    """Say which part of the cross-validation there is, if it is not all."""
    done = {label: len(tables[label]["folds"]) for label in LABELS if label in tables}
    if all(n == n_folds for n in done.values()):
        return []
    said = " and ".join(f"{n} with {label} groups" for label, n in done.items())
    return [
        f"**Not finished:** of the {n_folds} folds {said} were done in the time there was; the "
        "phases of the others were learned from but not asked about. The same command goes on with "
        "them.",
        "",
    ]


def _difference(tables: Mapping[str, Any]) -> list[str]:
    """Who is ahead, in one table."""
    found = tables.get("difference")
    if found is None:
        return []
    lines = [
        f"Relabelled less true groups on the same {found['n_phases']} phases and patterns "
        "[percentage points; 95 % over phases, both labels from the same draws]:",
        "",
        "| | difference | 95 % | relabelled ahead in |",
        "|---|---|---|---|",
    ]
    for name, said in (
        ("balanced", "every class counts alike"),
        ("per_phase", "every phase counts alike"),
    ):
        if name in found:
            row = found[name]
            lines.append(
                f"| {said} | **{100 * row['mean']:+.1f}** | {100 * row['low']:+.1f} to "
                f"{100 * row['high']:+.1f} | {percent(row['share_of_draws'], 0)} % of the draws |"
            )
    return [*lines, ""]


def _windows(places: Mapping[str, Sequence[int]]) -> str:
    """Places in the order that are taken of every true group."""
    said = [f"{SYMBOLS[int(g)]} {first + 1} to {end}" for g, (first, end) in places.items()]
    return ", ".join(said)


def relabelling_part(results: Mapping[str, Any]) -> list[str]:
    """Section of part A."""
    tables = results["relabelling"]
    protocol = results["protocol"]
    training = protocol["training"]
    n_train = max(tables[LABELS[0]]["n_training"])
    lines = [
        "## True against relabelled groups",
        "",
        f"{training['model']} from random weights, patterns of {protocol['size']} × "
        f"{protocol['size']} pixels, {protocol['patterns_per_class']} patterns of every class "
        f"(about {n_train} to train on in a fold), {training['epochs']} epochs, "
        f"{training['optimizer']} with at most {training['learning_rate']:g} "
        f"({training['schedule']}), batches of {training['batch_size']}; "
        f"{protocol['n_folds']} folds that share no phase. A network of every fold and label then "
        f"answers for {protocol['test_patterns']} patterns of every phase of its held-out fold, in "
        "orientations that occur nowhere else: the same patterns for both labels. Accuracies are "
        "means over the five classes, so that a class with many phases does not count for more; "
        "this is what the equal class totals of the paper amount to.",
        "",
        "| groups | accuracy [%], mean of folds ± 95 % | 95 % over phases | every phase alike [%] "
        "| phases right by vote [%] | folds [%] |",
        "|---|---|---|---|---|---|",
    ]
    for label in LABELS:
        part = tables.get(label)
        if part is None:
            continue
        low, high = part["bootstrap"]
        lines.append(
            f"| {label} | **{spread(part['interval'])}** | {percent(low)} to {percent(high)} "
            f"| {percent(part['per_pattern'])} | {percent(part['phases_right'])} "
            f"| {', '.join(percent(v) for v in part['folds'])} |"
        )
    lines += [
        "",
        "The first interval is Student's over the folds, the second draws the phases of every "
        "class anew (cluster bootstrap): patterns of one phase succeed or fail together.",
        "",
        *_unfinished(tables, protocol["n_folds"]),
        *_difference(tables),
        "| accuracy by class [%] | " + " | ".join(f"{SYMBOLS[c]} ({c})" for c in CLASSES) + " |",
        "|---|" + "---|" * len(CLASSES),
    ]
    for label in LABELS:
        if label in tables:
            part = tables[label]
            values = [
                f"{percent(v, 0)} % ({n} phases)"
                for v, n in zip(part["by_class"], part["n_phases"], strict=True)
            ]
            lines.append(f"| {label} | " + " | ".join(values) + " |")
    lines += [
        "",
        "![Confusion matrices](learning_confusion.png)",
        "",
        "Share of the true class [%]; rows are true classes.",
        "",
        "### Are the confusions those that crystallography expects?",
        "",
        "Of the ten pairs of the five groups three are joined by a maximal *klassen*-subgroup: "
        "Pm-3m–Fm-3m, Pm-3m–Im-3m, Im-3m–Pm-3n. “By chance” is what the share would be if every "
        "wrong answer were as likely, with the errors of every true class as they are.",
        "",
        "| groups | wrong answers | joined by one step [%] | by chance [%] "
        "| answer is a supergroup of the truth [%] | by chance [%] |",
        "|---|---|---|---|---|---|",
    ]
    for label in LABELS:
        if label in tables:
            a = tables[label]["allowed"]
            lines.append(
                f"| {label} | {a['confusions']} | {percent(a['joined'])} "
                f"| {percent(a['joined_by_chance'])} | {percent(a['supergroup'])} "
                f"| {percent(a['supergroup_by_chance'])} |"
            )
    lines += [
        "",
        "What the networks say of themselves (epoch of highest accuracy on the held-out fold is "
        "kept, as in the paper; the last epoch beside it shows what that choice is worth):",
        "",
        "| groups | held-out fold, kept epoch [%] | held-out fold, last epoch [%] "
        "| training patterns [%] |",
        "|---|---|---|---|",
    ]
    for label in LABELS:
        if label in tables:
            part = tables[label]
            numbers = " | ".join(
                percent(float(np.mean(part[name])))
                for name in ("validation_accuracy", "last_accuracy", "training_accuracy")
            )
            lines.append(f"| {label} | {numbers} |")
    return lines


def severity_table(results: Mapping[str, Any]) -> list[str]:
    """What the severities are."""
    names = list(results["severities"])
    first = results["severities"][names[0]]
    lines = [
        "| | " + " | ".join(names) + " |",
        "|---|" + "---|" * len(names),
    ]
    said = {
        "pattern_centre": "pattern centre off by (x, y, z)",
        "tilt": "detector tilt off by [°]",
        "electrons": "electrons per pixel",
        "blur": "blur, σ / width",
        "jitter": "pattern centre, σ from pattern to pattern",
        "vignetting": "vignetting",
        "dark": "dark level / mean signal",
        "stray": "stray light / mean signal",
        "distortion": "lens distortion k₁",
        "energy_shift": "beam energy off by up to [keV]",
    }
    for key in first:
        values = []
        for name in names:
            value = results["severities"][name][key]
            between = " to " if key in ("electrons", "blur") else ", "
            values.append(
                between.join(f"{v:g}" for v in value) if isinstance(value, list) else f"{value:g}"
            )
        lines.append(f"| {said[key]} | " + " | ".join(values) + " |")
    return lines


def comparison_part(results: Mapping[str, Any]) -> list[str]:
    """Section of part C."""
    rows, budget = results["comparison"], results["budget"]
    n_phases = len(results["target"])
    pool = n_phases * results["kept"]
    protocol = results["protocol"]
    lines = [
        "## Adaptation to a target whose truth is known",
        "",
        f"The target (`ebsdsg_ml.synthetic_target`): {n_phases} phases of the experiment "
        "(Al4CoNi2 and Al4Ni3 are in none of the five classes), master patterns with a "
        "Debye–Waller factor of every site drawn from 0.002 to 0.014 nm², a detector that is not "
        f"where the source's is, and the imperfections below; {results['recorded']} patterns of "
        f"every phase are recorded and the {results['kept']} of best image quality kept: {pool} "
        "patterns, the classes as unequal as the phases make them "
        f"(phases of 221 to 229: {_counts(results['target'], 'relabelled').replace(' | ', ', ')}). "
        "The quality also rises with blur, so it compares patterns of one severity only. No phase "
        "of the source "
        "has the composition of a phase of the target. The severities were written down before "
        "anything was measured with them, and nothing was chosen by the target.",
        "",
        *severity_table(results),
        "",
        "![One pattern of some phases at every severity](learning_target.png)",
        "",
        f"The source: the {protocol['patterns_per_class']} patterns of every relabelled class from "
        "above, all phases, 0.004 nm². A seed is the network of one fold (so seeds differ in the "
        "left-out fifth as well as in their random numbers). From there every method gets "
        f"{budget['steps']} steps of {budget['batch_size']} source and as many target patterns, "
        f"Adam with {budget['learning_rate']:g}; MCD gets {budget['warmup']} steps on the source "
        "before, for its two heads start from random weights. Source only gets the same steps "
        "without the target; AdaBN is that network with the target's BatchNorm averages. Weights "
        "of the last step, no choice by any criterion.",
        "",
        "Mean accuracy per phase [%], ± 95 % over the seeds (Student):",
        "",
    ]
    severities = [s for s in results["severities"] if any(r["severity"] == s for r in rows)]
    counts = sorted({len(r["seeds"]) for r in rows})
    if counts != [results["seeds"]] or len(rows) < len(METHODS) * len(results["severities"]):
        lines += [
            f"**Not finished:** {' or '.join(map(str, counts))} of {results['seeds']} seeds, and "
            f"{len(rows)} of {len(METHODS) * len(results['severities'])} cells of the table, in "
            "the time there was. The same command goes on with the others.",
            "",
        ]
    lines += [
        "| method | " + " | ".join(severities) + " |",
        "|---|" + "---|" * len(severities),
    ]
    for name in METHODS:
        cells = []
        for severity in severities:
            row = next((r for r in rows if r["severity"] == severity and r["method"] == name), None)
            cells.append("missing" if row is None else spread(row["interval"]))
        shown = f"**{name}**" if name == CHOSEN else name
        lines.append(f"| {shown} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "![Accuracy by method and severity](learning_adaptation.png)",
        "",
        "Large points are means with their intervals, small ones the seeds.",
        "",
        "| severity | method | seeds | accuracy per phase [%] | per class [%] | collapsed runs "
        "| majority vote [%] | averaged [%] | CPU-s per run |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['severity']} | {r['method']} | {len(r['seeds'])} | {spread(r['interval'])} "
        f"| {spread(r['per_class'])} | {r['collapsed']} | {percent(r['majority'])} "
        f"| {percent(r['averaged'])} | {r['cpu_seconds']:.0f} |"
        for r in rows
    ]
    lines += [
        "",
        "A run counts as collapsed if its answers' histogram is far from the pool's shares (known "
        "here; the median of a few runs says little) or "
        "leaves a class out (`ebsdsg_ml.ensemble.check_runs`).",
        "",
        f"{CHOSEN.capitalize()} less others, seed by seed [percentage points, ± 95 %]:",
        "",
        "| severity | less source only | less MCD separate | less MCD joint |",
        "|---|---|---|---|",
    ]
    for severity in severities:
        margins = results["margin"][severity]
        values = [
            "–" if margins[than] is None else spread(margins[than])
            for than in ("source only", "MCD separate", "MCD joint")
        ]
        lines.append(f"| {severity} | " + " | ".join(values) + " |")
    return lines


def phase_part(results: Mapping[str, Any], severity: str = "middle") -> list[str]:
    """Accuracy of every phase of the target at one severity."""
    rows = [r for r in results["comparison"] if r["severity"] == severity]
    if not rows:
        return []
    lines = [
        f"### Phase by phase, {severity} severity",
        "",
        "Accuracy [%], mean over the seeds.",
        "",
        "| phase | true | new | " + " | ".join(r["method"] for r in rows) + " |",
        "|---|---|---|" + "---|" * len(rows),
    ]
    for i, phase in enumerate(results["target"]):
        values = " | ".join(percent(r["phases"][i], 0) for r in rows)
        lines.append(f"| {phase['key']} | {phase['true']} | {phase['relabelled']} | {values} |")
    return lines


def page(results: Mapping[str, Any], remarks: Sequence[str] = ()) -> str:
    """The whole page.

    Parameters
    ----------
    results : tables of the study.
    remarks : paragraphs of what a reader should make of them, in the order of the sections.
    """
    cpu = results["simulation_cpu_seconds"]
    trained = {
        label: sum(results["relabelling"][label]["training_cpu_seconds"])
        for label in LABELS
        if label in results["relabelling"]
    }
    projected = sum(results["relabelling"][label]["projection_cpu_seconds"][0] for label in trained)
    adapted = sum(r["cpu_seconds"] * len(r["seeds"]) for r in results["comparison"])
    phases = results["phases"]
    lines = [
        "# Learning: relabelling and adaptation, measured",
        "",
        f"Written by `python benchmarks/learning_study.py` on {results['date']} (torch "
        f"{results['torch']}, a shared machine of two cores, no GPU, one thread per process). It "
        "asks on a small scale what the paper asked on a large one: is a relabelled space group "
        "easier to learn than the true one, and what does adaptation to patterns of a real "
        "detector bring? All numbers are in `learning.json`.",
        "",
        "## What was used",
        "",
        f"{len(phases)} structures of the Materials Project's snapshot of July 2024: within each "
        "true group a window of the order of a hash of their identifiers "
        f"({_windows(results['places'])}; of Fd-3m not the first ones, because later ones were "
        "simulated already when the sizes were settled), under the paper's "
        "volume limits and with at most 14 atoms in the stored cell; those with the composition of "
        "a phase of the experiment are left out. The rule knows nothing of any result.",
        "",
        "| phases | " + " | ".join(f"{SYMBOLS[c]} ({c})" for c in CLASSES) + " |",
        "|---|" + "---|" * len(CLASSES),
        f"| true group | {_counts(phases, 'true')} |",
        f"| relabelled group | {_counts(phases, 'relabelled')} |",
        "",
        "Master patterns of 121 × 121 points, energies 10, 15 and 20 keV, smallest d-spacing "
        "0.05 nm, 200,000 electrons; the paper's detector at the size of the patterns.",
        "",
        "| stage | CPU time [min] |",
        "|---|---|",
        f"| master patterns, B = 0.004 nm² ({len(phases)}) | {cpu['base'] / 60:.0f} |",
        f"| master patterns of the target ({len(results['target'])}) | {cpu['target'] / 60:.0f} |",
        f"| projection of the patterns | {projected / 60:.1f} |",
        *(
            f"| training, {label} groups ({len(results['relabelling'][label]['folds'])} networks) "
            f"| {seconds / 60:.0f} |"
            for label, seconds in trained.items()
        ),
        f"| adaptation ({sum(len(r['seeds']) for r in results['comparison'])} runs) "
        f"| {adapted / 60:.0f} |",
        "",
        *relabelling_part(results),
        "",
        *reading.of_relabelling(results["relabelling"]),
        *comparison_part(results),
        "",
        *reading.of_comparison(results["comparison"], results["margin"]),
        *phase_part(results),
        "",
        *real.part(results["real"]),
        "",
        HISTORY,
        "",
        LIMITS,
        "",
    ]
    for remark in remarks:
        lines += [remark, ""]
    return "\n".join(lines).rstrip() + "\n"
