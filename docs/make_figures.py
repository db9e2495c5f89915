"""Pictures of docs/howto/figures.md, each from real data.

    ebsdsg demo
    python docs/make_figures.py

The figures of a campaign are those of the demonstration in the data root; the others are made from
docs/validation/learning.json, and from nickel's measured patterns and reference master patterns in
``../shared`` or where ``EBSDSG_SHARED`` says.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from plotly.graph_objects import Figure

from ebsdsg_flows.figures.collect import figures_of
from ebsdsg_flows.session import open_stores
from ebsdsg_ml.analysis.flow import confusion_flow
from ebsdsg_ml.analysis.runs import run_table
from ebsdsg_ml.figures import (
    candidate_figure,
    debye_waller_figure,
    method_figure,
    run_table_figure,
    save_figures,
    subgroup_figure,
)
from ebsdsg_ml.imperfections import DynamicCorrection
from ebsdsg_sim.detector import Detector
from ebsdsg_sim.hdf5 import read_master_pattern
from ebsdsg_sim.orientation import euler_to_quaternion
from ebsdsg_sim.parameters import SimulationParameters
from ebsdsg_sim.projection import Projector
from ebsdsg_sim.simulate import simulate

DOCS = Path(__file__).parent
SHOWN = (
    "workflow", "confusion_true", "confusion_relabelled", "phases_true", "training",
    "elements_caesium_chloride_true", "elements_rock_salt_true", "reliability_relabelled",
    "set_size_relabelled", "quality_relabelled", "candidates_relabelled",
)  # fmt: skip
"""Figures of the campaign that the page shows."""
PAPER = {
    "classes": [221, 223, 225, 227, 229, 230],
    "counts": [
        [8069, 0, 635, 5, 474, 0],
        [81, 8345, 82, 1, 98, 6],
        [481, 0, 9026, 45, 447, 4],
        [23, 1, 149, 8395, 53, 0],
        [678, 33, 938, 218, 6718, 15],
        [0, 126, 0, 1, 1, 8482],
    ],
}
"""Fig. 2a of the paper."""


def main() -> None:
    """Make them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = os.environ.get("EBSDSG_SHARED", DOCS.parents[1] / "shared")
    parser.add_argument("--shared", type=Path, default=Path(default))
    parser.add_argument("--campaign", default="demo")
    parser.add_argument("--output", type=Path, default=DOCS / "images/figures")
    options = parser.parse_args()
    torch.set_num_threads(1)
    figures: dict[str, Figure] = {
        entry.name: entry.figure.update_layout(title=entry.title)
        for entry in figures_of(open_stores(), options.campaign)
        if entry.name in SHOWN
    }
    figures["subgroups_paper"] = subgroup_figure(
        confusion_flow(PAPER), "Wrong answers of the paper's Fig. 2a"
    )
    figures |= study(json.loads((DOCS / "validation/learning.json").read_text()))
    figures["candidates_experiment"] = experiment(options.shared)
    figures["debye_waller"] = debye_waller(options.shared)
    save_figures({options.output / f"{name}.svg": figure for name, figure in figures.items()})
    dark = {options.output / "confusion_true_dark.svg": figures["confusion_true"]}
    save_figures(dark, dark=True)
    phone = {options.output / "workflow_phone.svg": figures["workflow"]}
    save_figures(phone, dark=True, width=390)
    for path in sorted(options.output.iterdir()):
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


def study(results: dict[str, Any]) -> dict[str, Figure]:
    """Methods of adaptation of the learning study, and their accuracies phase by phase."""
    names = [phase["key"] for phase in results["target"]]
    middle = [
        {
            "key": row["method"],
            "per_phase": [
                {"material_id": name, "formula": name, "n": results["kept"], "accuracy": value}
                for name, value in zip(names, row["phases"], strict=True)
            ],
        }
        for row in results["comparison"]
        if row["severity"] == "middle"
        and row["start"] == "imperfect"
        and "target averages" not in row["method"]
    ]
    imperfect = [row for row in results["comparison"] if row["start"] == "imperfect"]
    return {
        "methods": method_figure(
            imperfect, "Methods of adaptation", chance=1 / len(results["places"])
        ),
        "runs": run_table_figure(run_table(middle), "Methods of adaptation, phase by phase"),
    }


def experiment(shared: Path) -> Figure:
    """A measured pattern of nickel against EMsoft's nickel and NiAl, at its known orientation."""
    with h5py.File(shared / "data/patterns/kikuchipy_Ni/patterns.h5") as file:
        scan = file["Scan 1/EBSD"]
        pattern = scan["Data/patterns"][0].astype(np.float32)
        static = scan["Header/static_background"][()].astype(np.float32)
        centre = [float(scan[f"Header/{name}"][()].ravel()[0]) for name in ("pcx", "pcy", "pcz")]
        found = scan["CrystalMap/crystal_map/data"]
        euler = np.degrees([[found[name][0] for name in ("phi1", "Phi", "phi2")]])
    correction = DynamicCorrection()
    corrected = correction(
        torch.from_numpy(pattern - static * pattern.mean() / static.mean())[None]
    )
    detector = Detector.from_pattern_centre(centre, "bruker", pattern.shape)
    candidates = {}
    for name, group in (("Ni", "Fm-3m"), ("NiAl", "Pm-3m")):
        master_pattern = read_master_pattern(shared / f"reference/emsoft/{name}.h5")
        projector = Projector(master_pattern, detector, background=False, solid_angle="physical")
        simulated = correction(projector.patterns(euler_to_quaternion(euler)))[0]
        candidates[f"{name}, {group}"] = simulated.numpy()
    return candidate_figure(
        corrected[0].numpy(), candidates, "A measured pattern and two simulations", "nickel"
    )


def debye_waller(shared: Path) -> Figure:
    """Nickel with the paper's lowest and highest Debye-Waller factors, and two between."""
    nickel = read_master_pattern(shared / "reference/emsoft/Ni.h5").crystal
    factors = [0.005, 0.007, 0.009, 0.011]
    parameters = SimulationParameters(npx=100, energy_min=18.0, n_electrons=200_000)
    patterns = []
    monte_carlo = None
    with tempfile.TemporaryDirectory() as folder:
        for factor in factors:
            path = Path(folder) / f"{factor}.h5"
            simulate(nickel.with_debye_waller(factor), parameters, path, monte_carlo=monte_carlo)
            made = read_master_pattern(path)
            monte_carlo = made.monte_carlo
            projector = Projector(
                made, Detector.paper(229), background=False, solid_angle="physical"
            )
            patterns.append(
                projector.patterns(euler_to_quaternion([[32.0, 41.0, 17.0]]))[0].numpy()
            )
    return debye_waller_figure(patterns, factors, "Nickel with four Debye-Waller factors")


if __name__ == "__main__":
    main()
