"""Fifty readers at once on the pages, with 100,000 simulations and worker writes going on.

Fills the embedded server of a temporary folder as ``benchmarks/queries.py`` does, adds structures,
serves the pages by ``ebsdsg web`` in a process of its own, and lets readers ask for pages one after
another while a writer changes heartbeats.  Prints a table: answers, errors, and the median, 95th
percentile and longest wall time of each page, first alone, then together.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
from queries import documents, fill

from stores.collections import Stores
from stores.connect import connect
from stores.documents import crystal_hash
from stores.embedded import stop
from stores.states import now

PAGES = (
    "/",
    "/campaigns/paper",
    "/triage",
    "/triage?code=150&name=time-out",
    "/structures",
    "/structures?group=225&page=20",
    "/structures/mp-2593",
    "/training",
    "/predict",
)


def add_structures(stores: Stores, n: int) -> None:
    """One structure for every two simulations, as their documents are."""
    simulation, _ = next(documents(1))
    crystal = simulation["crystal"]
    group = {"number": 225, "symbol": "Fm-3m", "hall_number": 523, "point_group": "m-3m",
             "origin_choice": None}  # fmt: skip
    common: dict[str, Any] = {
        "formula": "NiAl", "crystal": crystal, "crystal_hash": crystal_hash(crystal),
        "space_group": group, "volume_conventional": 43.0, "volume_primitive": 43.0,
        "n_atoms": 8, "n_atoms_primitive": 2, "density": 5.0, "prototype": "AB_cF8_225_4_4",
        "symprec": 0.1, "source": {"kind": "python", "identifier": "x", "reference": ""},
        "licence": "none", "notes": [],
        "relabel": {"number": 225, "symbol": "Fm-3m", "symprec": 0.01, "by_tolerance": [],
                    "sensitive": False, "descent": None},
    }  # fmt: skip
    batch = [{**common, "key": f"mp-{i}", "material_id": f"mp-{i}"} for i in range(n)]
    for first in range(0, n, 2000):
        stores.structures.insert_many(batch[first : first + 2000])


def serve(root: Path, database: str) -> tuple[subprocess.Popen[bytes], str]:
    """A server on a free port, and its address once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "EBSDSG_ROOT": str(root), "EBSDSG_DATABASE": database}
    environment.pop("EBSDSG_WEB_TOKEN", None)
    process = subprocess.Popen(
        [sys.executable, "-m", "ebsdsg_flows", "web", "--port", str(port)], env=environment
    )
    address = f"http://127.0.0.1:{port}"
    while True:
        try:
            httpx.get(address + "/login")
            return process, address
        except httpx.TransportError:
            if process.poll() is not None:
                raise SystemExit("the server did not start") from None
            time.sleep(0.2)


def ask(client: httpx.Client, page: str) -> tuple[str, float, bool]:
    begun = time.perf_counter()
    try:
        right = client.get(page, timeout=60).status_code == 200
    except httpx.HTTPError:
        right = False
    return page, time.perf_counter() - begun, right


def read(address: str, seed: int, until: float) -> list[tuple[str, float, bool]]:
    """One reader, who looks at a page for a second before asking for the next."""
    choose, found = random.Random(seed), []
    with httpx.Client(base_url=address) as client:
        time.sleep(choose.random())
        while time.monotonic() < until:
            found.append(ask(client, choose.choice(PAGES)))
            time.sleep(1)
    return found


def beat(stores: Stores, stopped: threading.Event) -> None:
    """What fifty running workers write: a heartbeat each every ten seconds."""
    keys = [run["key"] for run in stores.runs.find({"state": "running"}, {"key": 1}).limit(50)]
    while not stopped.wait(0.2):
        stores.runs.update_one(
            {"key": random.choice(keys), "state": "running"}, {"$set": {"heartbeat": now()}}
        )


def table(found: list[tuple[str, float, bool]]) -> list[dict[str, Any]]:
    rows = []
    for page in (*PAGES, "all"):
        mine = [(t, ok) for name, t, ok in found if page in (name, "all")]
        times = sorted(1e3 * t for t, _ in mine)
        if not times:
            continue
        rows.append(
            {
                "page": page,
                "answers": len(mine),
                "errors": sum(not ok for _, ok in mine),
                "median_ms": round(statistics.median(times)),
                "p95_ms": round(times[min(len(times) - 1, int(0.95 * len(times)))]),
                "longest_ms": round(times[-1]),
            }
        )
    return rows


def show(title: str, rows: list[dict[str, Any]]) -> None:
    print(f"\n{title}\n{'page':34}{'answers':>9}{'errors':>8}{'median':>9}{'p95':>8}{'longest':>9}")
    for r in rows:
        print(
            f"{r['page']:34}{r['answers']:9}{r['errors']:8}{r['median_ms']:9}{r['p95_ms']:8}"
            f"{r['longest_ms']:9}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=100_000, help="simulations")
    parser.add_argument("--readers", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        stores = connect(root=root, database="ebsdsg")
        stopped = threading.Event()
        try:
            fill(stores, options.n)
            add_structures(stores, options.n // 2)
            process, address = serve(root, "ebsdsg")
            try:
                with httpx.Client(base_url=address) as client:
                    for page in PAGES:  # counts and orders that are built once
                        ask(client, page)
                    time.sleep(5)
                    alone = table([ask(client, page) for _ in range(10) for page in PAGES])
                show("one reader [ms]", alone)
                threading.Thread(target=beat, args=(stores, stopped), daemon=True).start()
                until = time.monotonic() + options.seconds
                with ThreadPoolExecutor(options.readers) as pool:
                    jobs = [pool.submit(read, address, i, until) for i in range(options.readers)]
                    together = table([answer for job in jobs for answer in job.result()])
                show(f"{options.readers} readers [ms]", together)
            finally:
                process.terminate()
                process.wait()
        finally:
            stopped.set()
            stores.close()
            stop(root)
    if options.json:
        result = {
            "simulations": options.n,
            "readers": options.readers,
            "machine": f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.0f}",
            "one_reader": alone,
            "together": together,
        }
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
