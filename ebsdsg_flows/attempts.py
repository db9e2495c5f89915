"""One attempt of an engine at a simulation: claimed, watched, and its end written down.

An attempt that ends badly is recorded before its programs are ended, with the number and text of
its failure, or with what the queue says it did to its job.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from ebsdsg_flows.cluster.job import in_a_queue, job_id
from ebsdsg_flows.cluster.launches import current_firework
from ebsdsg_flows.engines.base import Control, Engine, EngineFailure, Progress
from ebsdsg_flows.leaving import asked_to_leave, leave
from ebsdsg_flows.settings import get_settings
from stores.documents import Failure, SimulationDocument
from stores.runs import Run, claim, retry
from stores.states import ENDED_BADLY, State, StateError

if TYPE_CHECKING:
    from ebsdsg_flows.cluster.endings import Ending
    from ebsdsg_sim.parameters import SimulationParameters
    from stores.collections import Stores

log = logging.getLogger(__name__)

T = TypeVar("T")

ENGINE_FAILED = 10
"""Failure code of an engine that gave up."""


class SimulationFailed(RuntimeError):
    """A simulation ended badly; its run's document says where and why.

    Parameters
    ----------
    message : what happened.
    key : of the simulation.
    """

    def __init__(self, message: str, key: str) -> None:
        super().__init__(message)
        self.key = key

    def to_dict(self) -> dict[str, str]:
        """What FireWorks keeps of it; by the key the firework is found again for a rerun."""
        return {"simulation": self.key}


def send_again(stores: Stores, key: str) -> None:
    """Give a simulation that had ended badly when its firework began a new attempt.

    Parameters
    ----------
    stores : open database.
    key : of the simulation.

    Notes
    -----
    For the beginning of a firework, which somebody made ready again: one that waited for another's
    attempt would repeat what has just failed.
    """
    simulation = stores.get(SimulationDocument, key)
    if simulation is not None and simulation.state in ENDED_BADLY:
        with suppress(StateError):  # somebody else sent it again at this moment
            retry(stores, key, reason="its firework was run again")


def claim_attempt(
    stores: Stores,
    key: str,
    engine: Engine,
    parameters: SimulationParameters,
    stage: str = "master pattern",
) -> Run:
    """Claim a waiting simulation with the resources of this machine.

    Parameters
    ----------
    stores : open database.
    key : of the simulation.
    engine, parameters : that it was registered with.
    stage : with which the attempt begins.

    Raises
    ------
    stores.runs.ClaimRefused
        If it is completed, is computed by a living worker, or ended badly.
    """
    settings = get_settings()
    threads, gpu = engine.resources()
    return claim(
        stores,
        key,
        stage=stage,
        program=f"ebsdsg {engine.name}",
        n_energies=len(parameters.energies),
        threads=threads,
        gpu=gpu,
        queue_id=job_id(),
        fw_id=current_firework(),
        heartbeat=timedelta(seconds=settings.heartbeat),
    )


def attempted(
    stores: Stores,
    key: str,
    run: Run,
    work: Callable[[SimulationDocument, Progress, Control], T],
) -> tuple[SimulationDocument, T]:
    """Let an engine work for a claimed simulation; a bad end is recorded.

    Parameters
    ----------
    stores : open database.
    key : of the simulation.
    run : of the claim.
    work : what the engine does; it is given the simulation, its progress and its control.

    Returns
    -------
    The simulation, and what `work` returned.

    Raises
    ------
    SimulationFailed
        If it ends badly.  Any other error (a full disk, a defect) is recorded by the run itself.
    """
    simulation = stores.get(SimulationDocument, key)
    assert simulation is not None, "claimed above"

    def progress(stage: str, done: int, total: int) -> None:
        if run.taken_away.is_set():
            raise SimulationFailed(f"simulation {key[:10]} was given to another worker", key)
        run.note(
            energies_done=done if stage == "energies" else None,
            message=f"{stage} {done / max(1, total):.0%}",
        )

    ended: list[EngineFailure] = []
    recording = threading.Lock()

    def end_badly(failure: EngineFailure) -> None:
        """Record a failure, once: an attempt ended from outside is recorded before it ends."""
        with recording:  # at SIGTERM two threads come here
            if not ended and not run.taken_away.is_set():
                _record_failure(run, failure)
                ended.append(failure)

    this_attempt = simulation.attempts[-1]
    control = Control(
        stage=run.begin_stage,
        ending=end_badly,
        time_left=lambda seconds: run.note(seconds_left=seconds),
        walltime=this_attempt.walltime,
        threads=this_attempt.threads,
    )
    try:
        return simulation, work(simulation, progress, control)
    except EngineFailure as failure:
        end_badly(failure)
        if ended and ended[0] is not failure and not in_a_queue():
            leave()  # `ebsdsg run` was stopped; called again, it goes on from here
        message = f"{simulation.formula} ({key[:10]}), failure {failure.code}: {failure}"
        raise SimulationFailed(message, key) from failure
    except SimulationFailed:
        raise
    except (RuntimeError, ValueError) as error:
        if not run.taken_away.is_set():
            unknown = Failure(code=ENGINE_FAILED, name="engine failed", message=str(error))
            run.finish(State.FAILED, failure=unknown, next_action="look into it, then rerun")
        raise SimulationFailed(f"{simulation.formula} ({key[:10]}): {error}", key) from error


def _record_failure(run: Run, failure: EngineFailure) -> None:
    """Write the end of a run; one that the queue ended is called by what the queue did."""
    ending = _queue_ending() if asked_to_leave() else None
    if ending is not None:
        run.finish(
            ending.state,
            failure=ending.failure(f"job {job_id()}", failure.log_tail),
            exit_code=failure.exit_code,
            next_action=ending.next_action,
        )
        return
    run.finish(
        failure.state,
        failure=Failure(
            code=failure.code,
            name=failure.name,
            message=failure.message,
            log_tail=failure.log_tail,
        ),
        exit_code=failure.exit_code,
        next_action=failure.next_action,
    )


def _queue_ending() -> Ending | None:
    """Why the queue is ending this job; ``None`` if it does not say."""
    from ebsdsg_flows.cluster import slurm

    number = os.environ.get("SLURM_JOB_ID")
    if not number:
        return None
    try:
        return slurm.cause(number)
    except slurm.QueueUnavailable as error:
        log.warning("asked to end, and the queue does not say why: %s", error)
        return None
