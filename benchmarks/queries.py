"""Time every query that the documentation names, at 100,000 simulations.

With ``--json`` and ``--page`` the results are written for the documentation.

Fills the embedded server of a temporary folder (or, with ``EBSDSG_MONGO_URI``, a database of its
own on that server, dropped afterwards), asks each query several times, and prints a table: the
first answer, which may have to build a count or an order, the median and best wall time of the
others, and the processor time of client and embedded server together.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from ebsdsg_flows.advance import settle
from stores import queries
from stores.collections import Stores
from stores.connect import connect
from stores.documents import (
    CampaignDocument,
    EngineReference,
    Failure,
    Owner,
    RunDocument,
    SimulationDocument,
)
from stores.embedded import stop
from stores.states import now

GROUPS = (221, 223, 225, 227, 229, 230)
STATES = ("completed", "waiting", "failed", "timed_out", "running", "lost")
WEIGHTS = (80, 10, 4, 3, 1, 2)
FAILURES = ((150, "time-out"), (145, "crash"), (140, "disk full"), (0, "lost"), (161, "not finite"))
HOSTS = 40
CAMPAIGN = 5269
LIMIT = 50.0


def crystal() -> dict[str, Any]:
    return {
        "cell": [0.35, 0.35, 0.35, 90, 90, 90],
        "space_group": 225,
        "hall_number": 523,
        "sites": [
            {"element": "Ni", "position": [0, 0, 0], "occupancy": 1, "debye_waller": 0.004},
            {"element": "Al", "position": [0.5, 0.5, 0.5], "occupancy": 1, "debye_waller": 0.004},
        ],
    }


def documents(n: int) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Simulations with a run each, as their models write them."""
    choose = random.Random(1)
    simulation = SimulationDocument.of(
        material_id="mp-0",
        formula="NiAl",
        crystal=crystal(),
        parameters={"npx": 300, "dmin": 0.05, "voltage": 20.0, "energy_min": 10.0},
        engine=EngineReference(name="builtin", physics_version="1"),
        space_group=225,
        relabelled=225,
    ).to_mongo()
    run = RunDocument(
        simulation=simulation["key"],
        material_id="mp-0",
        stage="master pattern",
        program="ebsdsg builtin",
        owner=Owner(host="node", pid=1),
    ).to_mongo()
    began = now() - timedelta(days=30)
    for i in range(n):
        state = choose.choices(STATES, WEIGHTS)[0]
        key, material = f"{i:064x}", f"mp-{i // 2}"
        group = choose.choice(GROUPS)
        started = began + timedelta(seconds=25 * i)
        bad = state in ("failed", "timed_out", "lost")
        code, name = choose.choice(FAILURES)
        failure = Failure(code=code, name=name, message=f"it ended, number {i}").model_dump()
        done = 11 if state == "completed" else choose.randrange(11)
        attempt = {**simulation["attempts"][0], "state": state}
        yield (
            {
                **simulation,
                "key": key,
                "material_id": material,
                "space_group": group,
                "relabelled": choose.choice(GROUPS[:5]),
                "state": state,
                "stage": choose.choice(("monte carlo", "master pattern")),
                "energies_done": done,
                "attempts": [attempt],
            },
            {
                **run,
                "key": str(uuid4()),
                "simulation": key,
                "material_id": material,
                "owner": {**run["owner"], "host": f"node{choose.randrange(HOSTS)}"},
                "state": "completed" if state == "waiting" else state,
                "started": started,
                "heartbeat": started,
                "finished": None if state == "running" else started + timedelta(seconds=600),
                "wall_seconds": None if state == "running" else choose.uniform(30, 40000),
                "cpu_seconds": choose.uniform(30, 40000),
                "failure": failure if bad else None,
                "energies_done": done,
            },
        )


def fill(stores: Stores, n: int) -> None:
    simulations, runs = [], []
    for number, (simulation, run) in enumerate(documents(n), 1):
        simulations.append(simulation)
        runs.append(run)
        if number % 2000 == 0 or number == n:
            stores.simulations.insert_many(simulations)
            stores.runs.insert_many(runs)
            simulations, runs = [], []
    members = [
        {
            "key": f"paper/{i:064x}", "campaign": "paper", "member": f"{i:064x}", "current": True,
            "material_id": f"mp-{i // 2}", "variant": "", "simulation": f"{i:064x}",
            "space_group": 225, "outcome": "open" if i == 7 else "ended", "priority": 0,
        }
        for i in range(min(CAMPAIGN, n))
    ]  # fmt: skip
    stores.members.insert_many(members)
    stores.save(
        CampaignDocument(
            key="paper", name="paper", query={}, parameters={"datasets": {"true": {}}, "queue": {}}
        )
    )


QUERIES: dict[str, Callable[[Stores], object]] = {
    "counts()": queries.counts,
    'counts_by_group(label="true")': queries.counts_by_group,
    'counts_by_group(label="relabelled")': lambda s: queries.counts_by_group(s, label="relabelled"),
    "timed_out()": queries.timed_out,
    "failures_by_code()": queries.failures_by_code,
    "slowest(10)": queries.slowest,
    'on_host("node7")': lambda s: queries.on_host(s, "node7"),
    'on_host("node7", state="failed")': lambda s: queries.on_host(s, "node7", state="failed"),
    'everything_about("mp-2593")': lambda s: queries.everything_about(s, "mp-2593"),
    "training_runs()": queries.training_runs,
    'campaign_simulations("paper")': lambda s: queries.campaign_simulations(s, "paper"),
    'query {"state": "timed_out"}': lambda s: queries.find(
        s, "simulations", {"state": "timed_out"}
    ),
    'query {"relabelled": 229}': lambda s: queries.find(
        s, "simulations", {"relabelled": 229}, fields=("formula", "space_group", "state")
    ),
    'query {"failure.code": 150} in runs': lambda s: queries.find(s, "runs", {"failure.code": 150}),
    'query {"state": "failed", "space_group": 227}': lambda s: queries.find(
        s, "simulations", {"state": "failed", "space_group": 227}
    ),
    "is any member of a campaign open?": lambda s: s.members.find_one(
        {"campaign": "paper", "current": True, "outcome": "open"}
    ),
    "a worker ends one of 5,269 members": lambda s: settle(s, f"paper/{8:064x}"),
}


def processor_seconds(stores: Stores) -> float:
    """Of this process, and of the embedded server if that is used."""
    status = stores.client.admin.command("serverStatus")
    server = 0.0
    if "embedded" in status["process"]:
        fields = Path(f"/proc/{status['pid']}/stat").read_text().rpartition(")")[2].split()
        server = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return time.process_time() + server


def measure(stores: Stores, repeats: int) -> list[dict[str, Any]]:
    rows = []
    for name, ask in QUERIES.items():
        times = []
        for number in range(repeats + 1):
            if number == 1:
                used = processor_seconds(stores)
            begun = time.perf_counter()
            answer = ask(stores)
            times.append((time.perf_counter() - begun) * 1e3)
        used = (processor_seconds(stores) - used) / repeats * 1e3
        size = len(answer) if isinstance(answer, list | dict) else int(answer is not None)
        rows.append(
            {
                "query": name,
                "first_ms": round(times[0], 1),
                "median_ms": round(statistics.median(times[1:]), 1),
                "best_ms": round(min(times[1:]), 1),
                "cpu_ms": round(used, 1),
                "answers": size,
            }
        )
        row = rows[-1]
        print(
            f"{name:48} {row['first_ms']:9.1f} {row['median_ms']:9.1f} {row['best_ms']:9.1f}"
            f" {row['cpu_ms']:9.1f} {size:8d}",
            flush=True,
        )
    return rows


def page(result: dict[str, Any]) -> str:
    lines = [
        "# Speed of the queries",
        "",
        "Written by `python benchmarks/queries.py --json docs/performance/data/queries.json "
        "--page docs/performance/queries.md`.",
        "",
        f"{result['simulations']:,} simulations with a run each on {result['server']}, filled in "
        f"{result['fill_seconds']:.0f} s; a campaign of {CAMPAIGN:,} members. Wall time in "
        "milliseconds at the client, answers decoded; "
        f"machine: {result['machine']}. *First* is the first answer after the server started, "
        "which may build a count or an order that later ones read; *CPU* is the processor time of "
        "client and server for one answer, which does not depend on what else the machine does.",
        "",
        "| query | first | median | best | CPU | answers |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| `{r['query']}` | {r['first_ms']} | {r['median_ms']} | {r['best_ms']} | {r['cpu_ms']} "
        f"| {r['answers']} |"
        for r in result["queries"]
    ]
    lines += [
        "",
        "The embedded server counts and groups by indexed fields without looking at documents, and "
        "reads the first of an order along an index; what is asked for the first time is counted "
        "or sorted once and kept up to date by every write.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=100_000, help="simulations")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    real = os.environ.get("EBSDSG_MONGO_URI")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        stores = connect(root=None if real else root, database=f"benchmark_{uuid4().hex[:8]}")
        try:
            begun = time.perf_counter()
            fill(stores, options.n)
            seconds = time.perf_counter() - begun
            print(f"{options.n} simulations and runs in {seconds:.0f} s")
            print(f"{'query':48} {'first ms':>9} {'median ms':>9} {'best ms':>9} {'CPU ms':>9}")
            rows = measure(stores, options.repeats)
        finally:
            stores.client.drop_database(stores.database.name)
            stores.close()
            if not real:
                stop(root)
    result = {
        "simulations": options.n,
        "server": "a MongoDB" if real else "the embedded server",
        "machine": f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.0f}",
        "fill_seconds": round(seconds, 1),
        "queries": rows,
    }
    slow = [row["query"] for row in rows if row["cpu_ms"] > LIMIT]
    print(f"more than {LIMIT:g} ms of processor time: {', '.join(slow) or 'none'}")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    if options.page:
        options.page.write_text(page(result))


if __name__ == "__main__":
    main()
