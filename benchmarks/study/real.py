"""Part D: what the networks say of the real patterns at hand, right or wrong.

A hundred and thirty patterns of four materials are no test set; they are shown because they are
real.  Nothing was chosen by them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ebsdsg_ml.ensemble import averaged
from ebsdsg_ml.recipe import DatasetRecipe

from .relabelling import CLASSES


@dataclass(frozen=True)
class RealSet:
    """Patterns of one material.

    Parameters
    ----------
    path : file or folder below the folder of patterns.
    phase, group : what it is; the relabelled group is the same for all of them.
    scan : scan in an HDF5 file.
    round_screen : whether the pattern is a disc.
    """

    path: str
    phase: str
    group: int
    scan: str | None = None
    round_screen: bool = False


SETS = (
    RealSet("krkaufma_Al/sample_ebsd.tiff", "Al", 225),
    RealSet("kikuchipy_Ni/patterns.h5", "Ni", 225, scan="Scan 1"),
    RealSet("kikuchipydata_Si/si_in.h5", "Si", 227),
    RealSet("openxy_ferrite/patterns", "ferrite", 229, round_screen=True),
)


FEWEST = 9
"""Patterns of a material that BatchNorm averages are taken from, at least."""


def answers(
    folder: Path, models: Mapping[str, Sequence[Path]], recipe: DatasetRecipe
) -> list[dict[str, Any]]:
    """What the models answer.

    Parameters
    ----------
    folder : of the real patterns.
    models : name of a start -> its networks with relabelled groups; the last ones also answer with
        the BatchNorm averages of the material's own patterns, where there are enough.
    recipe : of the patterns that they learned from.

    Returns
    -------
    One row per material and kind of network: ``n`` patterns, ``shares`` of the right answers of
    every model, ``together`` (that of their mean), ``histogram`` of the mean's answers by class.
    """
    from ebsdsg_ml.experimental.given import Given
    from ebsdsg_ml.experimental.processing import PatternProcessing
    from ebsdsg_ml.experimental.read import read_patterns
    from ebsdsg_ml.pattern_model import PatternModel

    from .comparison import take_target_averages

    rows = []
    for one in SETS:
        processing = replace(PatternProcessing.like(recipe), round_screen=one.round_screen)
        held = read_patterns(
            folder / one.path,
            processing=processing,
            given=Given(one.phase, one.group),
            group=one.scan,
        )
        loaded = {name: [PatternModel.load(p) for p in paths] for name, paths in models.items()}
        stacks = {
            name: np.stack([model.probabilities(held.patterns) for model in networks])
            for name, networks in loaded.items()
            if networks
        }
        last = list(loaded)[-1]
        if len(held) >= FEWEST and loaded[last]:
            for model in loaded[last]:
                take_target_averages(model, held.patterns)
            stacks[f"{last}, own averages"] = np.stack(
                [model.probabilities(held.patterns) for model in loaded[last]]
            )
        right = CLASSES.index(one.group)
        for name, stack in stacks.items():
            together = averaged(stack).argmax(axis=1)
            rows.append(
                {
                    "phase": one.phase,
                    "group": one.group,
                    "networks": name,
                    "n": len(held),
                    "shares": [float(v) for v in (stack.argmax(axis=2) == right).mean(axis=1)],
                    "together": float((together == right).mean()),
                    "histogram": np.bincount(together, minlength=len(CLASSES)).tolist(),
                }
            )
    return rows


def part(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Section of the page."""
    if not rows:
        return []
    lines = [
        "## Real patterns",
        "",
        "The networks with relabelled groups, one per fold, asked about the real patterns at hand; "
        "none of these compositions is in the source. *Clean* and *imperfect* are the two starts "
        "from above, without adaptation; *own averages*: with the BatchNorm averages of the "
        "material's own patterns, no labels (AdaBN).",
        "",
        "| material | group | patterns | networks | right, each network [%] "
        "| right, mean of all [%] | answers 221 / 223 / 225 / 227 / 229 |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['phase']} | {r['group']} | {r['n']} | {r['networks']} "
        f"| {', '.join(f'{100 * v:.0f}' for v in r['shares'])} | {100 * r['together']:.0f} "
        f"| {' / '.join(map(str, r['histogram']))} |"
        for r in rows
    ]
    lines += [
        "",
        "The ferrite patterns come from 31 grains of one scan and the nickel patterns from one: "
        "they are far from independent, and no interval would mean anything.",
    ]
    share = {(r["phase"], r["networks"]): r["together"] for r in rows}
    for (phase, name), right in share.items():
        plain = share.get((phase, name.removesuffix(", own averages")), 0.0)
        if name.endswith(", own averages") and right < plain - 0.2:
            lines += [
                "",
                f"With its own averages {phase} loses {100 * (plain - right):.0f} points: the "
                "averages of patterns of one phase are not those of the mixture that BatchNorm "
                "learned. Target averages are for pools of several phases, not for a scan of one.",
            ]
    return lines
