"""How our image quality ranks the ferrite scan's patterns, against the vendor's own column.

    python benchmarks/pattern_quality.py [--shared DIR] [--output quality.json]

Prints Spearman's rank correlation with the image quality and the confidence index that EDAX's
software wrote, for several sizes and masks of the measure, over all patterns and over one pattern
of each grain (neighbours in a grain are almost the same pattern).
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

from ebsdsg_ml.experimental.given import Given
from ebsdsg_ml.experimental.processing import PatternProcessing
from ebsdsg_ml.experimental.read import read_patterns
from ebsdsg_ml.quality import QualityDefinition

SIZES, MASKS = (60, 120, 180, 229, 480), (None, 0.48)
PROCESSINGS = {"background removed": {}, "as in the file": {"static": None, "dynamic": None}}


def compare(folder: Path) -> list[dict[str, object]]:
    """One row per size, processing and mask."""
    rows: list[dict[str, object]] = []
    given = Given(table=folder / "scan_rows.csv")
    for name, options in PROCESSINGS.items():
        for size in SIZES:
            processing = PatternProcessing.from_dict({"size": size, **options})
            held = read_patterns(folder / "patterns", processing=processing, given=given)
            grains = held.extra["grain"]
            # the first pattern of each grain in the order of the scan
            first = np.unique(grains, return_index=True)[1]
            for mask in MASKS:
                definition = QualityDefinition(size, mask)
                quality = definition.measure(torch.from_numpy(held.patterns)).numpy()
                row: dict[str, object] = {"processing": name, "size": size, "mask": mask}
                for column in ("iq", "ci"):
                    theirs = held.extra[column]
                    row[column] = round(float(spearmanr(quality, theirs)[0]), 3)
                    row[f"{column}_grains"] = round(
                        float(spearmanr(quality[first], theirs[first])[0]), 3
                    )
                row["n"], row["n_grains"] = len(held), len(first)
                rows.append(row)
    return rows


def main() -> None:
    """Print the table and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path(os.environ.get("EBSDSG_SHARED", Path(__file__).parents[1].parent / "shared"))
    parser.add_argument("--shared", type=Path, default=default)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = compare(options.shared / "data/patterns/openxy_ferrite")
    print(f"{'processing':20}{'size':>6}{'mask':>6}{'IQ':>8}{'grains':>8}{'CI':>8}{'grains':>8}")
    for r in rows:
        cells = "".join(f"{r[k]:>8}" for k in ("iq", "iq_grains", "ci", "ci_grains"))
        print(f"{r['processing']:20}{r['size']:>6}{r['mask'] or 'none':>6}{cells}")
    print(f"{rows[0]['n']} patterns, {rows[0]['n_grains']} grains")
    if options.output is not None:
        options.output.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
