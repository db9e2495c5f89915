"""Processor time of planning and submitting a campaign of thousands of structures.

``python benchmarks/submission.py SNAPSHOT.jsonl.gz`` plans and submits ``campaigns/paper.yaml``
with the structures of a file, in a data root that is removed afterwards, and prints a table;
``--json`` writes it to a file, too.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]


def server_seconds(root: Path) -> float:
    """Processor time of the embedded server's processes so far [s]."""
    ticks = 0
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
            if b"stores.embedded" in command and str(root).encode() in command:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        except OSError:
            continue  # it has just ended
    return ticks / os.sysconf("SC_CLK_TCK")


def measured(step: str, root: Path, work: Callable[[], Any]) -> dict[str, Any]:
    """Row of the table for one step."""
    wall, cpu, server = time.perf_counter(), time.process_time(), server_seconds(root)
    new = len(work().new)
    row = {
        "step": step,
        "new": new,
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "server_cpu_seconds": round(server_seconds(root) - server, 2),
        "wall_seconds": round(time.perf_counter() - wall, 1),
    }
    print(
        f"{step:12} {new:7} {row['cpu_seconds']:10.2f} {row['server_cpu_seconds']:12.2f} "
        f"{row['wall_seconds']:8.1f}",
        flush=True,
    )
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("snapshot", type=Path, help="structures as JSON lines")
    parser.add_argument("--campaign", type=Path, default=REPOSITORY / "campaigns" / "paper.yaml")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    from ebsdsg_flows.campaign import load_campaign
    from ebsdsg_flows.submit import plan, submit
    from stores.connect import connect
    from stores.embedded import stop

    campaign = load_campaign(arguments.campaign)
    source = str(arguments.snapshot.resolve())
    query = campaign.structures.model_copy(update={"source": source})
    campaign = campaign.model_copy(update={"structures": query})
    load = os.getloadavg()[0]
    print(f"load {load:.1f} on {os.cpu_count()} processors")
    print("step             new  CPU [s]  server CPU [s]  wall [s]")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        try:
            stores = connect(root=root)
            steps = (("dry run", plan), ("submit", submit), ("submit again", submit))
            rows = [measured(name, root, partial(do, campaign, stores)) for name, do in steps]
        finally:
            stop(root)
    if arguments.json is not None:
        content = {"load": load, "processors": os.cpu_count(), "steps": rows}
        arguments.json.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
