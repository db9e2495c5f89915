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
import hashlib
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
import numpy as np
from queries import GROUPS, documents, fill

from ebsdsg_ml.dataset_file import open_dataset
from ebsdsg_ml.datasets import PatternSource, build_dataset
from ebsdsg_ml.metrics import (
    class_accuracies,
    confusion_matrix,
    overall_accuracy,
    phase_accuracies,
)
from ebsdsg_ml.recipe import DatasetRecipe
from ebsdsg_sim.crystal import Crystal
from ebsdsg_sim.hdf5 import write_master_pattern
from ebsdsg_sim.masterpattern import MasterPattern
from ebsdsg_sim.montecarlo import MonteCarlo
from ebsdsg_sim.parameters import SimulationParameters
from stores.collections import Stores
from stores.connect import connect
from stores.documents import (
    DatasetDocument,
    EngineReference,
    FileReference,
    MasterPatternDocument,
    PredictionDocument,
    TrainingRunDocument,
    crystal_hash,
)
from stores.embedded import stop
from stores.identity import content_hash
from stores.runs import claim
from stores.states import State, now

REPEATS = 10
QUIET = 3.0
BUSY = (
    "**Other programs kept the machine busy while this was measured** (see the load): the wall "
    "times, and the limits that they miss, are of that load and not of the pages; the processor "
    "times and the errors are. Ask again on a quiet machine."
)
"""What the page says above a load of :data:`QUIET` before the start."""

WARM = 30
"""Seconds after the start of the server, which loads libraries behind its first answers."""
GROUP_PHASES = 167
"""Phases of each of the six groups in the data set: a thousand together, as a fold of the paper."""

PATTERNS = 1500
"""Of each group."""

SIDE = 48
LIMIT_ALONE = 300.0
LIMIT_TOGETHER = 1000.0
"""Milliseconds that a page may take alone, and 95 of 100 together."""


def pages(run: str, dataset: str) -> tuple[str, ...]:
    """All kinds of pages, fragments and pictures."""
    pattern = f"{4:064x}"
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
        f"/master-patterns/{pattern}/view?energy=3",
        f"/master-patterns/{pattern}/lambert/north/3.png",
        "/training",
        f"/training/{run}",
        f"/training/{run}/figures",
        f"/training/{run}/confusion?true=225&predicted=221",
        f"/datasets/{dataset}/patterns/7.png",
        "/predict",
    )


def add_structures(stores: Stores, n: int) -> None:
    """One structure for every two simulations, as their documents are."""
    simulation, _ = next(documents(1))
    crystal = simulation["crystal"]
    group = {"number": 225, "symbol": "Fm-3m", "hall_number": 523, "point_group": "m-3m",
             "origin_choice": None}  # fmt: skip
    common: dict[str, Any] = {
        "formula": "NiAl", "composition": {"Ni": 4, "Al": 4}, "elements": ["Al", "Ni"],
        "crystal": crystal, "crystal_hash": crystal_hash(crystal),
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


def add_master_pattern(stores: Stores, root: Path) -> None:
    """A file of 601 x 601 pixels and 11 energies for the simulation of ``mp-2``."""
    key = f"{4:064x}"
    simulation = stores.simulations.find_one({"key": key}) or {}
    crystal = Crystal.from_dict({"name": "NiAl", **simulation["crystal"]})
    stores.simulations.update_one({"key": key}, {"$set": {"crystal.name": "NiAl"}})
    parameters = SimulationParameters(npx=300, n_electrons=20_000, mc_pixels=51)
    ramp = np.linspace(1, 2, 601, dtype=np.float32)
    maps = np.stack([np.add.outer(ramp, ramp**2)] * len(parameters.energies))[None]
    monte_carlo = MonteCarlo(
        accum_e=np.ones((len(parameters.energies), 51, 51), dtype=np.int64),
        accum_z=np.ones((len(parameters.energies), 100, 5, 5), dtype=np.int64),
        energies=parameters.energies,
        depth_step=parameters.depth_step,
        n_electrons=20_000,
        sample_tilt=parameters.sample_tilt,
        seed=1,
        n_simulated=20_000,
        cpu_seconds=1.0,
    )
    path = root / "master_patterns" / f"{key}.h5"
    path.parent.mkdir(parents=True)
    write_master_pattern(
        path, MasterPattern(maps, maps, parameters.energies, crystal, parameters, monte_carlo)
    )
    stores.save(
        MasterPatternDocument(
            key=key,
            simulation=key,
            material_id="mp-2",
            run="run",
            file=reference(path, root),
            npx=300,
            n_sites=1,
            energies=[float(e) for e in parameters.energies],
            engine=EngineReference(name="builtin", physics_version="1"),
            parameters=parameters.to_dict(),
        )
    )


def reference(path: Path, root: Path) -> FileReference:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return FileReference(path=str(path.relative_to(root)), bytes=path.stat().st_size, sha256=digest)


def bands(source: PatternSource, quaternions: np.ndarray) -> np.ndarray:
    """Patterns that cost nothing; what they show does not matter here."""
    angle = np.arctan2(quaternions[:, 1], quaternions[:, 0])[:, None, None]
    y, x = np.mgrid[:SIDE, :SIDE]
    return (128 + 100 * np.sin(x * np.cos(angle) + y * np.sin(angle))).astype(np.uint8)


def add_training(stores: Stores, root: Path, n: int = 10) -> tuple[str, str]:
    """A data set of a thousand phases and evaluated runs; keys of a run and of the data set."""
    phases = {f"mp-{i}": GROUPS[i % 6] for i in range(6 * GROUP_PHASES)}
    sources = [
        PatternSource(
            phase=phase,
            formula="NiAl",
            labels={"true": group, "relabelled": group},
            path=Path(f"/nowhere/{phase}.h5"),
            sha256=hashlib.sha256(phase.encode()).hexdigest(),
        )
        for phase, group in phases.items()
    ]
    recipe = DatasetRecipe(classes=GROUPS, patterns_per_class=PATTERNS, size=SIDE)
    recipe_of_key = {"of": "a benchmark"}
    dataset = content_hash(recipe_of_key)
    path = root / "datasets" / f"{dataset}.h5"
    path.parent.mkdir(parents=True)
    build_dataset(recipe, sources, path, project=bands)
    with open_dataset(path) as opened:
        phase = np.array(opened.phase)
        ids = [str(row["id"]) for row in opened.phases]
        folds = [int(row["fold"]) for row in opened.phases]
    counts = np.bincount(phase, minlength=len(ids))
    stores.save(
        DatasetDocument(
            key=dataset,
            recipe=recipe_of_key,
            labels="true",
            folds=5,
            n_patterns=len(phase),
            counts={"true": {str(group): PATTERNS for group in GROUPS}},
            members=[
                {"simulation": "0" * 64, "material_id": name, "formula": "NiAl", "fold": fold,
                 "true": phases[name], "relabelled": phases[name], "patterns": int(k)}
                for name, fold, k in zip(ids, folds, counts, strict=True)
            ],
            leak_report={},
            file=reference(path, root),
        )
    )  # fmt: skip
    truth = np.array([GROUPS.index(phases[name]) for name in ids])[phase]
    rng = np.random.default_rng(1)
    keys = [f"run-{i}" for i in range(n)]
    for key in keys:
        logits = 2 * np.eye(6)[truth] + rng.normal(size=(len(truth), 6))
        predicted = logits.argmax(axis=1)
        matrix = confusion_matrix(truth, predicted, 6)
        answers = root / "predictions" / f"{key}.npz"
        answers.parent.mkdir(exist_ok=True)
        np.savez(
            answers, rows=np.arange(len(truth)), truth=truth, phase=phase, logits=np.float32(logits)
        )
        rows = phase_accuracies(phase, truth, predicted, ids, GROUPS)
        stores.save(
            TrainingRunDocument(
                key=key,
                config={"epochs": 10},
                dataset=dataset,
                labels="true",
                fold=0,
                state=State.COMPLETED,
                started=now(),
                accuracy=float((predicted == truth).mean()),
                epochs=[
                    {"epoch": e, "train_loss": 1 / e, "validation_loss": 1.2 / e,
                     "train_accuracy": 0.5, "validation_accuracy": 0.4}
                    for e in range(1, 11)
                ],
                calibration={"evaluation": {"temperature": 1.2, "coverage": 0.9,
                                            "set_threshold": 0.9}},
                per_phase=[
                    {"material_id": r["phase"], "formula": "NiAl", "label": r["class"],
                     "n": r["total"], "accuracy": r["value"],
                     "most_frequent": r["most_frequent"]}
                    for r in rows
                ],
            )
        )  # fmt: skip
        stores.save(
            PredictionDocument(
                key=PredictionDocument.key_of(key, dataset),
                training_run=key,
                patterns=dataset,
                n_patterns=len(truth),
                file=reference(answers, root),
                summary={
                    "accuracy": overall_accuracy(matrix).to_dict(),
                    "confusion": matrix.tolist(),
                    "by_class": class_accuracies(matrix, GROUPS),
                },
            )
        )
    return keys[0], dataset


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


def page_of(result: dict[str, Any]) -> str:
    """The page of the documentation."""
    slow = [r["page"] for r in result["one_reader"] if r["median_ms"] > LIMIT_ALONE]
    slow_first = [r["page"] for r in result["one_reader"] if r["first_ms"] > LIMIT_ALONE]
    every = result["together"][-1]
    lines = [
        "# Speed of the web pages",
        "",
        "Written by `python benchmarks/web.py --json docs/performance/data/web.json "
        "--page docs/performance/web.md`.",
        "",
        f"{result['simulations']:,} simulations with a run each and {result['structures']:,} "
        f"structures on the embedded server, training runs of {6 * GROUP_PHASES:,} phases; "
        f"`ebsdsg web` in one process; {result['machine']}. Readers, server, database and writers "
        "share the machine.",
        "",
        *([BUSY, ""] if result["load_before"] > QUIET else []),
        f"**One reader.** Longer than {LIMIT_ALONE:.0f} ms, median: "
        f"{_listed(slow)}; at the first time: {_listed(slow_first)}. The first answer after the "
        "start may build a count or a picture that later ones use (a campaign's page comes "
        "without its counts then, and asks for them). *CPU* is that of server and database for "
        "one answer.",
        "",
        "| page | first [ms] | median [ms] | longest [ms] | CPU [ms] | errors |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| `{r['page']}` | {r['first_ms']} | {r['median_ms']} | {r['longest_ms']} | {r['cpu_ms']} "
        f"| {r['errors']} |"
        for r in result["one_reader"]
    ]
    writes = ", ".join(f"{n} {what}" for what, n in sorted(result["writes"].items()))
    lines += [
        "",
        f"**{result['readers']} readers**, each a second on a page, for {result['seconds']:.0f} s, "
        f"while workers wrote ({writes}): {every['errors']} errors in {every['answers']:,} "
        f"answers, 95 of 100 within {every['p95_ms']} ms; load at the end "
        f"{result['load_after']}.",
        "",
        "| page | answers | errors | median [ms] | 95 of 100 [ms] | longest [ms] |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| `{r['page']}` | {r['answers']} | {r['errors']} | {r['median_ms']} | {r['p95_ms']} | "
        f"{r['longest_ms']} |"
        for r in result["together"]
    ]
    return "\n".join([*lines, ""])


def _listed(pages: list[str]) -> str:
    return ", ".join(f"`{page}`" for page in pages) or "none"


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
