"""Rows of a JSON-lines snapshot imported into the embedded database: minutes and processor seconds.

Run ``python benchmarks/imports.py SNAPSHOT.jsonl.gz``; prints a table and writes
``imports.json`` beside the data root that it makes and removes.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

from ebsdsg_flows.imports import import_source
from stores.connect import connect
from stores.embedded import stop


def server_seconds(root: Path) -> float:
    """Processor time [s] of the embedded server of a data root, from /proc."""
    ticks = 0.0
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            command = (folder / "cmdline").read_bytes().split(b"\0")
            if b"stores.embedded" in command and str(root).encode() in command:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                ticks += float(fields[11]) + float(fields[12])
        except OSError:
            continue
    return ticks / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Import twice and print what each import took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("snapshot", type=Path)
    parser.add_argument("--output", type=Path, default=Path("imports.json"))
    arguments = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve() / "root"
        stores = connect(None, root=root)
        try:
            for name in ("first", "again"):
                wall, cpu, server = time.monotonic(), time.process_time(), server_seconds(root)
                counts = import_source(stores, arguments.snapshot).counts
                rows = sum(counts.values())
                result = {
                    "import": name,
                    **counts,
                    "rows": rows,
                    "minutes": (time.monotonic() - wall) / 60,
                    "client_cpu_s": time.process_time() - cpu,
                    "server_cpu_s": server_seconds(root) - server,
                }
                total = result["client_cpu_s"] + result["server_cpu_s"]
                result["cpu_ms_per_row"] = 1e3 * total / rows
                results.append(result)
        finally:
            stores.close()
            stop(root)
    print("import   rows  minutes  client CPU s  server CPU s  CPU ms/row")
    for r in results:
        print(
            f"{r['import']:6} {r['rows']:6d}  {r['minutes']:7.2f}  {r['client_cpu_s']:12.1f}  "
            f"{r['server_cpu_s']:12.1f}  {r['cpu_ms_per_row']:10.2f}"
        )
    arguments.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
