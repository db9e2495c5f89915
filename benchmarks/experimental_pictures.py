"""Import all real patterns of the reference data and draw the contact sheet of the documentation.

python benchmarks/experimental_pictures.py [--shared DIR] [--output docs/images/experimental.png]
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import torch

from ebsdsg_ml.experimental.given import Given
from ebsdsg_ml.experimental.processing import PatternProcessing
from ebsdsg_ml.experimental.read import read_patterns
from ebsdsg_ml.experimental.sheet import labels_of, spread
from ebsdsg_ml.figures import contact_sheet
from ebsdsg_ml.imperfections import DynamicCorrection


def groups(folder: Path) -> list[tuple[list[Path], Given, int]]:
    """Files, the user's word on them, and how many to draw."""
    ferrite = folder / "openxy_ferrite"
    tsl = {"pc": [0.5017, 0.7189, 0.5342], "convention": "tsl", "working_distance": 15}
    kikuchipy = Given("Ni", 225, source="kikuchipy (Ånes)", licence="CC-BY 4.0")
    return [
        (
            [folder / "krkaufma_Al/sample_ebsd.tiff"],
            Given("Al", 225, source="Vecchio laboratory, UCSD", licence="MIT"),
            1,
        ),
        (
            [folder / "kikuchipydata_Si/si_in.h5"],
            Given("Si", 227, source="kikuchipy-data (Ånes)", licence="CC-BY 4.0"),
            1,
        ),
        ([folder / "kikuchipy_Ni/patterns.h5"], kikuchipy, 5),
        (sorted((folder / "kikuchipy_Ni").glob("*.bmp")), kikuchipy, 1),
        (
            [ferrite / "patterns"],
            Given(
                "ferrite",
                229,
                tsl,
                "OpenXY, Brigham Young University",
                "BSD-3-Clause",
                ferrite / "scan_rows.csv",
            ),
            10,
        ),
    ]


def main() -> None:
    """Import, print what was found, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path(os.environ.get("EBSDSG_SHARED", Path(__file__).parents[1].parent / "shared"))
    here = Path(__file__).parents[1] / "docs/images/experimental.png"
    parser.add_argument("--shared", type=Path, default=default)
    parser.add_argument("--output", type=Path, default=here)
    options = parser.parse_args()
    torch.set_num_threads(1)
    patterns, labels, total = [], [], 0
    for files, given, count in groups(options.shared / "data/patterns"):
        # calibration images come without a background: a narrow blur has to do for it
        sigma = 0.05 if files[0].suffix == ".bmp" else 0.125
        processing = PatternProcessing(dynamic=DynamicCorrection(sigma=sigma))
        held = read_patterns(files, given=given, processing=processing)
        rows = spread(held, count)
        patterns.append(held.patterns[rows])
        labels += labels_of(held, rows)
        total += len(held)
        known = int(np.isfinite(held.pc).all(axis=1).sum())
        turned = int(np.isfinite(held.quaternions).all(axis=1).sum())
        print(
            f"{held.sources[0]['kind']:16}{given.phase:8}{len(held):>4} patterns, quality "
            f"{held.quality.min():.3f} to {held.quality.max():.3f}, centre of {known}, orientation "
            f"of {turned}; {'; '.join(held.sources[0]['remarks'])}"
        )
    print(f"{total} patterns")
    contact_sheet(np.concatenate(patterns), labels, columns=6, pixels=170).save(options.output)


if __name__ == "__main__":
    main()
