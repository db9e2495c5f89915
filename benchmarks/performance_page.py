"""Write docs/performance/engine.md from the JSON files of ``master_pattern.py``.

``python benchmarks/performance_page.py`` after the commands named on that page.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[1] / "docs/performance/data"
PAGE = DATA.parent / "engine.md"
COMPARED = ("Ni", "NiAl", "Si", "TiC", "W", "Cr3Si")
STAGED = ("Ni", "Cr3Si", "garnet")
Report = dict[str, Any]


def main() -> None:
    reports = {path.stem: json.loads(path.read_text()) for path in sorted(DATA.glob("*.json"))}
    text = (Path(__file__).parent / "performance_page.md").read_text()
    for name, table in (
        ("machine", machine(reports["Ni"])),
        ("summary", summary(reports)),
        ("nickel", energies(reports["Ni"])),
        ("tungsten", energies(reports["W"])),
        ("stages", "\n\n".join(stages(reports[name]) for name in STAGED)),
        ("nickel_total", total(reports["Ni"])),
        ("garnet_memory", memory(reports)),
    ):
        text = text.replace(f"<!-- {name} -->", table)
    PAGE.write_text(text)
    print(PAGE)


def machine(report: Report) -> str:
    return (
        f"{report['device']}, torch {report['torch']}, {report['threads']} thread, shared with "
        f"other programs (load {report['load']:.0f}). A product of 1024 x 1024 matrices reaches "
        f"{report['sgemm_gflops']:.0f} Gflop per CPU-second in float32 and "
        f"{report['cgemm_gflops']:.0f} in complex64, here and then."
    )


def summary(reports: dict[str, Report]) -> str:
    lines = [
        "| crystal | directions solved | strong beams, 20 to 10 keV | ms CPU per direction | "
        "EMsoft | times less | CPU-s, all 11 energies, Monte Carlo included |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in COMPARED:
        r = reports[name]
        beams = [row["strong"] for row in r["energies"]]
        solved = r["energies"][0]["directions_solved"]
        share = "all" if r["subset"] is None else f"{solved} per energy"
        measured = "" if r["subset"] is None else " (extrapolated)"
        lines.append(
            f"| {name} | {share} | {beams[0]:.0f} to {beams[-1]:.0f} | {r['mean_cpu_ms']:.3f} | "
            f"{r['emsoft_cpu_ms']} | **{r['times_less_than_emsoft']:.0f}** | "
            f"{r['total_cpu_s']:.0f}{measured} |"
        )
    g = reports["garnet"]
    rows = g["energies"]
    at = ", ".join(f"{row['energy_keV']:g}" for row in rows)
    lines.append(
        f"| garnet, 201 x 201 | {rows[0]['directions_solved']} at "
        f"{at} keV | {rows[0]['strong']:.0f} to "
        f"{rows[-1]['strong']:.0f} | {g['mean_cpu_ms']:.1f} | not measured | | "
        f"{11 * g['directions'] * g['mean_cpu_ms'] / 1e3:.0f} (extrapolated) |"
    )
    return "\n".join(lines)


def energies(report: Report) -> str:
    lines = [
        "| keV | strong | weak | depths | Mflop | ms CPU | of the sgemm rate | electrons |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['energy_keV']:g} | {r['strong']:.1f} | {r['weak']:.1f} | {r['depths']} | "
        f"{r['flop'] / 1e6:.2f} | {r['cpu_ms']:.3f} | {r['fraction_of_sgemm']:.0%} | "
        f"{r['electrons']} |"
        for r in report["energies"]
    ]
    return "\n".join(lines)


def stages(report: Report) -> str:
    row = report["energies"][0]
    lines = [
        f"**{report['crystal']}**, {row['energy_keV']:g} keV: {row['strong']:.0f} strong and "
        f"{row['weak']:.0f} weak beams, {row['depths']} depths",
        "",
        "| stage | kflop | kB | µs CPU | Gflop/s | of the sgemm rate |",
        "|---|---|---|---|---|---|",
    ]
    for name, s in row["stages"].items():
        rate = s["flop"] / s["cpu_ms"] / 1e6
        lines.append(
            f"| {name} | {s['flop'] / 1e3:,.0f} | {s['bytes'] / 1e3:,.0f} | "
            f"{1e3 * s['cpu_ms']:,.1f} | {rate:.1f} | {rate / report['sgemm_gflops']:.0%} |"
        )
    rate = row["flop"] / row["cpu_ms"] / 1e6
    lines.append(
        f"| all | {row['flop'] / 1e3:,.0f} | "
        f"{sum(s['bytes'] for s in row['stages'].values()) / 1e3:,.0f} | "
        f"{1e3 * row['cpu_ms']:,.1f} | {rate:.1f} | {rate / report['sgemm_gflops']:.0%} |"
    )
    return "\n".join(lines)


def total(report: Report) -> str:
    whole, again = report["end_to_end"], report["resimulation"]
    mc = report["monte_carlo"]
    return (
        f"From the crystal to the checked file, Monte Carlo of {mc['electrons']:,} electrons "
        f"included: **{whole['cpu_s']:.0f} CPU-seconds** (EMsoft about 3,600). The Monte Carlo is "
        f"{whole['monte_carlo_cpu_s']:.1f} of them. All energies again with Debye-Waller factors "
        f"{again['factor']:g} times as large, on the same Monte Carlo and the same geometry: "
        f"**{again['cpu_s']:.0f} CPU-seconds**."
    )


def memory(reports: dict[str, Report]) -> str:
    r = reports["garnet_whole_energy"]
    n = r["energies"][0]["directions_solved"]
    return (
        f"The garnet at 201 x 201, all {n:,} distinct directions at "
        f"{r['energies'][0]['energy_keV']:g} keV with the setting at "
        f"{r['memory_setting_bytes'] / 1e9:.0f} GB: peak resident memory "
        f"**{r['peak_rss_bytes'] / 1e9:.2f} GB**, of which {r['peak_rss_before_bytes'] / 1e9:.2f} "
        "GB are Python and torch before the first array."
    )


if __name__ == "__main__":
    main()
