"""Compare the built-in engine with the EMsoft reference data and write docs/validation/engine.md.

One command: ``python benchmarks/validation.py``.  The reference data are expected in ``../shared``
or where ``EBSDSG_SHARED`` says.  The numbers also go to ``docs/validation/engine.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from rich.progress import track

from ebsdsg_sim.blochwave import BlochWaveSolver
from ebsdsg_sim.comparison import compare_with_emsoft, normalised_cross_correlation
from ebsdsg_sim.crystal import Crystal, Site
from ebsdsg_sim.detector import Detector
from ebsdsg_sim.hdf5 import read_master_pattern, read_monte_carlo
from ebsdsg_sim.montecarlo import simulate_monte_carlo
from ebsdsg_sim.orientation import euler_to_quaternion
from ebsdsg_sim.parameters import SimulationParameters
from ebsdsg_sim.projection import Projector
from ebsdsg_sim.structure_factors import fourier_table, site_weights
from ebsdsg_sim.symmetry import hall_number_for

REPOSITORY = Path(__file__).parents[1]
CRYSTALS = ("Ni", "Ni_B080", "NiAl", "Si", "TiC")
BETHE = (8.0, 50.0, 100.0)
DMIN = 0.05
Row = dict[str, Any]


def reference_crystal(shared: Path, name: str) -> Crystal:
    """Crystal of the reference material with exactly the inputs that EMsoft got."""
    inputs = json.loads((shared / "reference/physics/inputs.json").read_text())[name]
    sites = tuple(
        Site(atom["element"], tuple(atom["xyz"]), atom["occupancy"], atom["B_nm2"])
        for atom in inputs["asymmetric_unit"]
    )
    group = inputs["space_group"]
    cell = (*inputs["a_b_c_nm"], *inputs["alpha_beta_gamma_deg"])
    return Crystal(name, cell, group, hall_number_for(group), sites)


def master_patterns(shared: Path, nodes: int | None) -> list[Row]:
    rows = []
    for name in track(CRYSTALS, "master patterns"):
        for c in compare_with_emsoft(shared / f"reference/emsoft/{name}.h5", nodes):
            rows.append({"crystal": name, **c.__dict__})
    return rows


def directions(shared: Path) -> list[Row]:
    rows = []
    for name in track(CRYSTALS, "directions"):
        data = np.load(shared / f"reference/directions/{name}_20keV.npz")
        crystal = reference_crystal(shared, name)
        for precision in ("float32", "float64"):
            solver = BlochWaveSolver(
                crystal,
                fourier_table(crystal, 20.0, DMIN),
                site_weights(crystal, DMIN),
                data["lambda_e"],
                float(data["depthstep_nm"]),
                float(data["thick_nm"]),
                dmin=DMIN,
                bethe=BETHE,
                precision=precision,
            )
            found, beams = solver.intensities(data["direction"])
            difference = np.abs(found.sum(axis=1) / data["intensity"] - 1)
            rows.append(
                {
                    "crystal": name,
                    "precision": precision,
                    "n": len(difference),
                    "max_relative": float(difference.max()),
                    "equal_strong": float((beams.n_strong == data["n_strong"]).mean()),
                    "equal_weak": float((beams.n_weak == data["n_weak"]).mean()),
                }
            )
    return rows


def structure_factors(shared: Path) -> list[Row]:
    rows = []
    for name in track((*CRYSTALS, "Al3Ni2"), "structure factors"):
        crystal = reference_crystal(shared, name)
        for energy in (10, 15, 20):
            stem = shared / f"reference/structure_factors/{name}_{energy}keV"
            table = np.genfromtxt(stem.with_suffix(".csv"), delimiter=",", names=True)
            facts = json.loads(stem.with_suffix(".json").read_text())
            hkl = np.stack([table[i] for i in "hkl"], axis=1).astype(int)
            ours = fourier_table(crystal, float(energy), DMIN)
            elastic, absorptive = ours.at(hkl)
            theirs = table["U_re"] + 1j * table["U_im"]
            absorbed = table["Uprime_re"] + 1j * table["Uprime_im"]
            u0 = abs(theirs[(hkl == 0).all(axis=1)][0])
            large = np.abs(theirs) > 1e-3 * u0
            rows.append(
                {
                    "crystal": name,
                    "energy": energy,
                    "n": len(hkl),
                    "max_over_u0": float(np.abs(elastic - theirs).max() / u0),
                    "max_relative": float(np.abs(elastic[large] / theirs[large] - 1).max()),
                    "absorptive_over_u0": float(np.abs(absorptive - absorbed).max() / u0),
                    "wavelength": float(abs(ours.wavelength / facts["wavelength_nm"] - 1)),
                }
            )
    return rows


def monte_carlo(shared: Path) -> list[Row]:
    rows = []
    for name in track(("Ni", "Si", "NiAl", "TiC"), "Monte Carlo"):
        theirs, crystal, _ = read_monte_carlo(shared / f"reference/emsoft/{name}.h5")
        parameters = SimulationParameters(
            n_electrons=min(2 * theirs.n_simulated, 1_000_000), max_scatterings=300, seed=1
        )
        ours = simulate_monte_carlo(crystal, parameters)
        reference = np.load(shared / f"reference/montecarlo/{name}.npz")
        n = ours.n_simulated
        per_bin = ours.energy_histogram / n
        sigma = np.hypot(np.sqrt(per_bin / n), reference["yield_per_bin_se"])
        depth_sigma = np.hypot(
            reference["mean_depth_se_nm"],
            reference["depth_std_nm"] / np.sqrt(ours.depth_histogram.sum(axis=1)),
        )
        for i, energy in enumerate(reference["energy_keV"]):
            rows.append(
                {
                    "crystal": name,
                    "energy": float(energy),
                    "yield": float(per_bin[i]),
                    "emsoft_yield": float(reference["yield_per_bin"][i]),
                    "yield_sigmas": float((per_bin[i] - reference["yield_per_bin"][i]) / sigma[i]),
                    "depth": float(ours.mean_depth[i]),
                    "emsoft_depth": float(reference["mean_depth_nm"][i]),
                    "depth_sigmas": float(
                        (ours.mean_depth[i] - reference["mean_depth_nm"][i]) / depth_sigma[i]
                    ),
                }
            )
        rows.append(
            {
                "crystal": name,
                "energy": None,
                "yield": ours.backscatter_yield,
                "emsoft_yield": float(reference["yield_true"]),
                "electrons": n,
            }
        )
    return rows


def projections(shared: Path) -> list[Row]:
    nickel = read_master_pattern(shared / "reference/emsoft/Ni.h5")
    detector = Detector((229, 229), 23.0, 19_100.0, 13.7, ypc=7.434783)
    angles = np.loadtxt(shared / "reference/patterns/eulers20.txt", skiprows=2)
    rows = []
    for file, weights in track((("Ni_lin", "exact"), ("Ni_not_nobg", "none")), "projection"):
        with h5py.File(shared / f"reference/patterns/{file}.h5") as handle:
            theirs = handle["EMData/EBSD/EBSDPatterns"][()]
        projector = Projector(nickel, detector, energy_weights=weights, exit_counts="counts")
        ours = projector.patterns(euler_to_quaternion(angles)).numpy()
        ncc = [normalised_cross_correlation(a, b) for a, b in zip(ours, theirs, strict=True)]
        rows.append(
            {"patterns": file, "weights": weights, "n": len(ncc), "min_ncc": float(min(ncc))}
        )
    return rows


def page(results: dict[str, Any]) -> str:
    """The validation page, from the numbers alone."""
    lines = [
        "# The built-in engine against EMsoft",
        "",
        f"Written by `python benchmarks/validation.py` on {results['date']} "
        f"(torch {results['torch']}, {results['machine']}). Reference: EMsoft 5.0.4.",
        "",
        "## Master patterns",
        "",
        "Recomputed with EMsoft's own depth histograms, complex64, northern hemisphere"
        + (
            ", all grid nodes."
            if results["nodes"] is None
            else f", {results['nodes']} random grid nodes per crystal."
        ),
        "Required: cross-correlation at least 0.9999 at every energy, mean absolute difference at",
        "most 0.002 of the range.",
        "",
        "| crystal | energy [keV] | nodes | 1 − NCC | largest relative | mean absolute / range "
        "| scale − 1 | strong | weak |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['crystal']} | {r['energy']:g} | {r['n_nodes']} | {1 - r['ncc']:.1e} "
        f"| {r['max_relative']:.1e} | {r['mean_absolute']:.1e} | {r['scale'] - 1:+.1e} "
        f"| {r['mean_strong']:.1f} | {r['mean_weak']:.1f} |"
        for r in results["master_patterns"]
    ]
    lines += [
        "",
        "The isolated larger relative differences are single nodes where a beam sits on a Bethe "
        "cut-off: EMsoft decides in single precision.",
        "",
        "## Single directions, 20 keV",
        "",
        "Required: within 1e-3, beam counts equal on at least 99 %.",
        "",
        "| crystal | precision | directions | largest relative | equal strong | equal weak |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['crystal']} | {r['precision']} | {r['n']} | {r['max_relative']:.1e} "
        f"| {r['equal_strong']:.1%} | {r['equal_weak']:.1%} |"
        for r in results["directions"]
    ]
    lines += [
        "",
        "## Structure factors",
        "",
        "Required: within 1e-3, or 1e-5 of $U_0$.",
        "",
        "| crystal | energy [keV] | reflections | elastic, of $U_0$ | elastic, relative "
        "(above 0.001 $U_0$) | absorptive, of $U_0$ | wavelength, relative |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['crystal']} | {r['energy']} | {r['n']} | {r['max_over_u0']:.1e} "
        f"| {r['max_relative']:.1e} | {r['absorptive_over_u0']:.1e} | {r['wavelength']:.1e} |"
        for r in results["structure_factors"]
    ]
    lines += [
        "",
        "## Monte Carlo",
        "",
        "Own electrons with `max_scatterings: 300` against EMMCOpenCL. Required: yield and mean",
        "depth of every energy bin within 2 % or three standard errors.",
        "",
        "| crystal | energy [keV] | yield | EMsoft | difference [σ] | mean depth [nm] | EMsoft "
        "| difference [σ] |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in results["monte_carlo"]:
        if r["energy"] is None:
            lines.append(
                f"| **{r['crystal']}** | all, {r['electrons']} electrons | **{r['yield']:.4f}** "
                f"| **{r['emsoft_yield']:.4f}** | | | | |"
            )
        else:
            lines.append(
                f"| {r['crystal']} | {r['energy']:g} | {r['yield']:.5f} | {r['emsoft_yield']:.5f} "
                f"| {r['yield_sigmas']:+.1f} | {r['depth']:.3f} | {r['emsoft_depth']:.3f} "
                f"| {r['depth_sigmas']:+.1f} |"
            )
    lines += [
        "",
        "## Projection",
        "",
        "The 20 EMEBSD patterns of nickel, 229 × 229, energies 10 to 20 keV.",
        "",
        "| patterns | energy weights | n | smallest cross-correlation |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {r['patterns']} | {r['weights']} | {r['n']} | {r['min_ncc']:.7f} |"
        for r in results["projections"]
    ]
    return "\n".join(lines) + "\n"


def verdict(results: dict[str, Any]) -> list[str]:
    """What misses its tolerance; empty when all is well."""
    missed = [
        f"{r['crystal']} {r['energy']} keV: ncc {r['ncc']}"
        for r in results["master_patterns"]
        if not (r["ncc"] >= 0.9999 and r["mean_absolute"] <= 0.002)
    ]
    missed += [
        f"{r['crystal']} {r['precision']}: directions {r['max_relative']}"
        for r in results["directions"]
        if r["max_relative"] > 1e-3 or min(r["equal_strong"], r["equal_weak"]) < 0.99
    ]
    missed += [
        f"{r['crystal']} {r['energy']} keV: structure factors {r['max_over_u0']}"
        for r in results["structure_factors"]
        if r["max_over_u0"] > 1e-5 and r["max_relative"] > 1e-3
    ]
    for r in results["monte_carlo"]:
        if r["energy"] is not None:
            for ours, theirs, sigmas in (
                (r["yield"], r["emsoft_yield"], r["yield_sigmas"]),
                (r["depth"], r["emsoft_depth"], r["depth_sigmas"]),
            ):
                if abs(ours - theirs) > 0.02 * abs(theirs) and abs(sigmas) > 3:
                    missed.append(f"{r['crystal']} {r['energy']} keV: {ours} against {theirs}")
    missed += [
        f"{r['patterns']}: {r['min_ncc']}" for r in results["projections"] if r["min_ncc"] < 0.9999
    ]
    return missed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, help="random grid nodes per crystal; default all")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "docs/validation")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # small matrices: a second thread costs more than it gives
    shared = Path(os.environ.get("EBSDSG_SHARED", REPOSITORY.parent / "shared"))
    if not (shared / "reference").is_dir():
        raise SystemExit(f"no reference data in {shared}; set EBSDSG_SHARED to their folder")
    results: dict[str, Any] = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "nodes": arguments.nodes,
        "structure_factors": structure_factors(shared),
        "directions": directions(shared),
        "projections": projections(shared),
        "monte_carlo": monte_carlo(shared),
        "master_patterns": master_patterns(shared, arguments.nodes),
    }
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "engine.json").write_text(json.dumps(results, indent=1) + "\n")
    (arguments.output / "engine.md").write_text(page(results))
    missed = verdict(results)
    print(f"wrote {arguments.output / 'engine.md'}")
    if missed:
        raise SystemExit("outside the tolerances:\n  " + "\n  ".join(missed))
    print("everything is within its tolerance")


if __name__ == "__main__":
    main()
