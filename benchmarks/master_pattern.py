"""What a master pattern costs: crystal, grid, energies, device, threads -> seconds and memory.

``python benchmarks/master_pattern.py Ni --npx 300`` computes all of it;  ``--directions 2000``
solves that many of every energy, evenly spread, and extrapolates.  Prints a table, writes JSON, and
compares with the measured EMsoft times of ``crystals.py``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from crystals import CRYSTALS, EMSOFT_MS
from rich.console import Console
from rich.table import Table
from work import STAGES, multiplication_rate, stage_clock, work

from ebsdsg_sim.masterpattern import compute_energy, energy_solver, master_pattern_directions
from ebsdsg_sim.memory import memory_budget
from ebsdsg_sim.montecarlo import MonteCarlo, simulate_monte_carlo
from ebsdsg_sim.parameters import SimulationParameters
from ebsdsg_sim.simulate import simulate

Row = dict[str, Any]


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    crystal = CRYSTALS[options.crystal]
    parameters = SimulationParameters(
        npx=options.npx, dmin=options.dmin, n_electrons=options.electrons
    )
    before = _peak_memory()
    rate = multiplication_rate(device, torch.float32)
    complex_rate = multiplication_rate(device, torch.complex64)
    start = time.process_time(), time.perf_counter()
    monte_carlo = simulate_monte_carlo(crystal, parameters, device=device)
    mc_cost = _since(start)
    energies = options.energies or parameters.energies.tolist()
    directions = master_pattern_directions(crystal, parameters).directions
    rows = []
    for energy in sorted(energies, reverse=True):
        index = int(np.flatnonzero(np.isclose(parameters.energies, energy))[0])
        rows.append(_energy(crystal, parameters, monte_carlo, index, directions, options))
        print(json.dumps(rows[-1]), file=sys.stderr)
    report = _report(options, rows, mc_cost, monte_carlo, len(directions), before)
    report |= {"sgemm_gflops": rate / 1e9, "cgemm_gflops": complex_rate / 1e9}
    for row in rows:
        row["fraction_of_sgemm"] = row["flop"] / row["cpu_ms"] / 1e-3 / rate
    if options.end_to_end:
        report["end_to_end"] = _end_to_end(crystal, parameters, options)
    if options.resimulate:
        report["resimulation"] = _resimulation(crystal, parameters, monte_carlo, options)
    _print(report)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report, indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("crystal", choices=CRYSTALS)
    parser.add_argument("--npx", type=int, default=300)
    parser.add_argument("--dmin", type=float, default=0.05, help="nm")
    parser.add_argument("--energies", type=float, nargs="*", help="keV; all by default")
    parser.add_argument("--directions", type=int, help="of every energy; all by default")
    parser.add_argument("--electrons", type=int, default=1_000_000)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--memory", type=float, help="GB; half of what is free by default")
    parser.add_argument("--end-to-end", action="store_true", help="also `simulate` into a file")
    parser.add_argument(
        "--resimulate", type=float, metavar="FACTOR", help="again with scaled Debye-Waller factors"
    )
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    options.bytes = None if options.memory is None else int(options.memory * 1e9)
    return options


def _energy(
    crystal: Any,
    parameters: SimulationParameters,
    monte_carlo: MonteCarlo,
    index: int,
    directions: np.ndarray,
    options: argparse.Namespace,
) -> Row:
    """Costs of one energy; the tables are part of it, the first call's start-up is not."""
    start = time.process_time(), time.perf_counter()
    solver, _ = energy_solver(
        crystal, parameters, monte_carlo, index, device=options.device, memory=options.bytes
    )
    setup = _since(start)
    if options.directions and options.directions < len(directions):
        directions = directions[:: len(directions) // options.directions]
    solver.intensities(directions[:: max(1, len(directions) // 50)])
    start = time.process_time(), time.perf_counter()
    with stage_clock() as seconds:
        values, solved = solver.intensities(directions)
        if options.device != "cpu":
            torch.cuda.synchronize()
    solve = _since(start)
    n = solved.n_directions
    amount = work(solver, solved)
    return {
        "energy_keV": float(monte_carlo.energies[index]),
        "electrons": int(monte_carlo.energy_histogram[index]),
        "directions_solved": n,
        "strong": solved.mean_strong,
        "weak": solved.mean_weak,
        "depths": len(solver.depth_factors),
        "setup_cpu_s": setup["cpu_s"],
        "cpu_ms": 1e3 * solve["cpu_s"] / n,
        "wall_ms": 1e3 * solve["wall_s"] / n,
        "flop": sum(stage["flop"] for stage in amount.values()),
        "smallest": float(values.sum(axis=1).min()),
        "stages": {
            stage: {**amount[stage], "cpu_ms": 1e3 * seconds[stage] / n} for stage in STAGES
        },
    }


def _end_to_end(crystal: Any, parameters: SimulationParameters, options: argparse.Namespace) -> Row:
    """Cost of the user's call, from the crystal to the checked file."""
    start = time.process_time(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        report = simulate(
            crystal,
            parameters,
            Path(folder) / "master.h5",
            device=options.device,
            memory=options.bytes,
        )
    return {**_since(start), "monte_carlo_cpu_s": report.monte_carlo_seconds}


def _resimulation(
    crystal: Any,
    parameters: SimulationParameters,
    monte_carlo: MonteCarlo,
    options: argparse.Namespace,
) -> Row:
    """Cost of all energies with other Debye-Waller factors and the same Monte Carlo."""
    sites = tuple(
        replace(s, debye_waller=min(0.2, s.debye_waller * options.resimulate))
        for s in crystal.sites
    )
    other = replace(crystal, sites=sites)
    start = time.process_time(), time.perf_counter()
    for index in range(len(parameters.energies)):
        if options.directions:
            solver, _ = energy_solver(other, parameters, monte_carlo, index, device=options.device)
            every = master_pattern_directions(other, parameters).directions
            solver.intensities(every[:: len(every) // options.directions])
        else:
            compute_energy(
                other, parameters, monte_carlo, index, device=options.device, memory=options.bytes
            )
    return {**_since(start), "factor": options.resimulate, "directions": options.directions}


def _report(
    options: argparse.Namespace,
    rows: list[Row],
    monte_carlo: Row,
    histograms: MonteCarlo,
    n_directions: int,
    before: float,
) -> Row:
    mean = float(np.mean([row["cpu_ms"] for row in rows]))
    setup = sum(row["setup_cpu_s"] for row in rows)
    emsoft = EMSOFT_MS.get(options.crystal)
    return {
        "crystal": options.crystal,
        "npx": options.npx,
        "dmin_nm": options.dmin,
        "directions": n_directions,
        "subset": options.directions,
        "device": _device(options.device),
        "threads": options.threads,
        "torch": torch.__version__,
        "commit": _commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "load": os.getloadavg()[0],
        "monte_carlo": {**monte_carlo, "electrons": options.electrons},
        "backscatter_yield": histograms.backscatter_yield,
        "mean_cpu_ms": mean,
        "directions_per_cpu_s": 1e3 / mean,
        "setup_cpu_s": setup,
        "total_cpu_s": monte_carlo["cpu_s"] + setup + len(rows) * n_directions * mean / 1e3,
        "emsoft_cpu_ms": emsoft,
        "times_less_than_emsoft": emsoft / mean if emsoft else None,
        "memory_setting_bytes": memory_budget(options.bytes, options.device),
        "peak_rss_bytes": _peak_memory(),
        "peak_rss_before_bytes": before,
        "peak_gpu_bytes": torch.cuda.max_memory_allocated() if options.device != "cpu" else None,
        "energies": rows,
    }


def _since(start: tuple[float, float]) -> Row:
    return {"cpu_s": time.process_time() - start[0], "wall_s": time.perf_counter() - start[1]}


def _peak_memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _device(name: str) -> str:
    if name != "cpu":
        return torch.cuda.get_device_name(name)
    model = [
        line.split(":")[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return f"{model[0] if model else platform.processor()}, {os.cpu_count()} cores"


def _commit() -> str:
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip()


def _print(report: Row) -> None:
    console = Console(width=120)
    table = Table(title=f"{report['crystal']}, npx = {report['npx']}, {report['device']}")
    for name in ("keV", "strong", "weak", "depths", "ms CPU", "Mflop", "of sgemm", "electrons"):
        table.add_column(name, justify="right")
    for row in report["energies"]:
        table.add_row(
            f"{row['energy_keV']:g}",
            f"{row['strong']:.1f}",
            f"{row['weak']:.1f}",
            str(row["depths"]),
            f"{row['cpu_ms']:.3f}",
            f"{row['flop'] / 1e6:.2f}",
            f"{row['fraction_of_sgemm']:.0%}",
            str(row["electrons"]),
        )
    console.print(table)
    console.print(
        f"{report['mean_cpu_ms']:.3f} ms CPU per direction, "
        f"{report['directions_per_cpu_s']:.0f} directions per CPU-second; "
        f"{report['directions']} directions x {len(report['energies'])} energies, Monte Carlo "
        f"{report['monte_carlo']['cpu_s']:.1f} s and tables {report['setup_cpu_s']:.1f} s: "
        f"{report['total_cpu_s']:.1f} CPU-seconds"
    )
    if report["times_less_than_emsoft"]:
        console.print(
            f"EMsoft {report['emsoft_cpu_ms']} ms: {report['times_less_than_emsoft']:.1f} x less"
        )
    console.print(
        f"peak memory {report['peak_rss_bytes'] / 1e9:.2f} GB "
        f"(setting {report['memory_setting_bytes'] / 1e9:.2f} GB, "
        f"{report['peak_rss_before_bytes'] / 1e9:.2f} GB before)"
    )
    for name in ("end_to_end", "resimulation"):
        if name in report:
            console.print(f"{name}: {report[name]['cpu_s']:.1f} CPU-seconds")


if __name__ == "__main__":
    main()
