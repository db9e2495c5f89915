"""Who cleans up after workers that died: runs, simulations, fireworks and reservations, together.

A worker writes down how it ends; one that was killed cannot.  The janitor finds what it left, asks
the queue for the true reason, and brings everything that belongs together to one state.  It is safe
beside live workers: it touches only what belongs to a process that is known to be gone (on this
host), to a job that the queue says is over, or to a run whose heartbeat it has itself seen standing
still.  Everything it does can be interrupted and done again, by several janitors at once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ebsdsg_flows.cluster import slurm
from ebsdsg_flows.cluster.endings import ASKED, LOST, REQUEUED
from ebsdsg_flows.cluster.launches import Worker, worker_of
from ebsdsg_flows.control import regulate_all
from ebsdsg_flows.engines.emsoft.failures import QUEUE_ENDED
from ebsdsg_flows.rerun import ready_again
from stores.documents import MemberDocument, RunDocument
from stores.janitor import STALE, Verdict, mark_lost
from stores.lease import Lease, take
from stores.owners import is_gone
from stores.states import ENDED_BADLY, State

if TYPE_CHECKING:
    from fireworks import LaunchPad

    from stores.collections import Stores

PING_EXPIRED_SECONDS = 4 * 60 * 60
"""Age of FireWorks' own sign of life above which the launch of an unknown process is lost."""

ASKED_CODES = (ASKED.code, QUEUE_ENDED.code)
LEASE = timedelta(minutes=5)
HEARTBEATS = 3
"""Heartbeats that a run must have missed under the janitor's eyes."""

log = logging.getLogger(__name__)


@dataclass
class Report:
    """What one round did.

    Parameters
    ----------
    runs : state and reason of each run that was ended.
    ready : fireworks that are ready again.
    failed : fireworks that failed with their simulation.
    reservations : reservations whose job is gone.
    suspects : what looked dead and is watched until the next round.
    queue : why the queue could not be asked, if it was needed.
    """

    runs: list[tuple[str, str]] = field(default_factory=list)
    ready: int = 0
    failed: int = 0
    reservations: int = 0
    suspects: int = 0
    queue: str = ""

    def __bool__(self) -> bool:
        """Whether there was anything to do or to say."""
        return bool(self.runs or self.ready or self.failed or self.reservations or self.queue)

    def __str__(self) -> str:
        text = (
            f"{len(self.runs)} runs ended, {self.ready} jobs ready again, {self.failed} failed, "
            f"{self.reservations} reservations taken back"
        )
        if self.suspects:
            text += f"; {self.suspects} watched"
        if self.queue:
            text += f"; {self.queue}"
        return "\n".join([text, *(f"  {state}: {reason}" for state, reason in self.runs)])


class Janitor:
    """Cleans up in rounds and remembers between them what looked dead.

    Parameters
    ----------
    stores : open database.
    launchpad : on the same database.
    stale : age of a heartbeat from which a run is suspected.
    watch : seconds for which a suspect's heartbeat must stand still under the janitor's eyes;
        default: three heartbeats of the settings.
    """

    def __init__(
        self,
        stores: Stores,
        launchpad: LaunchPad,
        *,
        stale: timedelta = STALE,
        watch: float | None = None,
    ) -> None:
        from ebsdsg_flows.settings import get_settings

        self.stores = stores
        self.launchpad = launchpad
        self.stale = stale
        self.watch = HEARTBEATS * get_settings().heartbeat if watch is None else watch
        self._seen: dict[object, tuple[object, float]] = {}
        self._looked: set[object] = set()
        self._jobs: dict[str, slurm.Job] = {}

    def round(self) -> Report:
        """Look at everything once.

        Returns
        -------
        What was done.  With ``suspects`` in it, another round after ``watch`` seconds decides.
        """
        report = Report()
        self._looked = set()
        runs = list(self.stores.runs.find({"state": str(State.RUNNING)}, {"_id": 0}))
        launches = self._launches()
        self._jobs = self._ask_queue(runs, launches, report)

        def judge(run: RunDocument, reason: str) -> Verdict | None:
            verdict = self._judge(run, reason)
            if verdict is not None:
                ended.append((run.key, verdict))
            return verdict

        ended: list[tuple[str, Verdict]] = []
        done = set(mark_lost(self.stores, self.stale, judge=judge))
        report.runs = [(str(v.state), v.failure.message) for key, v in ended if key in done]
        with take(self.stores, "janitor", LEASE) as lease:
            if lease is not None:
                for launch in launches:
                    self._settle_launch(launch, report)
                    lease.renew()
                self._settle_expired(report)
                self._settle_inconsistent(report, lease)
                report.ready += self._make_ready(lease)
                regulate_all(self.stores)  # a worker may have died before it made room for another
        report.suspects = len(self._looked)
        self._seen = {key: value for key, value in self._seen.items() if key in self._looked}
        return report

    def once(self) -> Report:
        """One round, and, if something looked dead, a second one after a while that decides."""
        first = self.round()
        if not first.suspects:
            return first
        time.sleep(self.watch)
        second = self.round()
        return Report(
            runs=first.runs + second.runs,
            ready=first.ready + second.ready,
            failed=first.failed + second.failed,
            reservations=first.reservations + second.reservations,
            suspects=second.suspects,
            queue=second.queue,
        )

    # -- what is dead ------------------------------------------------------------------------

    def _launches(self) -> list[dict[str, Any]]:
        """Launches that say they are running or wait in the queue."""
        return list(
            self.launchpad.launches.find(
                {"state": {"$in": ["RUNNING", "RESERVED"]}},
                {
                    "_id": 0,
                    **dict.fromkeys(
                        (
                            *("launch_id", "fw_id", "state", "launch_dir", "host"),
                            *("state_history", "time_start", "fworker.env"),
                        ),
                        1,
                    ),
                },
            )
        )

    def _ask_queue(
        self,
        runs: Iterable[Mapping[str, Any]],
        launches: Iterable[Mapping[str, Any]],
        report: Report,
    ) -> dict[str, slurm.Job]:
        """The queue's jobs that anything here belongs to."""
        numbers = {run.get("queue_id") for run in runs}
        for launch in launches:
            worker = worker_of(launch)
            numbers.add(worker.queue_id if worker else _reservation(launch))
        wanted = [number for number in numbers if number]
        if not wanted or not slurm.installed():
            return {}
        try:
            return slurm.ask(wanted)
        except slurm.QueueUnavailable as error:
            # heartbeats and processes still tell who is dead, only not why
            report.queue = f"the queue was not asked: {error}"
            return {}

    def _judge(self, run: RunDocument, reason: str) -> Verdict | None:
        """How a run ended that says it is running; ``None`` if it may live."""
        job = self._job(run.queue_id, run.owner.host, run.started.timestamp())
        by_queue = _verdict_of_job(job, run)
        if is_gone(run.owner):
            if job is not None and job.state == "COMPLETING":
                return None  # the queue tells in a moment how it ended
            return by_queue or Verdict(LOST.state, LOST.failure(reason))
        if by_queue is not None and (
            job is None or job.over or self._stands_still(("run", run.key), run.heartbeat)
        ):
            return by_queue
        if not reason or not self._stands_still(("run", run.key), run.heartbeat):
            return None
        if job is not None and not job.over:
            reason += f", though job {job.number} is {job.state.lower()}"
        return Verdict(LOST.state, LOST.failure(reason))

    def _job(self, number: str | None, host: str, since: float) -> slurm.Job | None:
        """The job that ran a process; ``None`` if the queue does not know it.

        Other clusters have jobs of the same number: it must have run on that host at that time.
        """
        job = self._jobs.get(number or "")
        if job is None:
            return None
        if job.state == "PENDING":  # requeued: its nodes are not told any more
            return job
        if host.split(".")[0] not in job.nodes:
            return None
        if job.over and job.ends is not None and job.ends < since - 1:
            return None
        return job

    def _stands_still(self, key: object, sign: object) -> bool:
        """Whether a sign of life has not changed for long enough while the janitor looked."""
        first = self._seen.get(key)
        if first is None or first[0] != sign:
            self._seen[key] = (sign, time.monotonic())
            self._looked.add(key)
            return False
        if time.monotonic() - first[1] < self.watch:
            self._looked.add(key)
            return False
        return True

    # -- fireworks ---------------------------------------------------------------------------

    def _settle_launch(self, launch: Mapping[str, Any], report: Report) -> None:
        """End a launch whose process or job is gone."""
        if launch["state"] == "RESERVED":
            job = self._job_of_reservation(launch)
            if job is not None and job.over:
                report.reservations += 1
                self._end_reservation(launch, job)
            return
        worker = worker_of(launch)
        reason = "" if worker is None else self._death(worker, launch)
        if reason:
            report.failed += self._fizzle(launch, reason)

    def _job_of_reservation(self, launch: Mapping[str, Any]) -> slurm.Job | None:
        """The queue's job for which a firework is reserved; ``None`` if that is not known."""
        number = _reservation(launch)
        job = None if number is None else self._jobs.get(number)
        if job is None or job.folder is None or job.folder != Path(launch["launch_dir"]):
            return None  # qlaunch is just submitting it, or it is another cluster's
        return job

    def _end_reservation(self, launch: Mapping[str, Any], job: slurm.Job) -> None:
        """Make a firework ready again whose job will never run it.

        One whose job failed by itself is not: the next job would fail in the same way.
        """
        if job.state != "FAILED":
            self.launchpad.cancel_reservation(launch["launch_id"])
            return
        reason = (
            f"job {job.number} failed before it began the firework; see its output in "
            f"{launch['launch_dir']}, then: lpad rerun_fws -i {launch['fw_id']}"
        )
        self._complete(launch, reason, {"simulation": None})

    def _death(self, worker: Worker, launch: Mapping[str, Any]) -> str:
        """Why the process of a launch is gone; empty if it may live."""
        if is_gone(worker.owner):
            return f"process {worker.owner.pid} on {worker.owner.host} is gone"
        since = _seconds(launch.get("time_start"))
        job = self._job(worker.queue_id, worker.owner.host, since)
        if job is None:
            return ""
        if job.over:
            return f"job {job.number} is over ({job.state.lower()})"
        # of a pending job no nodes are told: that it is ours is known by its folder
        ours = job.folder is not None and Path(launch["launch_dir"]).is_relative_to(job.folder)
        if ours and _began_again(job, since):
            return f"job {job.number} was taken off its node and queued again"
        return ""

    def _fizzle(self, launch: Mapping[str, Any], reason: str) -> int:
        """End a launch; 1 if its simulation has ended badly and its firework stays so."""
        fw_id = launch["fw_id"]
        key = self._simulation_of(fw_id)
        worker = worker_of(launch)
        stays = self._state_of(key) in ENDED_BADLY
        if worker is not None and worker.queue_id is None and self._was_asked(key):
            stays = False  # a person stopped `ebsdsg run`; called again, it goes on from here
        # a worker killed inside an update of its workflow leaves the lock behind
        self.launchpad.workflows.update_many({"nodes": fw_id}, {"$unset": {"locked": True}})
        self._complete(launch, reason, {"simulation": key if stays else None, "lost": reason})
        if stays:
            self._tell_campaign(fw_id)
        return int(stays)

    def _complete(self, launch: Mapping[str, Any], reason: str, details: dict[str, Any]) -> None:
        """End a launch as failed; the reason stands where FireWorks keeps exceptions."""
        from fireworks import FWAction

        trace = f"ended by the janitor: {reason}"
        stored = {"_message": reason, "_exception": {"_stacktrace": trace, "_details": details}}
        action = FWAction(stored_data=stored, exit=True)
        self.launchpad.complete_launch(launch["launch_id"], action, "FIZZLED")

    def _simulation_of(self, fw_id: int) -> str | None:
        """Key of the simulation that was last computed in a firework."""
        run = self.stores.runs.find_one({"fw_id": fw_id}, {"simulation": 1}, sort=[("started", -1)])
        return None if run is None else run["simulation"]

    def _state_of(self, simulation: str | None) -> State | None:
        found = self.stores.simulations.find_one({"key": simulation}, {"state": 1})
        return None if found is None else State(found["state"])

    def _was_asked(self, simulation: str | None) -> bool:
        """Whether the last attempt ended because its worker was asked to end."""
        found = self.stores.simulations.find_one(
            {"key": simulation, "state": str(State.TIMED_OUT)}, {"attempts.failure_code": 1}
        )
        return found is not None and found["attempts"][-1]["failure_code"] in ASKED_CODES

    def _tell_campaign(self, fw_id: int) -> None:
        """A member that ended badly is settled: the learning need not wait for it."""
        from ebsdsg_flows.advance import settle

        workflow = self.launchpad.workflows.find_one({"nodes": fw_id}, {"metadata": 1})
        metadata = (workflow or {}).get("metadata", {})
        if "member" in metadata:
            settle(self.stores, MemberDocument.key_of(metadata["campaign"], metadata["member"]))

    def _settle_expired(self, report: Report) -> None:
        """Launches of processes that nobody knows: FireWorks' own sign of life is all there is."""
        expired, _, _ = self.launchpad.detect_lostruns(expiration_secs=PING_EXPIRED_SECONDS)
        for launch_id in expired:
            launch = self.launchpad.launches.find_one({"launch_id": launch_id})
            if launch is not None and worker_of(launch) is None:
                report.failed += self._fizzle(launch, "no sign of life for hours")

    def _settle_inconsistent(self, report: Report, lease: Lease) -> None:
        """Fireworks whose worker died between two of FireWorks' own writes.

        They say that they run, but none of their launches does.
        """
        for firework in list(
            self.launchpad.fireworks.find(
                {"state": {"$in": ["RUNNING", "RESERVED"]}},
                {"fw_id": 1, "launches": 1, "updated_on": 1},
            )
        ):
            states = [
                launch["state"]
                for launch in self.launchpad.launches.find(
                    {"launch_id": {"$in": firework["launches"]}}, {"state": 1}
                )
            ]
            if {"RUNNING", "RESERVED"} & set(states):
                continue
            fw_id = firework["fw_id"]
            if not self._stands_still(("firework", fw_id), str(firework.get("updated_on"))):
                continue
            lease.renew()
            self.launchpad.workflows.update_many({"nodes": fw_id}, {"$unset": {"locked": True}})
            if "COMPLETED" in states:
                self.launchpad._refresh_wf(fw_id)  # as `lpad detect_lostruns --refresh` does
            else:
                self.launchpad.rerun_fw(fw_id)
                report.ready += 1

    def _make_ready(self, lease: Lease) -> int:
        """Make the fireworks ready that failed only because their worker was gone."""
        lost = "action.stored_data._exception._details.lost"
        count = ready_again(self.stores, self.launchpad)
        for launch in list(
            self.launchpad.launches.find({"state": "FIZZLED", lost: {"$exists": True}})
        ):
            fw_id = launch["fw_id"]
            firework = self.launchpad.fireworks.find_one(
                {"fw_id": fw_id, "state": "FIZZLED"}, {"launches": 1}
            )
            if firework is None or firework["launches"][-1:] != [launch["launch_id"]]:
                continue
            details = launch["action"]["stored_data"]["_exception"]["_details"]
            if self._state_of(details["simulation"]) in ENDED_BADLY:
                continue
            lease.renew()
            self.launchpad.rerun_fw(fw_id)
            count += 1
        return count


def serve(
    janitor: Janitor, interval: float, tell: Callable[[Report], None], rounds: int | None = None
) -> None:
    """Clean up in rounds until this process is asked to end.

    Parameters
    ----------
    janitor : that cleans up.
    interval : seconds between two rounds.
    tell : called with the report of each round.
    rounds : end after so many; ``None`` goes on for ever.

    Notes
    -----
    A database that cannot be reached for a while is waited for.
    """
    from pymongo.errors import PyMongoError

    from ebsdsg_flows.leaving import asked_to_leave, noticing_sigterm

    done = 0
    with noticing_sigterm():
        while not asked_to_leave() and (rounds is None or done < rounds):
            begun = time.monotonic()
            try:
                tell(janitor.round())
            except PyMongoError as error:
                from stores.redact import redact

                log.warning("the database cannot be used at present: %s", redact(error))
            done += 1
            while time.monotonic() - begun < interval and not asked_to_leave():
                time.sleep(min(0.5, interval))


def _verdict_of_job(job: slurm.Job | None, run: RunDocument) -> Verdict | None:
    """What the queue says about the end of a run; ``None`` if its processes may live."""
    if job is None:
        return None
    ending = job.ending
    if _began_again(job, run.started.timestamp()):
        ending = REQUEUED
    elif not job.over:
        return None
    if ending is None:
        text = f"its worker died, and job {job.number} is over ({job.state.lower()})"
        return Verdict(LOST.state, LOST.failure(text))
    return Verdict(ending.state, ending.failure(f"job {job.number}"), ending.next_action)


def _began_again(job: slurm.Job, since: float) -> bool:
    """Whether a job was queued again after a moment [s since 1970]."""
    if job.state == "PENDING":
        return True
    return job.state == "RUNNING" and job.started is not None and job.started > since + 1


def _reservation(launch: Mapping[str, Any]) -> str | None:
    """Id of the queue's job of a reservation."""
    numbers = [entry.get("reservation_id") for entry in launch.get("state_history", [])]
    return next((str(number) for number in reversed(numbers) if number), None)


def _seconds(moment: Any) -> float:
    """A time as FireWorks stores it (UTC, as text or datetime) in seconds since 1970."""
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    if not isinstance(moment, datetime):
        return 0.0
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
