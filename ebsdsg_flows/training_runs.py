"""A training run from its document to its model, whatever dies or goes away in between.

One worker computes a run, in the run's folder; others that are given the same run wait for it.
What a dead worker began is taken over: at once on its machine, elsewhere when its heartbeat is old.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from ebsdsg_flows.cluster.deaths import HEARTBEATS, Deaths
from ebsdsg_flows.leaving import asked_to_leave, leave
from ebsdsg_flows.run_log import LogNotDelivered, RunLog, TakenAway, patiently
from ebsdsg_flows.settings import get_settings
from stores.documents import Claim, Failure, TrainingRunDocument
from stores.janitor import STALE
from stores.owners import is_gone, this_process
from stores.states import ENDED_BADLY, State, StateError, now, transition

if TYPE_CHECKING:
    from stores.collections import Stores

TRAINING_FAILED = 20
"""Failure code of a training that gave up."""

_computing: set[str] = set()
"""Claims under which this process computes; it lives on after those that it left."""


class TrainingFailed(RuntimeError):
    """The worker that computed the run, for which this one waited, ended badly."""


def run_document(
    stores: Stores, identity: dict[str, Any], make: Callable[[str], TrainingRunDocument]
) -> TrainingRunDocument:
    """The document of a run; made if there is none.

    Parameters
    ----------
    stores : open database.
    identity : everything that determines the run; plain JSON types.
    make : makes the document from its key.
    """
    key = TrainingRunDocument.key_of(identity)
    stores.add(make(key))
    run = stores.get(TrainingRunDocument, key)
    assert run is not None, "added above"
    return run


def carry_out(
    stores: Stores,
    run: TrainingRunDocument,
    compute: Callable[[Path, RunLog], dict[str, Any]],
) -> TrainingRunDocument:
    """Compute a run, go on with what a dead worker began, or return the finished one.

    While another worker computes it, this one waits.

    Parameters
    ----------
    stores : open database; it may go away while the run is computed.
    run : its document.
    compute : given the run's folder and log, computes what is left of it and returns the fields of
        the completed document.

    Raises
    ------
    TrainingFailed
        If this worker waited for another, and that failed.
    ebsdsg_flows.run_log.TakenAway
        If another worker took this one for dead, and goes on in its place.
    """
    if run.state is State.COMPLETED:
        return run
    claim = Claim(run=uuid4().hex, owner=this_process())
    if _begin_or_wait(stores, run.key, claim):
        _computing.add(claim.run)
        try:
            _compute(stores, run.key, claim.run, compute)
        finally:
            _computing.discard(claim.run)
    finished = patiently(lambda: stores.get(TrainingRunDocument, run.key))
    assert finished is not None, "completed above"
    return finished


def _compute(
    stores: Stores, key: str, claim: str, compute: Callable[[Path, RunLog], dict[str, Any]]
) -> None:
    settings = get_settings()
    root, directory = settings.root, settings.root / "training" / key
    cpu = time.process_time()
    try:
        with RunLog(stores, key, directory, root, every=settings.heartbeat, claim=claim) as log:
            fields = compute(directory, log)
    except LogNotDelivered:
        raise  # nothing is wrong with the run: started again, it only has to be told
    except TakenAway:
        raise  # its end is the other worker's to tell
    except Exception as error:
        message = str(error) if isinstance(error, RuntimeError | ValueError) else repr(error)
        failure = Failure(code=TRAINING_FAILED, name="training failed", message=message)
        _end(stores, key, claim, State.FAILED, {"failure": failure.model_dump(mode="json")})
        raise
    cpu = time.process_time() - cpu
    _end(stores, key, claim, State.COMPLETED, {**fields, "cpu_seconds": round(cpu, 2)})


def _begin_or_wait(stores: Stores, key: str, claim: Claim) -> bool:
    """Bring a run to ``running``; ``False`` once another worker, waited for, has completed it."""
    beat = get_settings().heartbeat
    eyes = Deaths(HEARTBEATS * beat)
    waited = False
    while True:
        run = stores.get(TrainingRunDocument, key)
        assert run is not None, "runs are never removed"
        if run.state is State.COMPLETED:
            return False
        if run.state is State.FAILED and waited:
            reason = "" if run.failure is None else run.failure.message
            raise TrainingFailed(f"training run {key} failed at another worker: {reason}")
        if run.state is State.RUNNING and not _is_left(run, eyes):
            if asked_to_leave():
                leave()
            waited = True
            time.sleep(beat)
            continue
        try:
            _begin(stores, run, claim)
        except StateError:
            continue  # somebody else was faster
        return True


def _is_left(run: TrainingRunDocument, eyes: Deaths) -> bool:
    """Whether nobody computes a run that says it is running."""
    if run.claim is not None:
        owner = run.claim.owner
        if is_gone(owner) or (owner == this_process() and run.claim.run not in _computing):
            return True
    # of another machine's worker, or one of a version without claims, there is only its heartbeat
    return eyes.stands_still(run.key, run.heartbeat) and run.heartbeat < now() - STALE


def _begin(stores: Stores, run: TrainingRunDocument, claim: Claim) -> None:
    """Bring a run to ``running``; one that a dead worker left running was lost."""
    state = run.state
    if state is State.RUNNING:
        same = {"heartbeat": run.heartbeat}  # unless it showed life, or another took it over
        transition(stores.training_runs, run.key, State.RUNNING, State.LOST, where=same)
        state = State.LOST
    if state in ENDED_BADLY:
        transition(stores.training_runs, run.key, state, State.WAITING, fields={"failure": None})
    transition(
        stores.training_runs,
        run.key,
        State.WAITING,
        State.RUNNING,
        fields={
            "started": run.started or now(),
            "heartbeat": now(),
            "claim": claim.model_dump(mode="python"),
        },
    )


def _end(stores: Stores, key: str, claim: str, state: State, fields: dict[str, Any]) -> None:
    def change() -> None:
        try:
            transition(
                stores.training_runs,
                key,
                State.RUNNING,
                state,
                where={"claim.run": claim},
                fields={**fields, "finished": now()},
            )
        except StateError:
            told = {"key": key, "claim.run": claim, "state": str(state)}
            if stores.training_runs.find_one(told, {"_id": True}) is None:
                raise  # else only the acknowledgement was lost

    patiently(change)
