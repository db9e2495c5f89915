"""Structures at scale: import, standardise and relabel a snapshot, and what came out.

One command prints the tables and writes JSON and the page of the documentation::

    python benchmarks/structures.py

Everything happens in a database of its own that is removed afterwards.  Beside the time of the
whole it measures standardising and relabelling alone, and does the same with spglib on a sample.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import spglib

REPOSITORY = Path(__file__).parents[1]
SNAPSHOT = REPOSITORY.parent / "shared/data/structures/mp_cubic.jsonl.gz"
PAPER = REPOSITORY / "campaigns" / "paper.yaml"
TOLERANCES = (1e-4, 1e-3, 1e-2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "snapshot", type=Path, nargs="?", default=SNAPSHOT, help="JSON lines of structures"
    )
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--every", type=int, default=50, help="rows between two of the sample")
    parser.add_argument("--json", type=Path, default=REPOSITORY / "docs/validation/structures.json")
    parser.add_argument("--page", type=Path, default=REPOSITORY / "docs/validation/structures.md")
    arguments = parser.parse_args()
    with gzip.open(arguments.snapshot, "rt") as stream:
        rows = [json.loads(line) for line in stream]
    result = {
        "machine": f"{os.cpu_count()} cores ({platform.machine()}), shared with other programs",
        "snapshot": arguments.snapshot.name,
        "alone": alone(rows[:: arguments.every]),
        **whole(arguments.snapshot, rows, arguments.processes),
    }
    arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    page = write_page(result)
    arguments.page.write_text(page)
    print(page)


def alone(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Processor time of standardising and relabelling, by us and by spglib, and differences."""
    from ebsdsg_flows.atoms import atoms_of
    from ebsdsg_sim.symmetry import disorder, hall_number_for, standardize

    cells = [atoms_of(row["structure"], row["material_id"]) for row in rows]
    start = time.process_time()
    standard = [standardize(a.lattice, a.positions, a.species) for a in cells]
    middle = time.process_time()
    ours = [[disorder(s, symprec=t).space_group for t in TOLERANCES] for s in standard]
    end = time.process_time()
    theirs, different = [], []
    for atoms, structure in zip(cells, standard, strict=True):
        elements = ["/".join(sorted(s)) for s in atoms.species]
        kinds = [sorted(set(elements)).index(e) for e in elements]
        cell = (atoms.lattice * 10, atoms.positions, kinds)
        number = spglib.get_symmetry_dataset(cell, 0.1).number
        hall = hall_number_for(number)
        found = spglib.get_symmetry_dataset(cell, 0.1, hall_number=hall)
        gaps = np.linalg.norm(found.std_lattice - structure.lattice * 10)
        if (number, hall) != (structure.space_group, structure.setting.hall_number) or gaps > 1e-6:
            different.append(atoms.name)
        one = (found.std_lattice, found.std_positions, [1] * len(found.std_types))
        theirs.append([spglib.get_symmetry_dataset(one, t * 10).number for t in TOLERANCES])
    last = time.process_time()
    different += [a.name for a, x, y in zip(cells, ours, theirs, strict=True) if x != y]
    n = len(rows)
    return {
        "structures": n,
        "standardise_ms": 1e3 * (middle - start) / n,
        "relabel_ms": 1e3 * (end - middle) / n,
        "spglib_ms": 1e3 * (last - end) / n,
        "different_from_spglib": different,
    }


def whole(snapshot: Path, rows: list[dict[str, Any]], processes: int) -> dict[str, Any]:
    """Import and label everything in a database of its own, and count."""
    with tempfile.TemporaryDirectory(prefix="ebsdsg-") as folder:
        os.environ["EBSDSG_ROOT"] = folder
        from ebsdsg_flows.builders.run import build_structures
        from ebsdsg_flows.campaign import load_campaign
        from ebsdsg_flows.imports import import_source
        from ebsdsg_flows.label_changes import (
            label_changes,
            labelled_structures,
            sensitive,
            transitions,
            within,
        )
        from ebsdsg_flows.session import open_stores
        from stores.embedded import stop

        stores = open_stores()
        try:
            wall, cpu = time.monotonic(), time.process_time()
            import_source(stores, str(snapshot))
            imported = {
                "minutes": (time.monotonic() - wall) / 60,
                "cpu_s": time.process_time() - cpu,
            }
            built = build_structures(stores, processes=processes)
            again = build_structures(stores, processes=1)
            documents = list(labelled_structures(stores))
            query = load_campaign(PAPER).structures
            july = {row["material_id"] for row in rows if row.get("in_2024_07_snapshot")}
            kept = list(stores.structures.find(within(query), {"key": 1, "space_group": 1}))
            matrix = transitions(documents)
            loose = sensitive(documents)
            return {
                "import": imported,
                "build": {
                    "processes": processes,
                    "entries": built.entries,
                    "made": built.made,
                    "unusable": built.unusable,
                    "minutes": built.wall_seconds / 60,
                    "cpu_s": built.cpu_seconds,
                    "second_run_made": again.made,
                    "second_run_s": again.wall_seconds,
                },
                "paper_limits": {
                    "all": len(kept),
                    "july": sum(d["key"] in july for d in kept),
                    "july_by_group": dict(
                        sorted(
                            Counter(
                                d["space_group"]["number"] for d in kept if d["key"] in july
                            ).items()
                        )
                    ),
                },
                "transitions": {
                    "true": matrix.true_groups,
                    "relabelled": matrix.relabelled_groups,
                    "table": matrix.table,
                },
                "changes": [
                    {"count": c.structures, "from": c.true, "to": c.relabelled, "kind": c.kind,
                     "k_index": c.k_index, "way": c.text, "examples": c.examples}
                    for c in label_changes(documents)
                ],
                "sensitive": {
                    "all": len(loose),
                    "patterns": [
                        {"true": true, "answers": list(answers), "structures": number}
                        for (true, answers), number in Counter(
                            (s.true, tuple(s.by_tolerance[t] for t in sorted(s.by_tolerance)))
                            for s in loose
                        ).most_common()
                    ],
                },
            }  # fmt: skip
        finally:
            stores.close()
            stop(Path(folder))


def write_page(result: dict[str, Any]) -> str:
    """The page of the documentation, of the result alone."""
    from ebsdsg_flows.label_changes import symbol
    from ebsdsg_sim.subgroups import subgroup_graph

    alone, build, limits = result["alone"], result["build"], result["paper_limits"]
    table = result["transitions"]
    groups = ", ".join(f"{n} in {symbol(int(g))}" for g, n in limits["july_by_group"].items())
    lines = [
        "# Validation of the labels",
        "",
        f"Written by `python benchmarks/structures.py` from {build['entries']} structures of the "
        f"Materials Project (`{result['snapshot']}`) on {result['machine']}.",
        "",
        "| | |",
        "|---|---|",
        f"| import | {result['import']['minutes']:.1f} min, {result['import']['cpu_s']:.0f} s of "
        "processor time |",
        f"| label and store, {build['processes']} processes | {build['minutes']:.1f} min, "
        f"{build['cpu_s']:.0f} s of processor time, "
        f"{1e3 * build['cpu_s'] / build['entries']:.1f} ms for each structure |",
        f"| of that, standardise and relabel at three tolerances | "
        f"{alone['standardise_ms'] + alone['relabel_ms']:.1f} ms for each structure "
        f"({alone['structures']} structures) |",
        f"| the same by spglib | {alone['spglib_ms']:.0f} ms |",
        f"| answers that differ from spglib's | {len(alone['different_from_spglib'])} "
        f"{' '.join(alone['different_from_spglib'])} |",
        f"| could not be used | {build['unusable']} |",
        f"| second run | {build['second_run_made']} made, {build['second_run_s']:.1f} s |",
        f"| within the limits of `campaigns/paper.yaml` | {limits['all']} |",
        f"| of these in the snapshot of July 2024 | {limits['july']}: {groups} |",
        "",
        "## From true to relabelled groups",
        "",
        "| true | " + " | ".join(f"{symbol(g)} {g}" for g in table["relabelled"]) + " | all |",
        "|---|" + "---|" * (len(table["relabelled"]) + 1),
    ]
    for group, row in zip(table["true"], table["table"], strict=True):
        cells = " | ".join(str(n or "") for n in row)
        lines.append(f"| {symbol(group)} {group} | {cells} | {sum(row)} |")
    lines += [
        "",
        "## Why they change",
        "",
        "Chains of maximal subgroups from the disordered structure down to the ordered one; the "
        "factor counts primitive cells of the disordered structure in one of the ordered.",
        "",
        "| structures | from | to | factor | chain | such as |",
        "|---|---|---|---|---|---|",
        *(
            f"| {c['count']} | {symbol(c['from'])} | {symbol(c['to'])} | {c['k_index']} | "
            f"{c['way']} | {', '.join(c['examples'])} |"
            for c in result["changes"]
        ),
        "",
        "## Maximal klassengleiche subgroups among the six groups",
        "",
        "| group | subgroup | index |",
        "|---|---|---|",
        *(
            f"| {symbol(s.supergroup)} | {symbol(s.subgroup)} | {s.index} |"
            for s in subgroup_graph(table["true"])
        ),
        "",
        "## Labels that depend on the tolerance",
        "",
        f"{result['sensitive']['all']} of {build['entries']} structures; the label is the answer "
        "at 0.01 Å. `ebsdsg structures sensitive` lists them.",
        "",
        "| structures | true | at 0.001 Å | at 0.01 Å | at 0.1 Å |",
        "|---|---|---|---|---|",
        *(
            f"| {p['structures']} | {symbol(p['true'])} | "
            + " | ".join(symbol(g) for g in p["answers"])
            + " |"
            for p in result["sensitive"]["patterns"]
        ),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
