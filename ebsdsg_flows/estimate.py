"""What simulations will take, judged by finished ones with the same settings.

The time of a master pattern grows with a power of the number of beams, and that with the volume of
the primitive cell; so where enough has finished, a power law is fitted to the processor times.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ebsdsg_flows.campaign import Campaign
    from ebsdsg_flows.planning import PlannedMember
    from stores.collections import Stores

ENOUGH = 8
"""Finished simulations from which the growth with the volume is fitted."""

MOST = 2000

FAR = 2.0
"""Ratio of volumes from which the fit is known to be carried beyond what has finished."""


@dataclass(frozen=True)
class Estimate:
    """Expected cost of the new simulations of a campaign.

    Parameters
    ----------
    simulations : number of simulations it is for.
    unknown : of these, those whose engine finished nothing with these settings.
    cpu_seconds, bytes : of those that can be estimated; 0 if none can.
    finished : number of finished simulations that it rests on.
    exponent : of the growth with the cell's volume, ``None`` if the mean was taken.
    scatter : factor by which a single structure lies off, one standard deviation.
    beyond : largest cell to come over the largest that has finished.
    """

    simulations: int
    unknown: int
    cpu_seconds: float
    bytes: float
    finished: int
    exponent: float | None = None
    scatter: float | None = None
    beyond: float = 0.0

    def __str__(self) -> str:
        if not self.finished:
            return (
                "no finished run to estimate from: submit a few structures first "
                "(structures.materials), then ask again"
            )
        how = f"by {self.finished} finished simulations with these settings"
        if self.exponent is None:
            how += "; their mean, for too few have finished to fit the growth with the cell"
        else:
            how += f", growing with cell volume to the power {self.exponent:.1f}"
            how += f"; one structure scatters by a factor of {self.scatter:.1f}"
        if self.beyond > FAR:
            how += f"; the largest cell has {self.beyond:.1f} times the volume of any finished one"
        hours = self.cpu_seconds / 3600
        time = f"{hours:,.1f} CPU-hours" if hours >= 1 else f"{60 * hours:.1f} CPU-minutes"
        text = f"about {time} and {self.bytes / 1e9:,.2f} GB ({how})"
        if self.unknown:
            text += f"; {self.unknown} simulations of an engine without finished ones not counted"
        return text


def estimate_cost(stores: Stores, campaign: Campaign, new: Sequence[PlannedMember]) -> Estimate:
    """Estimate processor time and disk of simulations.

    Parameters
    ----------
    stores : open database, with finished simulations of any campaign.
    campaign : gives the settings.
    new : the simulations to come.

    Notes
    -----
    With at least eight finished ones over a factor of two in volume, log(CPU seconds) is fitted
    linearly against log(volume of the primitive cell), and the mean of the log-normal scatter is
    taken; otherwise the mean of the finished ones.  Cells are given primitive by the Materials
    Project; for a source that gives conventional ones the estimate is too high.
    """
    total_cpu = total_bytes = 0.0
    unknown = n_finished = 0
    exponent = scatter = None
    beyond = 0.0
    engines = {(m.engine.name, m.engine.physics_version) for m in new}
    for name, version in sorted(engines):
        mine = [m for m in new if (m.engine.name, m.engine.physics_version) == (name, version)]
        finished = _finished(stores, campaign.simulation.parameters, name, version)
        if not len(finished):
            unknown += len(mine)
            continue
        n_finished += len(finished)
        volumes = np.array([member.volume for member in mine])
        seconds, exponent, scatter = _expected_seconds(finished[:, 0], finished[:, 1], volumes)
        beyond = max(beyond, float(volumes.max() / finished[:, 0].max()))
        total_cpu += float(seconds.sum())
        total_bytes += len(mine) * float(finished[:, 2].mean())
    return Estimate(
        len(new), unknown, total_cpu, total_bytes, n_finished, exponent, scatter, beyond
    )


def _finished(stores: Stores, parameters: dict[str, Any], engine: str, version: str) -> np.ndarray:
    """(n, 3) primitive volume [Å^3], CPU seconds and bytes of finished simulations."""
    patterns = [
        pattern
        for pattern in stores.master_patterns.find(
            {"npx": parameters["npx"], "engine.name": engine},
            {"material_id": 1, "cpu_seconds": 1, "file.bytes": 1, "parameters": 1, "engine": 1},
        ).limit(MOST)
        if pattern["parameters"] == parameters
        and pattern["engine"]["physics_version"] == version
        and pattern.get("cpu_seconds")
    ]
    ids = sorted({pattern["material_id"] for pattern in patterns})
    volumes = {
        structure["key"]: structure["volume_primitive"]
        for structure in stores.structures.find(
            {"key": {"$in": ids}}, {"key": 1, "volume_primitive": 1}
        )
    }
    rows = [
        (volumes[p["material_id"]], p["cpu_seconds"], p["file"]["bytes"])
        for p in patterns
        if p["material_id"] in volumes
    ]
    return np.array(rows, dtype=float).reshape(-1, 3)


def _expected_seconds(
    volumes: np.ndarray, seconds: np.ndarray, wanted: np.ndarray
) -> tuple[np.ndarray, float | None, float | None]:
    """Expected CPU seconds for cells of some volumes, with exponent and scatter of the fit."""
    if len(seconds) < ENOUGH or volumes.max() < 2 * volumes.min():
        return np.full(len(wanted), seconds.mean()), None, None
    slope, offset = np.polyfit(np.log(volumes), np.log(seconds), 1)
    residual = np.log(seconds) - (slope * np.log(volumes) + offset)
    variance = float((residual**2).sum() / (len(seconds) - 2))
    expected = np.exp(slope * np.log(wanted) + offset + variance / 2)
    return expected, float(slope), float(np.exp(np.sqrt(variance)))
