"""A training run from its document to its model, whatever dies or goes away in between."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ebsdsg_flows.run_log import LogNotDelivered, RunLog, patiently
from ebsdsg_flows.settings import get_settings
from stores.documents import Failure, TrainingRunDocument
from stores.states import ENDED_BADLY, State, StateError, now, transition

if TYPE_CHECKING:
    from stores.collections import Stores

TRAINING_FAILED = 20
"""Failure code of a training that gave up."""


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

    Parameters
    ----------
    stores : open database; it may go away while the run is computed.
    run : its document.
    compute : given the run's folder and log, computes what is left of it and returns the fields of
        the completed document.
    """
    if run.state is State.COMPLETED:
        return run
    settings = get_settings()
    directory = settings.root / "training" / run.key
    _begin(stores, run)
    cpu = time.process_time()
    try:
        with RunLog(stores, run.key, directory, settings.root, every=settings.heartbeat) as log:
            fields = compute(directory, log)
    except LogNotDelivered:
        raise  # nothing is wrong with the run: started again, it only has to be told
    except (RuntimeError, ValueError) as error:
        failure = Failure(code=TRAINING_FAILED, name="training failed", message=str(error))
        _end(stores, run.key, State.FAILED, {"failure": failure.model_dump(mode="json")})
        raise
    cpu = time.process_time() - cpu
    _end(stores, run.key, State.COMPLETED, {**fields, "cpu_seconds": round(cpu, 2)})
    finished = patiently(lambda: stores.get(TrainingRunDocument, run.key))
    assert finished is not None, "completed above"
    return finished


def _begin(stores: Stores, run: TrainingRunDocument) -> None:
    """Bring a run to ``running``; one that a dead worker left running was lost."""
    state = run.state
    if state is State.RUNNING:
        transition(stores.training_runs, run.key, State.RUNNING, State.LOST)
        state = State.LOST
    if state in ENDED_BADLY:
        transition(stores.training_runs, run.key, state, State.WAITING, fields={"failure": None})
    transition(
        stores.training_runs,
        run.key,
        State.WAITING,
        State.RUNNING,
        fields={"started": run.started or now(), "heartbeat": now()},
    )


def _end(stores: Stores, key: str, state: State, fields: dict[str, Any]) -> None:
    def change() -> None:
        try:
            transition(
                stores.training_runs,
                key,
                State.RUNNING,
                state,
                fields={**fields, "finished": now()},
            )
        except StateError as error:
            if error.actual is not state:  # else only the acknowledgement was lost
                raise

    patiently(change)
