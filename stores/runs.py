"""Who computes what: claims, heartbeats and the end of every attempt.

A worker *claims* a simulation and gets a :class:`Run`, which says ``running`` in the database
before its program starts, keeps a heartbeat while it lives, and writes the end.  What died without
a word is found by :mod:`stores.janitor`.  Each step is one atomic compare-and-set, so a simulation
is computed by one worker at a time, and a worker that was given up for lost cannot finish later.
"""

from __future__ import annotations

import logging
import os
import threading
import traceback
from collections.abc import Iterable
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from stores.documents import Claim, Failure, FileReference, RunDocument, short
from stores.janitor import STALE, free_if_dead, mark_lost, retry, settle, simulation_values
from stores.owners import this_process
from stores.states import ENDED_BADLY, State, StateError, now, transition

if TYPE_CHECKING:
    from stores.collections import Stores

HEARTBEAT = timedelta(seconds=10)
"""Time between two signs of life."""

UNEXPECTED = Failure(code=1, name="unexpected error", message="")

__all__ = ["HEARTBEAT", "STALE", "ClaimRefused", "Run", "claim", "mark_lost", "retry", "settle"]

log = logging.getLogger(__name__)


class ClaimRefused(StateError):
    """The simulation cannot be computed by this worker now; ``actual`` says in which state it is.

    Attributes
    ----------
    owner : the process that computes it, if one does.
    """

    def __init__(self, message: str, actual: State | None, owner: str = "") -> None:
        super().__init__(message, actual)
        self.owner = owner


class Run:
    """One attempt at one stage, from ``running`` to its end; made by :func:`claim`.

    As a context manager it keeps the heartbeat going in a background thread; leaving it without
    :meth:`finish` is recorded as a failure, with the exception as its text.

    Attributes
    ----------
    document : the run as it was when it began.
    taken_away : event set when the heartbeat finds that the run is no longer this worker's; the
        program should then be stopped.
    """

    def __init__(
        self, stores: Stores, document: RunDocument, *, heartbeat: timedelta = HEARTBEAT
    ) -> None:
        self.document = document
        self.taken_away = threading.Event()
        self._stores = stores
        self._interval = heartbeat.total_seconds()
        self._progress: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._cpu = _cpu_seconds()
        self._finished = False

    @property
    def key(self) -> str:
        """Key of the run's document."""
        return self.document.key

    def __repr__(self) -> str:
        return f"Run({short(self.key)}, stage={self.document.stage!r})"

    def heartbeat(self, energies_done: int | None = None, message: str | None = None) -> bool:
        """Write a sign of life now, with progress if it is given.

        Returns
        -------
        ``False`` if the run is no longer running (it was marked lost): stop the program then.
        """
        with self._lock:
            if energies_done is not None:
                self._progress["energies_done"] = int(energies_done)
            if message is not None:
                self._progress["message"] = message
            progress = dict(self._progress)
        time = now()
        result = self._stores.runs.update_one(
            {"key": self.key, "state": str(State.RUNNING)},
            {"$set": {**progress, "heartbeat": time, "last_updated": time}},
        )
        if result.matched_count == 0 and not self._finished:
            self.taken_away.set()
        if "energies_done" in progress and self.document.simulation is not None:
            self._stores.simulations.update_one(
                {"key": self.document.simulation, "claim.run": self.key},
                {"$set": {"energies_done": progress["energies_done"]}},
            )
        return result.matched_count == 1

    def note(
        self,
        energies_done: int | None = None,
        message: str | None = None,
        seconds_left: float | None = None,
    ) -> None:
        """Remember progress for the next heartbeat; cheap, for inner loops."""
        with self._lock:
            if energies_done is not None:
                self._progress["energies_done"] = int(energies_done)
            if message is not None:
                self._progress["message"] = message
            if seconds_left is not None:
                self._progress["seconds_left"] = float(seconds_left)

    def begin_stage(self, stage: str, program: str) -> None:
        """Say which stage begins, and which program does it."""
        with self._lock:
            self._progress |= {"stage": stage, "program": program, "seconds_left": None}
        self.heartbeat()
        if self.document.simulation is not None:
            self._stores.simulations.update_one(
                {"key": self.document.simulation, "claim.run": self.key},
                {"$set": {"stage": stage}},
            )

    def finish(
        self,
        state: State | str,
        *,
        failure: Failure | None = None,
        files: Iterable[FileReference] = (),
        energies_done: int | None = None,
        exit_code: int | None = None,
        cpu_seconds: float | None = None,
        next_action: str = "",
        next_stage: str | None = None,
    ) -> None:
        """Write the end of the run, and of its simulation's attempt.

        Parameters
        ----------
        state : ``completed`` only after the file has been read back and checked; else ``failed``,
            ``timed_out``, or ``lost`` for what was ended by the machine and should be sent again.
        failure : required with every other state than ``completed``.
        files : checked files.
        energies_done : energies finished; the last progress if not given.
        exit_code : of the program.
        cpu_seconds : CPU time of the attempt; this process's and its children's if not given.
        next_action : what should happen next, for people and for reruns.
        next_stage : stage that is another worker's: the run is completed, and its simulation waits
            for that, in the same attempt.

        Raises
        ------
        StateError
            If the run was given up for lost meanwhile: its result belongs to another worker then.
        ValueError
            If ``failure`` is missing or out of place.
        """
        state = State(state)
        if (failure is not None) != (state in ENDED_BADLY):
            raise ValueError(f"{state} {'needs a' if failure is None else 'has no'} failure")
        self._stop_heart()
        time = now()
        with self._lock:
            done = self._progress.get("energies_done") if energies_done is None else energies_done
            progress = {**self._progress, **({} if done is None else {"energies_done": done})}
        used = _cpu_seconds() - self._cpu if cpu_seconds is None else cpu_seconds
        ended = transition(
            self._stores.runs,
            self.key,
            State.RUNNING,
            state,
            fields={
                **progress,
                "seconds_left": None,
                "finished": time,
                "heartbeat": time,
                "failure": None if failure is None else failure.model_dump(mode="json"),
                "files": [file.model_dump(mode="json") for file in files],
                "exit_code": exit_code,
                "next_stage": next_stage,
                "cpu_seconds": round(used, 3),
                "wall_seconds": (time - self.document.started).total_seconds(),
            },
        )
        self._finished = True
        if self.document.simulation is not None:
            settle(self._stores, self.document.simulation, ended, next_action=next_action)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(
            target=self._beat, name=f"heartbeat {short(self.key)}", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop_heart()
        if self._finished or self.taken_away.is_set():
            return
        if error is None:
            message = "the worker left without saying how the run ended"
        else:
            message = "".join(traceback.format_exception_only(error)).strip()
        tail = "" if error is None else "".join(traceback.format_exception(error))[-4000:]
        self.finish(
            State.FAILED,
            failure=UNEXPECTED.model_copy(update={"message": message, "log_tail": tail}),
        )

    def _beat(self) -> None:
        from pymongo.errors import PyMongoError

        while not self._stop.wait(self._interval):
            try:
                if not self.heartbeat():
                    log.warning("%r is no longer running in the database; it was taken away", self)
                    return
            except PyMongoError as error:
                # the next beat may get through; if none does, others see an old heartbeat
                log.warning("%r: heartbeat not written: %s", self, type(error).__name__)

    def _stop_heart(self) -> None:
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
            self._thread = None


def claim(
    stores: Stores,
    simulation: str,
    *,
    stage: str,
    program: str,
    n_energies: int | None = None,
    threads: int | None = None,
    gpu: str | None = None,
    queue_id: str | None = None,
    fw_id: int | None = None,
    stale: timedelta = STALE,
    heartbeat: timedelta = HEARTBEAT,
) -> Run:
    """Claim a waiting simulation for this process; it is ``running`` when this returns.

    Parameters
    ----------
    stores : open stores.
    simulation : key of the simulation.
    stage, program : what is going to run.
    n_energies : energies it will compute.
    threads, gpu, queue_id, fw_id : resources and places, for the record.
    stale : age of its last heartbeat from which an owner on another host counts as lost.
    heartbeat : time between two signs of life.

    Returns
    -------
    Run to be used as a context manager around the program.

    Raises
    ------
    ClaimRefused
        If it is completed, is computed by a living worker, or ended badly and was not sent again
        by :func:`stores.janitor.retry`.

    Notes
    -----
    The run's document is written first and withdrawn if another worker was faster, so that every
    claim names a run that exists.
    """
    free_if_dead(stores, simulation, stale)
    found = simulation_values(stores, simulation)
    attempt = len(found["attempts"])
    document = RunDocument(
        simulation=simulation,
        material_id=found["material_id"],
        stage=stage,
        program=program,
        attempt=attempt,
        owner=this_process(),
        n_energies=n_energies,
        threads=threads,
        gpu=gpu,
        queue_id=queue_id,
        fw_id=fw_id,
    )
    stores.runs.insert_one(document.to_mongo())
    number = f"attempts.{attempt - 1}"
    try:
        transition(
            stores.simulations,
            simulation,
            State.WAITING,
            State.RUNNING,
            where={number: {"$exists": True}, f"attempts.{attempt}": {"$exists": False}},
            fields={
                "claim": Claim(run=document.key, owner=document.owner).model_dump(mode="python"),
                "stage": stage,
                "n_energies": n_energies,
                "next_action": "",
                f"{number}.state": str(State.RUNNING),
                f"{number}.run": document.key,
                f"{number}.host": document.owner.host,
                f"{number}.started": document.started,
            },
        )
    except StateError as error:
        stores.runs.delete_one({"key": document.key})
        holder = (simulation_values(stores, simulation).get("claim") or {}).get("owner") or {}
        owner = f"process {holder['pid']} on {holder['host']}" if holder else ""
        raise ClaimRefused(
            f"simulation {short(simulation)} ({found['formula']}) is {error.actual}"
            + (f", computed by {owner}" if owner else "")
            + ("; send it again with retry" if error.actual in ENDED_BADLY else ""),
            error.actual,
            owner,
        ) from None
    return Run(stores, document, heartbeat=heartbeat)


def _cpu_seconds() -> float:
    """CPU time of this process and the children it waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
