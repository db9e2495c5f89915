"""What a simulation produced and what it took, in plain numbers for a database."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ebsdsg_sim.masterpattern import MasterPattern


@dataclass(frozen=True)
class SimulationReport:
    """What a simulation produced and what it took.

    Parameters
    ----------
    path : the finished file.
    sha256, bytes : of the finished file.
    cpu_seconds, wall_seconds : of all attempts together, Monte Carlo included.
    monte_carlo_seconds : processor time of the Monte Carlo.
    energies : bins, ascending [keV].
    mean_strong, mean_weak : mean numbers of beams, per energy.
    n_directions : directions solved, per energy.
    backscatter_yield : of the Monte Carlo.
    device, threads, version : where the last attempt ran, and the version of ebsdsg.
    energies_resumed : energies taken over from an interrupted attempt.
    already_complete : the file was there, complete and of this simulation; nothing was computed.
    """

    path: str
    sha256: str
    bytes: int
    cpu_seconds: float
    wall_seconds: float
    monte_carlo_seconds: float
    energies: list[float]
    mean_strong: list[float]
    mean_weak: list[float]
    n_directions: list[int]
    backscatter_yield: float
    device: str
    threads: int
    version: str
    energies_resumed: int = 0
    already_complete: bool = False

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain JSON types."""
        return asdict(self)

    @classmethod
    def of(cls, path: Path, mp: MasterPattern, resumed: int) -> SimulationReport:
        """Report on a finished file.

        Parameters
        ----------
        path : the file.
        mp : what it holds, with the provenance that :func:`ebsdsg_sim.simulate.simulate` keeps.
        resumed : energies taken over from an interrupted attempt.
        """
        p = mp.provenance
        statistics = [p.get("energies", {}).get(str(i), {}) for i in range(len(mp.energies))]
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return cls(
            path=str(path),
            sha256=digest,
            bytes=path.stat().st_size,
            cpu_seconds=p.get("cpu_seconds", 0.0),
            wall_seconds=p.get("wall_seconds", 0.0),
            monte_carlo_seconds=mp.monte_carlo.cpu_seconds,
            energies=[float(e) for e in mp.energies],
            mean_strong=[s.get("mean_strong", 0.0) for s in statistics],
            mean_weak=[s.get("mean_weak", 0.0) for s in statistics],
            n_directions=[s.get("n_directions", 0) for s in statistics],
            backscatter_yield=mp.monte_carlo.backscatter_yield,
            device=p.get("device", ""),
            threads=p.get("threads", 0),
            version=p.get("version", ""),
            energies_resumed=resumed,
        )
