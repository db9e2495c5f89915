"""Which phases the study looks at, and their master patterns.

The phases are chosen by a rule that knows nothing of patterns or answers: within every true space
group, those of the snapshot under the paper's volume limits with at most :data:`MOST_SITES` atoms
in the cell that the snapshot stores, in the order of a hash of their identifiers; without the
compositions of the experiment, which the comparison is tested on.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ebsdsg_ml.composition import composition
from ebsdsg_ml.experiment import EXPERIMENT
from ebsdsg_ml.pattern_source import PatternSource, file_sha256
from ebsdsg_sim.atomic_file import write_atomically
from ebsdsg_sim.crystal import Crystal
from ebsdsg_sim.hdf5 import read_master_pattern, read_monte_carlo
from ebsdsg_sim.parameters import SimulationParameters
from ebsdsg_sim.simulate import SimulationError, simulate

STRUCTURES: Mapping[int, tuple[int, int]] = {
    221: (0, 90),
    223: (0, 30),
    225: (0, 85),
    227: (0, 32),
    229: (0, 56),
}
"""Which places in the order are taken of every true space group, first and last + 1, those of the
experiment included."""
LARGEST_VOLUME: Mapping[int, float] = {221: 250, 223: 250, 225: 250, 227: 500, 229: 250}
"""The paper's limits of the conventional cell's volume [A^3]."""
MOST_SITES = 14
PARAMETERS = SimulationParameters(
    voltage=20.0,
    energy_min=10.0,
    energy_step=5.0,
    npx=60,
    dmin=0.05,
    n_electrons=200_000,
    seed=1,
)
DEBYE_WALLER: Mapping[str, tuple[float, float]] = {"target": (0.002, 0.014)}
"""Ranges of the sites' Debye-Waller factors B [nm^2], drawn uniformly.  The source has 0.004."""
NOT_IN_TARGET = ("Al4CoNi2", "Al4Ni3")
"""Phases of Ia-3d, which is none of the five relabelled classes."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Phase:
    """One phase of the study.

    Parameters
    ----------
    key : identifier of its entry, or its formula for a phase of the experiment.
    formula : reduced.
    true, relabelled : space groups before and after compositional disordering.
    crystal : asymmetric unit, B = 0.004 nm^2.
    """

    key: str
    formula: str
    true: int
    relabelled: int
    crystal: Crystal

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {**self.__dict__, "crystal": self.crystal.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Phase:
        """Inverse of :meth:`to_dict`."""
        return cls(**{**values, "crystal": Crystal.from_dict(values["crystal"])})

    @classmethod
    def of(cls, structure: Mapping[str, Any], key: str) -> Phase:
        """Phase of a pymatgen structure, symmetrised and relabelled as in a campaign."""
        from pymatgen.core import Structure

        from ebsdsg_flows.structures import structure_document

        document = structure_document(Structure.from_dict(structure), key, symprec=0.1)
        values = document.model_dump(mode="json")
        return cls(
            key=key,
            formula=values["formula"],
            true=values["space_group"]["number"],
            relabelled=values["relabel"]["number"],
            crystal=Crystal.from_dict(values["crystal"]),
        )


def order(text: str) -> str:
    """What the entries of the snapshot are sorted by: a hash of their identifiers."""
    return hashlib.sha256(f"study 1 {text}".encode()).hexdigest()


def chosen(
    rows: Iterable[Mapping[str, Any]], structures: Mapping[int, tuple[int, int]] = STRUCTURES
) -> list[Mapping[str, Any]]:
    """Entries of the snapshot that the study takes.

    Parameters
    ----------
    rows : entries with ``material_id``, ``formula_pretty``, ``spacegroup_number``,
        ``volume_conventional`` [A^3], ``nsites`` and ``in_2024_07_snapshot``.
    structures : space group -> places in the order that are taken, first and last + 1.

    Returns
    -------
    Entries by group and hash; those of the experiment's compositions are taken and then left out,
    so that the choice of the others does not depend on them.
    """
    experiment = {composition(phase.formula) for phase in EXPERIMENT}
    fitting: dict[int, list[Mapping[str, Any]]] = {group: [] for group in structures}
    for row in rows:
        group = row["spacegroup_number"]
        if (
            group in structures
            and row["in_2024_07_snapshot"]
            and row["volume_conventional"] < LARGEST_VOLUME[group]
            and row["nsites"] <= MOST_SITES
        ):
            fitting[group].append(row)
    result: list[Mapping[str, Any]] = []
    for group, (first, end) in sorted(structures.items()):
        taken = sorted(fitting[group], key=lambda row: order(row["material_id"]))[first:end]
        result += [row for row in taken if composition(row["formula_pretty"]) not in experiment]
    return result


def _cached(path: Path, make: Callable[[], list[Phase]]) -> list[Phase]:
    if path.exists():
        return [Phase.from_dict(values) for values in json.loads(path.read_text())]
    phases = make()
    content = json.dumps([phase.to_dict() for phase in phases], indent=1)
    write_atomically(path, content.encode())
    return phases


def source_phases(folder: Path, structures: Path) -> list[Phase]:
    """Phases that the networks learn from; kept in ``folder/source_phases.json``."""

    def make() -> list[Phase]:
        with gzip.open(structures, "rt") as file:
            rows = chosen(json.loads(line) for line in file)
        return [Phase.of(row["structure"], row["material_id"]) for row in rows]

    return _cached(folder / "source_phases.json", make)


def target_phases(folder: Path, experiment: Path) -> list[Phase]:
    """The 16 phases of the experiment in the five classes; in ``folder/target_phases.json``."""

    def make() -> list[Phase]:
        with gzip.open(experiment, "rt") as file:
            rows = json.load(file)
        return [
            Phase.of(row["structure"], row["phase"])
            for row in rows
            if row["phase"] not in NOT_IN_TARGET
        ]

    return _cached(folder / "target_phases.json", make)


def with_drawn_factors(phase: Phase, kind: str) -> Crystal:
    """Crystal of a phase with the Debye-Waller factors of a set, drawn by phase and set."""
    low, high = DEBYE_WALLER[kind]
    rng = np.random.default_rng(int(order(f"{kind} {phase.key}")[:12], 16))
    factors = rng.uniform(low, high, len(phase.crystal.sites))
    return phase.crystal.with_debye_waller([float(b) for b in factors])


def simulate_phases(folder: Path, kind: str, phases: Iterable[Phase], say: Say = print) -> None:
    """Simulate what is not there yet: one file per phase in ``folder/kind``.

    Parameters
    ----------
    folder : of the bank; may be worked on by several processes.
    kind : ``"base"``, or a set of :data:`DEBYE_WALLER`.
    phases : in the order of the work.
    say : told every finished phase.
    """
    (folder / kind).mkdir(parents=True, exist_ok=True)
    for phase in phases:
        path = folder / kind / f"{phase.key}.h5"
        if path.exists():
            continue
        crystal = phase.crystal if kind == "base" else with_drawn_factors(phase, kind)
        base = folder / "base" / f"{phase.key}.h5"
        # the Monte Carlo does not depend on the Debye-Waller factors
        monte_carlo = read_monte_carlo(base)[0] if kind != "base" and base.exists() else None
        try:
            report = simulate(crystal, PARAMETERS, path, monte_carlo=monte_carlo)
        except SimulationError as error:
            if "another process" not in str(error):
                raise
            say(f"{kind} {phase.key}: left to another process")
            continue
        say(f"{kind} {phase.key} {phase.formula}: {report.cpu_seconds:.1f} CPU-s")


def sources(folder: Path, kind: str, phases: Iterable[Phase]) -> list[PatternSource]:
    """Master patterns of phases as a data set takes them.

    Raises
    ------
    SystemExit
        If one is not there yet.
    """
    made, missing = [], []
    for phase in phases:
        path = folder / kind / f"{phase.key}.h5"
        if not path.exists():
            missing.append(phase.key)
            continue
        labels = {"true": phase.true, "relabelled": phase.relabelled}
        made.append(PatternSource(phase.key, phase.formula, labels, path, file_sha256(path)))
    if missing:
        raise SystemExit(f"no master pattern of {', '.join(missing)} in {folder / kind} yet")
    return made


def cpu_seconds(folder: Path, kind: str, phases: Iterable[Phase]) -> float:
    """Processor time that the master patterns of some phases took, as their files tell."""
    total = 0.0
    for phase in phases:
        provenance = read_master_pattern(folder / kind / f"{phase.key}.h5").provenance
        total += float(provenance["cpu_seconds"])
    return total
