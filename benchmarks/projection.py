"""Speed and error of the projection, against kikuchipy in the same run and EMEBSD's patterns.

One command: ``python benchmarks/projection.py``.  It prints a table, writes
``docs/performance/projection.json`` and from that ``docs/performance/projection.md``.  Needs
kikuchipy (a test dependency) and the reference data in ``../shared`` or where ``EBSDSG_SHARED``
says.  A GPU is timed as well where torch finds one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from ebsdsg_sim.comparison import normalised_cross_correlation
from ebsdsg_sim.detector import Detector
from ebsdsg_sim.hdf5 import read_master_pattern
from ebsdsg_sim.masterpattern import MasterPattern
from ebsdsg_sim.orientation import euler_to_quaternion, random_rotations
from ebsdsg_sim.projection import Projector

DOCS = Path(__file__).parents[1] / "docs/performance"
SIZE = 224
#: (name, what it is, energy weights); in the order of the table.
MODES = (
    ("exact", "every energy in every pixel", "exact"),
    ("fast", "one combination of the energies", "fast"),
    ("none", "energies added up, Lambert map", "none"),
)
#: Floating-point operations and bytes moved per pixel of the fast mode, operation by operation.
WORK = (
    ("rotated rays: a row's vector plus a column's, three times", 3, 12),
    ("length plus absolute z", 2, 20),
    ("x and y divided by it", 2, 20),
    ("position on the map, its node and the four weights", 12, 8),
    ("four values weighted and added", 7, 20),
    ("number of electrons in the pixel", 1, 12),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    default = os.environ.get("EBSDSG_SHARED", Path(__file__).parents[2] / "shared")
    parser.add_argument("--shared", type=Path, default=Path(default))
    parser.add_argument("--patterns", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, default=DOCS / "projection.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    nickel = read_master_pattern(options.shared / "reference/emsoft/Ni.h5")
    report: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": processor(),
        "torch": torch.__version__,
        "load": os.getloadavg()[0],
        "patterns": options.patterns,
        "rounds": options.rounds,
        "speed": speed(nickel, options.shared, options.patterns, options.rounds),
        "error": errors(nickel, options.shared),
        "emebsd": emebsd(options.shared),
        "preparation_ms": preparation(nickel),
    }
    if torch.cuda.is_available():
        report["gpu"] = gpu(nickel)
    options.json.write_text(json.dumps(report, indent=1) + "\n")
    text = page(report)
    if options.json == DOCS / "projection.json":
        (DOCS / "projection.md").write_text(text)
    print("\n".join(line for line in text.splitlines() if line.startswith("|")))


def speed(nickel: MasterPattern, shared: Path, n: int, rounds: int) -> dict[str, Any]:
    """Patterns per CPU-second: the median of rounds in which all take turns, and the quickest."""
    import kikuchipy
    from orix.quaternion import Rotation

    detector, q = Detector.paper(SIZE), random_rotations(n, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = kikuchipy.load(
            shared / "reference/emsoft/Ni.h5", projection="lambert", hemisphere="both"
        )
    screen = kikuchipy.detectors.EBSDDetector(
        shape=detector.shape,
        pc=detector.pc(),
        tilt=detector.tilt,
        sample_tilt=detector.sample_tilt,
    )

    def kikuchi() -> None:
        theirs.get_patterns(
            Rotation(q),
            screen,
            energy=20,
            dtype_out="float32",
            compute=True,
            show_progressbar=False,
        )

    def ours(weights: str) -> Callable[[], None]:
        projector = Projector(nickel, detector, energy_weights=weights)
        return lambda: (projector.patterns(q), None)[1]

    tasks = {name: ours(weights) for name, _, weights in MODES} | {"kikuchipy": kikuchi}
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(rounds + 1):
        for name, task in tasks.items():
            start = time.process_time()
            task()
            if turn:  # the first compiles, and fills caches
                times[name].append(time.process_time() - start)
    return {
        name: {
            "median": n / float(np.median(seconds)),
            "best": n / min(seconds),
            "times_kikuchipy": float(np.median(np.array(times["kikuchipy"]) / np.array(seconds))),
        }
        for name, seconds in times.items()
    }


def errors(nickel: MasterPattern, shared: Path) -> list[dict[str, Any]]:
    """Smallest cross-correlations with EMEBSD's 20 patterns, and of fast with exact."""
    angles = np.loadtxt(shared / "reference/patterns/eulers20.txt", skiprows=2)
    q = euler_to_quaternion(angles)
    detector = Detector((229, 229), 23.0, 19_100.0, 13.7, ypc=7.434783)
    rows = []

    def row(what: str, ours: Projector, theirs: np.ndarray) -> None:
        ncc = [
            normalised_cross_correlation(a, b)
            for a, b in zip(ours.patterns(q).numpy(), theirs, strict=True)
        ]
        rows.append({"what": what, "maps": ours.n_maps, "min": min(ncc), "mean": np.mean(ncc)})

    def stored(name: str) -> np.ndarray:
        with h5py.File(shared / f"reference/patterns/{name}.h5") as file:
            return file["EMData/EBSD/EBSDPatterns"][()]

    counts = {"exit_counts": "counts"}
    for mode in ("exact", "fast"):
        projector = Projector(nickel, detector, energy_weights=mode, **counts)
        row(f"{mode}, EMEBSD with background", projector, stored("Ni_lin"))
    plain = stored("Ni_not_nobg")
    row(
        "none, EMEBSD without background", Projector(nickel, detector, energy_weights="none"), plain
    )
    # EMEBSD without background adds up the energies as they are, so "fast" gets equal weights.
    even = np.ones_like(nickel.monte_carlo.accum_e)
    equal = replace(nickel, monte_carlo=replace(nickel.monte_carlo, accum_e=even))
    projector = Projector(equal, detector, energy_weights="fast", background=False, **counts)
    row("fast, EMEBSD without background", projector, plain)
    for background in (True, False):
        exact, fast = (
            Projector(nickel, detector, energy_weights=mode, background=background)
            for mode in ("exact", "fast")
        )
        name = "with" if background else "without"
        row(f"fast, exact {name} background, smooth weights", fast, exact.patterns(q).numpy())
    return rows


def emebsd(shared: Path) -> dict[str, float]:
    """What EMEBSD's log says of 20 patterns of 229 x 229 pixels."""
    log = (shared / "reference/patterns/EMEBSD_lin.log").read_text()
    seconds = float(log.split("CPU_TIME()] =")[1].split()[0])
    return {"cpu_s": seconds, "patterns": 20, "pixels": 229 * 229}


def preparation(nickel: MasterPattern) -> dict[str, float]:
    """Milliseconds of CPU to make a projector; the second of a detector, all tables there."""
    result = {}
    for name, _, weights in MODES:
        for _ in range(3):
            start = time.process_time()
            Projector(nickel, Detector.paper(SIZE), energy_weights=weights)
            result[name] = 1e3 * (time.process_time() - start)
    return result


def gpu(nickel: MasterPattern) -> dict[str, Any]:
    """Patterns per second on the GPU, transfers to the host left out."""
    q = random_rotations(8000, 0)
    result: dict[str, Any] = {"device": torch.cuda.get_device_name()}
    for name, _, weights in MODES:
        projector = Projector(nickel, Detector.paper(SIZE), energy_weights=weights, device="cuda")
        best = 0.0
        for _ in range(4):
            torch.cuda.synchronize()
            start = time.perf_counter()
            projector.patterns(q)
            torch.cuda.synchronize()
            best = max(best, len(q) / (time.perf_counter() - start))
        result[name] = best
    return result


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return f"{model}, {os.cpu_count()} cores"


def page(report: dict[str, Any]) -> str:
    """The page, from the numbers alone."""
    s, e = report["speed"], report["emebsd"]
    flop, size = sum(w[1] for w in WORK), sum(w[2] for w in WORK)
    nanoseconds = 1e9 / (s["fast"]["best"] * SIZE**2)
    rate = e["patterns"] * e["pixels"] / SIZE**2 / e["cpu_s"]
    lines = [
        "# Speed and error of the projection",
        "",
        f"Written by `python benchmarks/projection.py` on {report['date']}. {report['machine']}, "
        f"torch {report['torch']}, one thread, shared with other programs (load "
        f"{report['load']:.1f}). Nickel, npx = 100, 11 energies; {SIZE} × {SIZE} pixels, the "
        f"paper's detector, {report['patterns']} random orientations. All take turns "
        f"{report['rounds']} times; the ratio is the median of those within one turn.",
        "",
        "| | patterns per CPU-second, median | quickest turn | times kikuchipy |",
        "|---|---|---|---|",
        *(
            f"| `{name}`: {what} | {s[name]['median']:.0f} | {s[name]['best']:.0f} | "
            f"**{s[name]['times_kikuchipy']:.1f}** |"
            for name, what, _ in MODES
        ),
        f"| kikuchipy `get_patterns`, one energy | {s['kikuchipy']['median']:.0f} | "
        f"{s['kikuchipy']['best']:.0f} | 1 |",
        f"| EMEBSD 5.0.4, 11 energies, start included, its own log | {rate:.0f} | | |",
        "",
        f"EMEBSD's line is the {e['cpu_s']:.2f} CPU-s its log gives for {e['patterns']} patterns "
        "of 229 × 229 on another machine, scaled to these pixels: reading the master pattern and "
        "making the detector are in it, so read it as a lower limit.",
        "",
        (
            'No GPU was there to be measured; the code runs on one unchanged (`device="cuda"`).'
            if "gpu" not in report
            else f"On one {report['gpu']['device']}, patterns per second: "
            + ", ".join(f"`{name}` {report['gpu'][name]:,.0f}" for name, _, _ in MODES)
            + "."
        ),
        "",
        "Preparing a projector for one more master pattern costs "
        + ", ".join(f"{ms:.0f} ms (`{name}`)" for name, ms in report["preparation_ms"].items())
        + " of CPU; most of it is the fit of the exit directions.",
        "",
        "## Error",
        "",
        "Smallest cross-correlation of the 20 reference orientations, 229 × 229 pixels. EMEBSD's "
        "patterns with background carry the counting noise of its Monte Carlo, which no single "
        "combination of energies can follow; with the smooth weights that are the default, what is "
        "left is the interpolation on the finer map.",
        "",
        "| compared | maps | smallest | mean |",
        "|---|---|---|---|",
        *(
            f"| {r['what']} | {r['maps']} | {r['min']:.7f} | {r['mean']:.7f} |"
            for r in report["error"]
        ),
        "",
        "## Work",
        "",
        "What one pixel of the fast mode costs, each operation's operands counted once:",
        "",
        "| operation | floating-point operations | bytes |",
        "|---|---|---|",
        *(f"| {what} | {f} | {b} |" for what, f, b in WORK),
        f"| **all** | **{flop}** | **{size}** |",
        "",
        f"The quickest turn takes {nanoseconds:.1f} ns a pixel. {flop} operations are about 1 ns "
        f"with eight lanes at 3 GHz, {size} bytes about 1 ns from the second-level cache: what is "
        "left is mostly waiting for the map, of which a pattern reads a tenth, in the third level.",
        "",
        "Why it is so little: a ray to a pixel of a flat screen is the sum of a vector of its row "
        "and one of its column, also after rotation into the crystal, so that no matrix is applied "
        "to pixels; the length of the ray does not change with the rotation; and a stereographic "
        "map needs no root and no arctangent. One combination of the eleven energies is enough if "
        "it is chosen for the least error of the *patterns*: the singular-value decomposition is "
        "done in the metric of the maps' mean products, not on the weights themselves.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
