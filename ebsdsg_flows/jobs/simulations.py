"""The station where a structure becomes a master pattern, whatever engine computes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from jobflow import Maker, job

from ebsdsg_flows.engines import BuiltinEngine, Engine
from ebsdsg_sim.parameters import SimulationParameters


@dataclass
class MasterPatternMaker(Maker):
    """Simulate one structure's master pattern, unless that was done before.

    Parameters
    ----------
    name : of the job.
    engine : what computes it.
    parameters : what is computed.
    debye_waller : Debye-Waller factor given to every atom [nm^2]; ``None`` keeps the structure's.
    """

    name: str = "master pattern"
    engine: Engine = field(default_factory=BuiltinEngine)
    parameters: SimulationParameters = field(default_factory=SimulationParameters)
    debye_waller: float | None = None

    @job
    def make(self, structure: dict[str, Any], campaign: str | None = None) -> dict[str, Any]:
        """Simulate.

        Parameters
        ----------
        structure : output of :class:`ebsdsg_flows.jobs.RelabelMaker`.
        campaign : name of the campaign that it is a member of.

        Returns
        -------
        ``simulation`` (key), ``path`` below the data root and ``sha256`` of the master pattern.

        Raises
        ------
        ebsdsg_flows.runstate.SimulationFailed
            If the engine fails; the run's document says why.
        """
        from ebsdsg_flows.advance import add_simulation, settle
        from ebsdsg_flows.runstate import SimulationFailed, run_simulation, simulation_of
        from ebsdsg_flows.session import open_stores

        stores = open_stores()
        simulation = simulation_of(structure, self.parameters, self.engine, self.debye_waller)
        stores.add(simulation)
        if campaign is not None:
            add_simulation(stores, campaign, simulation.key)
        try:
            pattern = run_simulation(stores, simulation.key, self.engine, self.parameters)
        except SimulationFailed:
            if campaign is not None:
                settle(stores, campaign, structure["material_id"])
            raise
        if campaign is not None:
            settle(stores, campaign, structure["material_id"])
        return {
            "simulation": simulation.key,
            "path": pattern.file.path,
            "sha256": pattern.file.sha256,
        }
