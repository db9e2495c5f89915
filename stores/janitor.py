"""What happens after an attempt: settling, sending again, and finding the dead.

A run that died without a word is known by its process being gone (on this machine) or by its old
heartbeat (on any other).  Its simulation then waits again, a limited number of times.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from stores.documents import Attempt, Failure, RunDocument, SimulationDocument, short
from stores.owners import is_gone
from stores.states import ENDED_BADLY, State, StateError, now, transition

if TYPE_CHECKING:
    from stores.collections import Stores

STALE = timedelta(minutes=5)
"""Age of a heartbeat above which a run on another host counts as lost."""

MAX_ATTEMPTS = 5
"""Attempts after which a lost simulation is not sent again without being asked."""

LOST_CODE = 0
"""Failure code of a run that ended without a word, whatever its engine."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Verdict:
    """How a run that did not say so ended.

    Parameters
    ----------
    state : ``lost``, ``timed_out`` or ``failed``.
    failure : with number and reason.
    next_action : what should happen next; a lost simulation is sent again by the janitor.
    """

    state: State
    failure: Failure
    next_action: str = ""


Judge = Callable[[RunDocument, str], Verdict | None]
"""Judge of a run that says ``running``: it is given the document and why the run counts as dead by
what the database tells (empty if it does not), and answers ``None`` for one that is to be left."""


def judge_by_signs_of_life(run: RunDocument, reason: str) -> Verdict | None:
    """The judge that knows nothing but process and heartbeat."""
    if not reason:
        return None
    return Verdict(State.LOST, Failure(code=LOST_CODE, name="lost", message=reason))


def settle(
    stores: Stores, simulation: str, run: Mapping[str, Any], *, next_action: str = ""
) -> bool:
    """Bring a simulation to the state in which its claimed run ended.

    Parameters
    ----------
    run : document of a run that is not running any more.

    Returns
    -------
    ``False`` if the simulation is not claimed by this run (any more); nothing is done then.
    """
    number = f"attempts.{run['attempt'] - 1}"
    failure = run.get("failure") or {}
    fields = {
        "claim": None,
        "energies_done": run["energies_done"],
        "next_action": next_action,
        f"{number}.energies_done": run["energies_done"],
    }
    state = run["state"]
    if state == State.COMPLETED and run.get("next_stage"):
        # a stage is done; the attempt goes on with the next one
        state = str(State.WAITING)
        fields |= {"stage": run["next_stage"], f"{number}.state": state}
    else:
        fields |= {
            f"{number}.state": state,
            f"{number}.finished": run.get("finished") or now(),
            f"{number}.failure_code": failure.get("code"),
            f"{number}.reason": failure.get("message", ""),
        }
    try:
        transition(
            stores.simulations,
            simulation,
            State.RUNNING,
            state,
            where={"claim.run": run["key"]},
            fields=fields,
        )
    except StateError:
        return False
    return True


def retry(
    stores: Stores,
    simulation: str,
    *,
    reason: str = "",
    walltime: float | None = None,
    threads: int | None = None,
) -> int:
    """Send a simulation that ended badly again: a new attempt is appended and it is ``waiting``.

    Parameters
    ----------
    stores : open stores.
    simulation : its key.
    reason : why, for the record.
    walltime, threads : what the new attempt gets instead of the settings' values [s].

    Returns
    -------
    Number of the new attempt.

    Raises
    ------
    StateError
        If it is waiting, running or completed.
    """
    found = simulation_values(stores, simulation)
    number = len(found["attempts"]) + 1
    attempt = Attempt(number=number, reason=reason, walltime=walltime, threads=threads)
    transition(
        stores.simulations,
        simulation,
        ENDED_BADLY,
        State.WAITING,
        where={f"attempts.{number - 1}": {"$exists": False}},
        fields={"next_action": ""},
        push={"attempts": attempt.model_dump(mode="json")},
    )
    return number


def mark_lost(
    stores: Stores,
    older_than: timedelta = STALE,
    *,
    max_attempts: int = MAX_ATTEMPTS,
    judge: Judge = judge_by_signs_of_life,
) -> list[str]:
    """Find the runs that died without a word; their simulations wait again.

    Parameters
    ----------
    older_than : age of the last heartbeat above which a run counts as lost; a process of this host
        that is gone counts at once.
    max_attempts : attempts after which a simulation stays ``lost`` until somebody sends it again.
    judge : decides on every running run; who can ask a queue knows more than the database.

    Returns
    -------
    Keys of the runs that were ended.  A run whose heartbeat moves meanwhile is left alone.

    Notes
    -----
    Can be stopped anywhere and called again, by several at once: what one call left half done
    (a run ended, its simulation not; a simulation lost, not sent again) the next one finishes.
    """
    oldest = now() - older_than
    running = {"state": str(State.RUNNING)}
    lost = []
    for run in list(stores.runs.find(running, {"_id": False})):
        verdict = judge(RunDocument.from_mongo(run), _death(run, oldest))
        if verdict is not None and _mark(stores, run, verdict):
            lost.append(run["key"])
    for found in list(stores.simulations.find(running, {"_id": False})):
        _settle_if_ended(stores, found)
    for found in list(stores.simulations.find({"state": str(State.LOST)}, {"_id": False})):
        _send_again(stores, found, max_attempts)
    return lost


def free_if_dead(stores: Stores, simulation: str, stale: timedelta) -> None:
    """Make a simulation whose owner is dead wait again; leave every other as it is.

    Parameters
    ----------
    simulation : key of the simulation.
    stale : age of the last heartbeat from which an owner on another host counts as dead.
    """
    found = simulation_values(stores, simulation)
    if found["state"] == State.RUNNING:
        run = stores.runs.find_one({"key": found["claim"]["run"]}, {"_id": False})
        if run is not None and run["state"] == State.RUNNING:
            reason = _death(run, now() - stale)
            verdict = judge_by_signs_of_life(RunDocument.from_mongo(run), reason)
            if verdict is None or not _mark(stores, run, verdict):
                return
        else:
            _settle_if_ended(stores, found)
        found = simulation_values(stores, simulation)
    if found["state"] == State.LOST:
        _send_again(stores, found, MAX_ATTEMPTS)


def simulation_values(stores: Stores, key: str) -> dict[str, Any]:
    """Simulation document as it is stored.

    Raises
    ------
    StateError
        If there is none of this key.
    """
    found = stores.simulations.find_one({"key": key}, {"_id": False})
    if found is None:
        raise StateError(f"{SimulationDocument.collection} has no document with the key {key}")
    return found


def _settle_if_ended(stores: Stores, found: Mapping[str, Any]) -> None:
    """Finish what a worker left that died between writing its run's end and its simulation's."""
    key = found["claim"]["run"]
    run = stores.runs.find_one({"key": key}, {"_id": False})
    if run is None:
        run = {
            "key": key,
            "state": str(State.LOST),
            "attempt": len(found["attempts"]),
            "energies_done": found["energies_done"],
            "failure": Failure(
                code=LOST_CODE, name="lost", message="the run's document is missing"
            ).model_dump(),
        }
    if run["state"] != State.RUNNING:
        settle(stores, found["key"], run)


def _death(run: Mapping[str, Any], oldest: datetime) -> str:
    """Why a running run counts as dead; empty if it does not."""
    document = RunDocument.from_mongo(run)
    if is_gone(document.owner):
        return f"process {document.owner.pid} on {document.owner.host} is gone"
    if document.heartbeat < oldest:
        return f"no heartbeat since {document.heartbeat:%Y-%m-%d %H:%M:%S} UTC"
    return ""


def _mark(stores: Stores, run: Mapping[str, Any], verdict: Verdict) -> bool:
    """Write the end of a run and of its simulation, unless the run showed life meanwhile."""
    try:
        ended = transition(
            stores.runs,
            run["key"],
            State.RUNNING,
            verdict.state,
            where={"heartbeat": run["heartbeat"]},
            fields={"finished": now(), "failure": verdict.failure.model_dump(mode="json")},
        )
    except StateError:
        return False
    if ended["simulation"] is not None:
        settle(stores, ended["simulation"], ended, next_action=verdict.next_action)
    return True


def _send_again(stores: Stores, found: Mapping[str, Any], max_attempts: int) -> None:
    """Make a lost simulation wait again, unless it was lost too often or somebody did it."""
    key = found["key"]
    if len(found["attempts"]) >= max_attempts:
        stores.simulations.update_one(
            {"key": key, "state": str(State.LOST)},
            {"$set": {"next_action": f"lost in attempt {max_attempts}; see its runs, then retry"}},
        )
        return
    try:
        retry(stores, key, reason="after a lost run")
    except StateError as error:
        log.info("%s: somebody else sent it again (%s)", short(key), error)
