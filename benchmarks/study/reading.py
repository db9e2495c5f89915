"""What a reader may take from the numbers, said only where the numbers say it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .comparison import METHODS
from .relabelling import LABELS

LEARNED = 0.95
"""Share of its own training patterns that a network has to answer rightly to count as trained."""
WEAK = 0.4
"""Accuracy below which answers are no good start for pseudo-labels; one class of five gives 0.2."""


def of_relabelling(tables: Mapping[str, Any]) -> list[str]:
    """Part A: who is ahead, whether that is certain, and why not if it is not."""
    if any(label not in tables for label in LABELS):
        return []
    true, new = (tables[label] for label in LABELS)
    gain = 100 * (new["balanced"] - true["balanced"])
    alike = 100 * (new["per_pattern"] - true["per_pattern"])
    lines = [
        "### What this says",
        "",
        f"With relabelled groups the accuracy is {gain:+.1f} points against true groups with every "
        f"class alike, and {alike:+.1f} with every phase alike.",
    ]
    for name, said in (("balanced", "class"), ("per_phase", "phase")):
        same = tables["difference"].get(name)
        if same is None:
            continue
        between = f"{100 * same['low']:+.1f} to {100 * same['high']:+.1f}"
        if same["low"] > 0:
            verdict = "excludes zero: by this measure relabelling wins."
        elif same["high"] < 0:
            verdict = "excludes zero: by this measure relabelling loses here."
        else:
            verdict = (
                "holds zero: **by this measure it is not shown that relabelling wins, as in the "
                "paper (91 to 98 %).**"
            )
        lines.append(f"On the same phases, every {said} alike, the interval ({between}) {verdict}")
    learned = [float(np.mean(part["training_accuracy"])) for part in (new, true)]
    if min(learned) < LEARNED:
        lines.append(
            f"The networks are under-trained: of their own training patterns they answer "
            f"{100 * learned[0]:.0f} % (relabelled) and {100 * learned[1]:.0f} % (true) rightly at "
            "the end. As long as little learning limits the answers, what the labels make possible "
            "may not show in full; the protocol at the head of `benchmarks/learning_study.py` is "
            "where to ask for more."
        )
    a, b = new["allowed"], true["allowed"]
    lines.append(
        f"The confusions differ in kind. With true groups {100 * b['joined']:.0f} % of them are "
        "between groups that one step of the subgroup graph joins "
        f"({100 * b['joined_by_chance']:.0f} % by chance), and "
        f"{100 * b['supergroup']:.0f} % answer a supergroup of the truth "
        f"({100 * b['supergroup_by_chance']:.0f} %). With relabelled groups it is "
        f"{100 * a['joined']:.0f} % ({100 * a['joined_by_chance']:.0f} %) and "
        f"{100 * a['supergroup']:.0f} % ({100 * a['supergroup_by_chance']:.0f} %): "
        + (
            "relabelling removes confusions that crystallography expects."
            if a["joined"] - a["joined_by_chance"] < b["joined"] - b["joined_by_chance"]
            else "what is left is as crystallographic as before."
        )
    )
    return [*lines, ""]


def of_comparison(results: Mapping[str, Any]) -> list[str]:
    """Part C: whether the recommended method beats MCD at middle severity, and why not if not."""
    chosen = results["chosen"]
    rows = [r for r in results["comparison"] if r["severity"] == "middle"]
    mean = {r["method"]: r["interval"]["mean"] for r in rows if r["start"] == "imperfect"}
    clean = {r["method"]: r["interval"]["mean"] for r in rows if r["start"] == "clean"}
    if chosen not in mean or "source only" not in mean:
        return []
    lines = ["### What this says", ""]
    for than in ("MCD separate", "MCD joint"):
        margin = results["margin"]["middle"].get(than)
        if margin is None:
            continue
        verdict = "beats" if margin["mean"] > 0 else "does not beat"
        certain = margin["half_width"] is not None and abs(margin["mean"]) > margin["half_width"]
        lines.append(
            f"At middle severity {chosen} {verdict} {than} ({100 * mean[chosen]:.1f} against "
            f"{100 * mean[than]:.1f} %"
            f"{')' if certain else '; the interval of the difference holds zero)'}."
        )
    if "source only" in clean:
        gain = 100 * (mean["source only"] - clean["source only"])
        lines.append(
            "Imperfections in the source, without any adaptation, are worth "
            f"{gain:+.1f} points at middle severity ({100 * clean['source only']:.1f} to "
            f"{100 * mean['source only']:.1f} %)."
        )
        best = max(clean, key=lambda name: clean[name])
        lines.append(
            f"From the clean start the best is {best} ({100 * clean[best]:.1f} %); from the "
            f"imperfect one source only has {100 * mean['source only']:.1f} % and {chosen} "
            f"{100 * mean[chosen]:.1f} %."
        )
    if mean["source only"] < WEAK:
        lines.append(
            f"The networks are right for {100 * mean['source only']:.1f} % of these patterns "
            "before adaptation (one class of five: 20 %): labels that they give themselves are a "
            "poor start."
        )
    lines += _averages(results)
    best = max(mean, key=lambda name: mean[name])
    if best != chosen:
        lines.append(
            f"The highest mean at middle severity has {best} ({100 * mean[best]:.1f} %); the "
            "development target did not show that."
        )
    return [*lines, *_of_confirmation(results["confirmation"]), ""]


def _averages(results: Mapping[str, Any]) -> list[str]:
    """What the target's BatchNorm averages are worth, where the detector is how far off."""
    after = {name: m.after or name.split(",")[0] for name, m in METHODS.items() if "target" in name}
    tables = {"development": results["development"]["rows"]}
    for severity in results["severities"]:
        tables[severity] = [r for r in results["comparison"] if r["severity"] == severity]
    said = []
    for place, rows in tables.items():
        mean = {r["method"]: r["interval"]["mean"] for r in rows if r["start"] == "imperfect"}
        gains = [mean[name] - mean[of] for name, of in after.items() if {name, of} <= mean.keys()]
        if gains:
            said.append(f"{100 * float(np.mean(gains)):+.1f} ({place})")
    return [
        "Answering with the target's BatchNorm averages changes the learned methods by, on "
        f"average, {', '.join(said)} points: it matters most where the detector is far outside "
        "what the source knows."
    ]


def _of_confirmation(found: Mapping[str, Any]) -> list[str]:
    """What the test of the claim says of MCD, and of methods with the same averages."""
    alike = [name for name in METHODS if "target" in name and name != found["claim"]]
    said: dict[str, list[str]] = {"beats": [], "is not shown to beat": []}
    for than in ("MCD separate", "MCD joint", "AdaBN", *alike):
        margin = found["margin"].get(than)
        if margin is None or margin["half_width"] is None:
            continue
        certain = margin["mean"] > margin["half_width"]
        said["beats" if certain else "is not shown to beat"].append(
            f"{than} ({100 * margin['mean']:+.1f} ± {100 * margin['half_width']:.1f} points)"
        )
    return [
        f"On phases that nothing had looked at, {found['claim']} {verdict} {'; '.join(others)}."
        for verdict, others in said.items()
        if others
    ]
