"""What ``ebsdsg patterns`` prints of a set of experimental patterns."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ebsdsg_ml.experimental.pattern_set import PatternSet


def print_set(held: PatternSet) -> None:
    """Print processing, phases and sources of a set of patterns."""
    import numpy as np

    from ebsdsg_ml.experimental.sheet import phase_summary, source_lines

    size, definition = held.processing["size"], held.quality_definition
    n_files = len(np.unique(held.source))
    print(f"{len(held)} patterns of {size} x {size} pixels from {n_files} file(s)")
    steps = {k: v for k, v in held.processing.items() if k != "size" and v not in (None, False)}
    print("processing  " + ", ".join(f"{k} {json.dumps(v)}" for k, v in steps.items()))
    print(f"quality     {definition['formula']}, mask {definition['mask'] or 'none'}")
    known = int(np.isfinite(held.pc).all(axis=1).sum())
    turned = int(np.isfinite(held.quaternions).all(axis=1).sum())
    print(f"known       pattern centre of {known}, orientation of {turned}")
    for row in phase_summary(held):
        group = row["space_group"] or "not known"
        if row.get("relabelled"):
            group = f"{group} (relabelled {row['relabelled']})"
        line = f"  {row['name'] or 'phase not known'}, space group {group}: {row['patterns']}"
        low, middle, high = row["quality"] or (float("nan"),) * 3
        line += f" patterns, quality {low:.3f} to {high:.3f}, median {middle:.3f}"
        said = row["in_file"]
        if row["given"].get("name") and said.get("name") not in ("", row["name"]):
            line += f" (the file says {said['name']})"
        print(line)
    for kind, files, terms, remarks in source_lines(held):
        print(f"  {kind}: {files}" + "".join(f"; {text}" for text in (terms, remarks) if text))
    if held.selection:
        print(f"chosen      {json.dumps(held.selection)}")


def print_table(held: PatternSet) -> None:
    """Print a line for every pattern."""
    from rich.console import Console
    from rich.table import Table

    extra = [name for name in held.extra if name in ("iq", "ci", "band_contrast", "mad", "fit_deg")]
    table = Table()
    for name in ("row", "pattern", "phase", "group", "quality", *extra):
        table.add_column(name, overflow="fold")
    rows = zip(held.names(), held.phase_names(), held.label, held.quality, strict=True)
    for i, (name, phase, label, quality) in enumerate(rows):
        numbers = [f"{held.extra[e][i]:g}" for e in extra]
        table.add_row(str(i), name, phase, str(label or ""), f"{quality:.4f}", *numbers)
    # names of phases and files may hold square brackets
    Console(markup=False).print(table)
