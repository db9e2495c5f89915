"""A simulation from claim to checked file, with its state written down at every step.

Whatever happens in between, the database tells the truth afterwards: a simulation is ``completed``
only after its file was read back, a failure carries its number and text, and a worker that dies
leaves a run whose heartbeat stops.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ebsdsg_flows.attempts import SimulationFailed, attempted, claim_attempt, send_again
from ebsdsg_flows.debye_waller import drawn
from ebsdsg_flows.engines.base import Control, Engine, EngineResult, Progress
from ebsdsg_flows.leaving import asked_to_leave, leave
from ebsdsg_flows.settings import get_settings
from stores.documents import (
    EngineReference,
    FileReference,
    MasterPatternDocument,
    SimulationDocument,
)
from stores.runs import ClaimRefused, Run
from stores.states import State

if TYPE_CHECKING:
    from ebsdsg_sim.parameters import SimulationParameters
    from stores.collections import Stores


def simulation_of(
    structure: Mapping[str, Any],
    parameters: SimulationParameters,
    engine: Engine,
    debye_waller: float | Mapping[str, float] | None = None,
) -> SimulationDocument:
    """The simulation that a structure, parameters and an engine make.

    Parameters
    ----------
    structure : document of a structure as plain JSON types.
    parameters : what is computed.
    engine : what computes it.
    debye_waller : Debye-Waller factor of every atom [nm^2], or the limits from which one is drawn
        for every site (:func:`ebsdsg_flows.debye_waller.drawn`); ``None`` keeps the structure's.

    Returns
    -------
    A waiting simulation; its key is the hash of what was given.
    """
    crystal = dict(structure["crystal"])
    if debye_waller is not None:
        sites = crystal["sites"]
        if isinstance(debye_waller, Mapping):
            factors = drawn(debye_waller, structure["material_id"], len(sites))
        else:
            factors = [debye_waller] * len(sites)
        crystal["sites"] = [
            {**site, "debye_waller": factor} for site, factor in zip(sites, factors, strict=True)
        ]
    return SimulationDocument.of(
        material_id=structure["material_id"],
        formula=structure["formula"],
        crystal=crystal,
        parameters=parameters.to_dict(),
        engine=EngineReference(name=engine.name, physics_version=engine.physics_version),
        space_group=structure["space_group"]["number"],
        relabelled=structure["relabel"]["number"],
        n_energies=len(parameters.energies),
    )


def run_simulation(
    stores: Stores, key: str, engine: Engine, parameters: SimulationParameters
) -> MasterPatternDocument:
    """Compute a registered simulation, or return what was computed before.

    Parameters
    ----------
    stores : open database.
    key : of a simulation in it.
    engine, parameters : that it was registered with.

    Returns
    -------
    Document of the checked master pattern.

    Raises
    ------
    SimulationFailed
        If the engine gives up, or another worker's attempt at the same simulation ended badly.
    """
    if asked_to_leave():
        leave()  # FireWorks' own rlaunch would begin another firework in the time that is left
    send_again(stores, key)
    while True:
        simulation = stores.get(SimulationDocument, key)
        if simulation is not None and simulation.state is State.COMPLETED:
            pattern = stores.get(MasterPatternDocument, key)
            if pattern is not None:
                return pattern
            raise SimulationFailed(f"{simulation!r} is completed, but its pattern is gone", key)
        try:
            run = claim_attempt(stores, key, engine, parameters)
        except ClaimRefused as refused:
            if refused.actual is State.COMPLETED:
                continue
            if refused.actual is not State.RUNNING:
                raise SimulationFailed(str(refused), key) from None
            # somebody else computes the very same thing: wait for it, or for its death
            time.sleep(get_settings().heartbeat)
            continue
        return _compute(stores, key, engine, parameters, run)


def run_monte_carlo(
    stores: Stores, key: str, engine: Engine, parameters: SimulationParameters
) -> None:
    """Compute the Monte Carlo of a registered simulation, whose next stage then waits.

    Parameters
    ----------
    stores : open database.
    key : of a simulation in it.
    engine, parameters : that it was registered with.

    Raises
    ------
    SimulationFailed
        If the engine gives up, or another worker's attempt at the same simulation ended badly.
    """
    if asked_to_leave():
        leave()
    send_again(stores, key)
    while True:
        simulation = stores.get(SimulationDocument, key)
        if simulation is not None and (
            simulation.state is State.COMPLETED
            or (simulation.state is State.RUNNING and simulation.stage == "master pattern")
        ):
            return  # who computes the master pattern has the Monte Carlo
        try:
            run = claim_attempt(stores, key, engine, parameters, stage="monte carlo")
        except ClaimRefused as refused:
            if refused.actual not in (State.COMPLETED, State.RUNNING):
                raise SimulationFailed(str(refused), key) from None
            time.sleep(get_settings().heartbeat)
            continue
        break

    def work(simulation: SimulationDocument, progress: Progress, control: Control) -> None:
        path = get_settings().root / _pattern_path(key)
        engine.compute_monte_carlo(simulation.crystal, parameters, path, progress, control)

    with run:
        attempted(stores, key, run, work)
        run.finish(State.COMPLETED, next_stage="master pattern")


def _pattern_path(key: str) -> str:
    """File of a simulation's master pattern, relative to the data root."""
    return f"master_patterns/{key[:2]}/{key}.h5"


def _compute(
    stores: Stores, key: str, engine: Engine, parameters: SimulationParameters, run: Run
) -> MasterPatternDocument:
    relative = _pattern_path(key)

    def work(simulation: SimulationDocument, progress: Progress, control: Control) -> EngineResult:
        path = get_settings().root / relative
        return engine.simulate(simulation.crystal, parameters, path, progress, control)

    with run:
        simulation, result = attempted(stores, key, run, work)
        pattern = _pattern_document(simulation, run, result, relative, parameters)
        # the pattern's document first: if the worker dies in between, the simulation is not
        # completed yet, and the next worker finds the finished file and only has to end it
        stores.save(pattern)
        run.finish(State.COMPLETED, files=[pattern.file], energies_done=len(parameters.energies))
    return pattern


def _pattern_document(
    simulation: SimulationDocument,
    run: Run,
    result: EngineResult,
    relative: str,
    parameters: SimulationParameters,
) -> MasterPatternDocument:
    import math

    sites = len(simulation.crystal["sites"])
    beams = [float(n) for n in result.report.get("mean_strong", [])]
    if not all(math.isfinite(n) for n in beams):
        message = f"{simulation.formula}: the engine reports beam counts {beams}"
        raise SimulationFailed(message, simulation.key)
    return MasterPatternDocument(
        key=simulation.key,
        simulation=simulation.key,
        material_id=simulation.material_id,
        run=run.key,
        file=FileReference(path=relative, bytes=result.size, sha256=result.sha256),
        npx=parameters.npx,
        n_sites=sites,
        energies=[float(e) for e in parameters.energies],
        engine=simulation.engine.model_copy(
            update={"version": str(result.report.get("engine_version", ""))}
        ),
        resumed_after_energies=result.report.get("resumed_after_energies"),
        restart=str(result.report.get("restart", "")),
        parameters=simulation.parameters,
        beams=beams,
        cpu_seconds=result.report.get("cpu_seconds"),
    )
