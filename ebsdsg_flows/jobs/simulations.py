"""The stations where a structure becomes a master pattern, whatever engine computes it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jobflow import Maker, job

from ebsdsg_flows.engines import BuiltinEngine, Engine
from ebsdsg_sim.parameters import SimulationParameters

if TYPE_CHECKING:
    from stores.collections import Stores

log = logging.getLogger(__name__)


@dataclass
class MonteCarloMaker(Maker):
    """Compute the Monte Carlo of one structure's simulation, so that another worker has it.

    Parameters
    ----------
    name : of the job.
    engine : what computes it; one that can compute it apart.
    parameters, debye_waller : see :class:`MasterPatternMaker`.
    """

    name: str = "monte carlo"
    engine: Engine = field(default_factory=BuiltinEngine)
    parameters: SimulationParameters = field(default_factory=SimulationParameters)
    debye_waller: float | dict[str, float] | None = None

    @job
    def make(self, structure: dict[str, Any], member: str | None = None) -> dict[str, Any]:
        """Compute it, unless it is there.

        Parameters
        ----------
        structure : output of :class:`ebsdsg_flows.jobs.RelabelMaker`.
        member : key of the member of a campaign that it is.

        Returns
        -------
        The structure, for the station that comes next.

        Raises
        ------
        ebsdsg_flows.attempts.SimulationFailed
            If the engine fails; the run's document says why.
        """
        from ebsdsg_flows.runstate import run_monte_carlo

        with _simulation(self, structure, member) as (stores, key):
            run_monte_carlo(stores, key, self.engine, self.parameters)
        return structure


@dataclass
class MasterPatternMaker(Maker):
    """Simulate one structure's master pattern, unless that was done before.

    Parameters
    ----------
    name : of the job.
    engine : what computes it.
    parameters : what is computed.
    debye_waller : Debye-Waller factor given to every atom [nm^2], or the limits ``low`` and
        ``high`` and the ``seed`` with which one is drawn for every site; ``None`` keeps the
        structure's.
    """

    name: str = "master pattern"
    engine: Engine = field(default_factory=BuiltinEngine)
    parameters: SimulationParameters = field(default_factory=SimulationParameters)
    debye_waller: float | dict[str, float] | None = None

    @job
    def make(self, structure: dict[str, Any], member: str | None = None) -> dict[str, Any]:
        """Simulate.

        Parameters
        ----------
        structure : output of :class:`ebsdsg_flows.jobs.RelabelMaker`.
        member : key of the member of a campaign that it is.

        Returns
        -------
        ``simulation`` (key), ``path`` below the data root and ``sha256`` of the master pattern.

        Raises
        ------
        ebsdsg_flows.attempts.SimulationFailed
            If the engine fails, the run's document says why; or if the campaign cannot be told of
            a completed simulation, then :func:`ebsdsg_flows.rerun.ready_again` has it told again.
        """
        from ebsdsg_flows.advance import settle
        from ebsdsg_flows.runstate import run_simulation

        with _simulation(self, structure, member) as (stores, key):
            pattern = run_simulation(stores, key, self.engine, self.parameters)
            if member is not None:
                settle(stores, member)
        return {
            "simulation": key,
            "path": pattern.file.path,
            "sha256": pattern.file.sha256,
        }


@contextmanager
def _simulation(
    maker: MonteCarloMaker | MasterPatternMaker, structure: dict[str, Any], member: str | None
) -> Iterator[tuple[Stores, str]]:
    """Database and key of the simulation that a job works on; its failure ends the member.

    Whatever goes wrong becomes a :class:`ebsdsg_flows.attempts.SimulationFailed`: only by its key
    can a rerun find the firework.
    """
    from ebsdsg_flows.advance import begin, settle
    from ebsdsg_flows.attempts import SimulationFailed
    from ebsdsg_flows.runstate import simulation_of
    from ebsdsg_flows.session import open_stores

    stores = open_stores()
    simulation = simulation_of(structure, maker.parameters, maker.engine, maker.debye_waller)
    stores.add(simulation)
    try:
        if member is not None:
            begin(stores, member, simulation.key)
        yield stores, simulation.key
    except Exception as error:
        if member is not None:
            try:
                settle(stores, member)
            except Exception as untold:  # whatever it is, the firework must keep its key
                log.warning("%s: its campaign was not told of its end: %r", member, untold)
        if isinstance(error, SimulationFailed):
            raise
        what = f"{type(error).__name__}: {error}"
        message = f"{simulation.formula} ({simulation.key[:10]}): {what}"
        raise SimulationFailed(message, simulation.key) from error
