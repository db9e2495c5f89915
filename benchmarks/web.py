"""Every page of the site, and fifty readers at once, with 100,000 simulations and workers writing.

    python benchmarks/web.py --json docs/performance/data/web.json --page docs/performance/web.md

Fills the embedded server of a temporary folder as ``benchmarks/queries.py`` does, adds structures,
a master pattern of the paper's size, a data set and evaluated training runs of a thousand phases
each, and serves the pages by ``ebsdsg web`` in a process of its own.  First one reader asks for
every page: wall time, and processor time of server and database together.  Then readers look at
one page after another while workers send heartbeats, end simulations and begin others.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
from queries import fill
from web_database import PATTERN, add_master_pattern, add_structures, add_training
from web_load_page import LIMIT_ALONE, page_of

from stores.collections import Stores
from stores.connect import connect
from stores.embedded import stop
from stores.runs import claim
from stores.states import State, now

REPEATS = 10
WARM = 30
"""Seconds after the start of the server, which loads libraries behind its first answers."""

LIMIT_TOGETHER = 1000.0
"""Milliseconds that 95 of 100 answers may take while many read."""


def pages(run: str, dataset: str) -> tuple[str, ...]:
    """All kinds of pages, fragments and pictures."""
    return (
        "/",
        "/campaigns/paper",
        "/triage",
        "/triage?code=150&name=time-out",
        "/structures",
        "/structures?group=225&page=20",
        "/structures?text=NiAl",
        "/structures/mp-2",
        "/structures/mp-259",
        f"/master-patterns/{PATTERN}/view?energy=3",
        f"/master-patterns/{PATTERN}/lambert/north/3.png",
        "/training",
        f"/training/{run}",
        f"/training/{run}/figures",
        f"/training/{run}/confusion?true=225&predicted=221",
        f"/datasets/{dataset}/patterns/7.png",
        "/predict",
    )


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


def processor_seconds(pids: list[int]) -> float:
    """User and system time of processes, whoever else uses the machine."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def alone(address: str, paths: tuple[str, ...], pids: list[int]) -> list[dict[str, Any]]:
    """Every page, asked for the first time and then ten times, by one reader."""
    rows = []
    with httpx.Client(base_url=address) as client:
        for path in paths:
            _, first, right = ask(client, path)
            time.sleep(0.5)  # what is counted behind the first answer
            used, times = processor_seconds(pids), []
            for _ in range(REPEATS):
                _, seconds, ok = ask(client, path)
                right &= ok
                times.append(1e3 * seconds)
            used = (processor_seconds(pids) - used) / REPEATS
            rows.append(
                {
                    "page": shown(path),
                    "errors": int(not right),
                    "first_ms": round(1e3 * first),
                    "median_ms": round(statistics.median(times)),
                    "longest_ms": round(max(times)),
                    "cpu_ms": round(1e3 * used),
                }
            )
    return rows


def shown(path: str) -> str:
    """A path with its long keys cut."""
    return re.sub(r"[0-9a-f]{64}", "…", path)


def ask(client: httpx.Client, page: str) -> tuple[str, float, bool]:
    begun = time.perf_counter()
    try:
        right = client.get(page, timeout=60).status_code == 200
    except httpx.HTTPError:
        right = False
    return page, time.perf_counter() - begun, right


def read(
    address: str, paths: tuple[str, ...], seed: int, until: float
) -> list[tuple[str, float, bool]]:
    """One reader, who looks at a page for a second before asking for the next."""
    choose, found = random.Random(seed), []
    with httpx.Client(base_url=address) as client:
        time.sleep(choose.random())
        while time.monotonic() < until:
            found.append(ask(client, choose.choice(paths)))
            time.sleep(1)
    return found


def work(stores: Stores, stopped: threading.Event, done: Counter[str]) -> None:
    """What fifty workers write, faster than they do: five heartbeats, one end and one begin of a
    simulation in a second.
    """
    keys = [run["key"] for run in stores.runs.find({"state": "running"}, {"key": 1}).limit(50)]
    waiting = stores.simulations.find({"state": "waiting"}, {"key": 1}).limit(5000)
    open_keys = iter([entry["key"] for entry in waiting])
    mine = None
    for number in itertools.count():
        if stopped.wait(0.2):
            return
        stores.runs.update_one(
            {"key": random.choice(keys), "state": "running"}, {"$set": {"heartbeat": now()}}
        )
        done["heartbeats"] += 1
        if number % 5 == 0:
            if mine is not None:
                mine.finish(State.COMPLETED, energies_done=11)
                done["simulations ended"] += 1
            mine = claim(
                stores, next(open_keys), stage="master pattern", program="bench", n_energies=11
            )


def together(found: list[tuple[str, float, bool]], paths: tuple[str, ...]) -> list[dict[str, Any]]:
    """Answers of all readers by page, and of all pages."""
    rows = []
    for page in (*paths, "all"):
        mine = [(t, ok) for name, t, ok in found if page in (name, "all")]
        times = sorted(1e3 * t for t, _ in mine)
        if not times:
            continue
        rows.append(
            {
                "page": shown(page),
                "answers": len(mine),
                "errors": sum(not ok for _, ok in mine),
                "median_ms": round(statistics.median(times)),
                "p95_ms": round(times[min(len(times) - 1, int(0.95 * len(times)))]),
                "longest_ms": round(times[-1]),
            }
        )
    return rows


def show(title: str, rows: list[dict[str, Any]]) -> None:
    names = [name for name in rows[0] if name != "page"]
    print(f"\n{title}\n{'page':54}" + "".join(f"{name:>12}" for name in names))
    for row in rows:
        print(f"{row['page']:54}" + "".join(f"{row[name]:12}" for name in names), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=100_000, help="simulations")
    parser.add_argument("--readers", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        stores = connect(root=root, database="ebsdsg")
        stopped, done = threading.Event(), Counter[str]()
        try:
            fill(stores, options.n)
            add_structures(stores, options.n // 2)
            add_master_pattern(stores, root)
            paths = pages(*add_training(stores, root))
            process, address = serve(root, "ebsdsg")
            try:
                time.sleep(WARM)
                database = stores.client.admin.command("serverStatus")["pid"]
                one = alone(address, paths, [process.pid, database])
                show("one reader", one)
                writer = threading.Thread(target=work, args=(stores, stopped, done), daemon=True)
                writer.start()
                until = time.monotonic() + options.seconds
                with ThreadPoolExecutor(options.readers) as pool:
                    jobs = [
                        pool.submit(read, address, paths, i, until) for i in range(options.readers)
                    ]
                    answers = [answer for job in jobs for answer in job.result()]
                stopped.set()
                writer.join()
                many = together(answers, paths)
                show(f"{options.readers} readers [ms]", many)
            finally:
                process.terminate()
                process.wait()
        finally:
            stopped.set()
            stores.close()
            stop(root)
    result = {
        "simulations": options.n,
        "structures": options.n // 2,
        "readers": options.readers,
        "seconds": options.seconds,
        "machine": f"{os.cpu_count()} processors, load {load:.1f} before",
        "load_before": round(load, 1),
        "load_after": round(os.getloadavg()[0], 1),
        "writes": dict(done),
        "one_reader": one,
        "together": many,
    }
    slow = [r["page"] for r in one if r["median_ms"] > LIMIT_ALONE]
    right = not slow and not many[-1]["errors"] and many[-1]["p95_ms"] < LIMIT_TOGETHER
    print(f"slow alone: {slow or 'none'}; {'within' if right else 'NOT within'} the limits")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    if options.page:
        options.page.write_text(page_of(result))


if __name__ == "__main__":
    main()
