"""Who is dead: by its process, by the queue, or by a sign of life that stands still."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ebsdsg_flows.cluster import slurm
from ebsdsg_flows.cluster.endings import LOST, REQUEUED
from ebsdsg_flows.cluster.launches import Worker, worker_of
from stores.documents import RunDocument
from stores.janitor import Verdict
from stores.owners import is_gone

HEARTBEATS = 3
"""Heartbeats that a run must have missed under the eyes of who takes it for dead."""


class Deaths:
    """Tells who is dead, and remembers from round to round what looked dead.

    Parameters
    ----------
    watch : seconds for which a sign of life must stand still under these eyes.

    Attributes
    ----------
    jobs : the queue's jobs by number, as far as the queue was asked in this round.
    """

    def __init__(self, watch: float) -> None:
        self.watch = watch
        self.jobs: dict[str, slurm.Job] = {}
        self._seen: dict[object, tuple[object, float]] = {}
        self._looked: set[object] = set()

    def begin(
        self, runs: Iterable[Mapping[str, Any]], launches: Iterable[Mapping[str, Any]]
    ) -> str:
        """Begin a round: ask the queue for the jobs that anything belongs to.

        Parameters
        ----------
        runs : documents of runs.
        launches : documents of FireWorks' launches.

        Returns
        -------
        Why the queue could not be asked, if it was needed; else empty.
        """
        self._looked = set()
        self.jobs = {}
        numbers = {run.get("queue_id") for run in runs}
        for launch in launches:
            worker = worker_of(launch)
            numbers.add(worker.queue_id if worker else _reservation(launch))
        wanted = [number for number in numbers if number]
        if not wanted or not slurm.installed():
            return ""
        try:
            self.jobs = slurm.ask(wanted)
        except slurm.QueueUnavailable as error:
            # heartbeats and processes still tell who is dead, only not why
            return f"the queue was not asked: {error}"
        return ""

    def end(self) -> int:
        """End a round; how many look dead and are watched until the next one."""
        self._seen = {key: value for key, value in self._seen.items() if key in self._looked}
        return len(self._looked)

    def run(self, run: RunDocument, reason: str) -> Verdict | None:
        """How a run ended that says it is running; ``None`` if it may live."""
        job = self._job(run.queue_id, run.owner.host, run.started.timestamp())
        by_queue = _verdict_of_job(job, run)
        if is_gone(run.owner):
            if job is not None and job.state == "COMPLETING":
                return None  # the queue tells in a moment how it ended
            return by_queue or Verdict(LOST.state, LOST.failure(reason))
        if by_queue is not None and (
            job is None or job.over or self.stands_still(("run", run.key), run.heartbeat)
        ):
            return by_queue
        if not reason or not self.stands_still(("run", run.key), run.heartbeat):
            return None
        if job is not None and not job.over:
            reason += f", though job {job.number} is {job.state.lower()}"
        return Verdict(LOST.state, LOST.failure(reason))

    def process(self, worker: Worker, launch: Mapping[str, Any]) -> str:
        """Why the process of a launch is gone; empty if it may live."""
        if is_gone(worker.owner):
            return f"process {worker.owner.pid} on {worker.owner.host} is gone"
        since = epoch_seconds(launch.get("time_start"))
        job = self._job(worker.queue_id, worker.owner.host, since)
        if job is None:
            return ""
        if job.over:
            over = f"job {job.number} is over ({job.state.lower()})"
            return over if self._unended(job, launch) else ""
        # of a pending job no nodes are told: that it is ours is known by its folder
        ours = job.folder is not None and Path(launch["launch_dir"]).is_relative_to(job.folder)
        if ours and _began_again(job, since):
            return f"job {job.number} was taken off its node and queued again"
        return ""

    def reservation(self, launch: Mapping[str, Any]) -> slurm.Job | None:
        """The queue's job for which a firework is reserved; ``None`` if that is not known."""
        number = _reservation(launch)
        job = None if number is None else self.jobs.get(number)
        if job is None or job.folder is None or job.folder != Path(launch["launch_dir"]):
            return None  # qlaunch is just submitting it, or it is another cluster's
        return job if self._unended(job, launch) else None

    def _unended(self, job: slurm.Job, launch: Mapping[str, Any]) -> bool:
        """Whether a job has left a launch behind; one that ended well is given time to end it."""
        if job.state != "COMPLETED":
            return True
        return self.stands_still(("launch", launch["launch_id"]), launch["state_history"])

    def stands_still(self, key: object, sign: object) -> bool:
        """Whether a sign of life has not changed for long enough while one looked.

        Parameters
        ----------
        key : whose sign it is.
        sign : what changes while it lives.
        """
        first = self._seen.get(key)
        if first is None or first[0] != sign:
            self._seen[key] = (sign, time.monotonic())
            self._looked.add(key)
            return False
        if time.monotonic() - first[1] < self.watch:
            self._looked.add(key)
            return False
        return True

    def _job(self, number: str | None, host: str, since: float) -> slurm.Job | None:
        """The job that ran a process; ``None`` if the queue does not know it.

        Other clusters have jobs of the same number: it must have run on that host at that time.
        """
        job = self.jobs.get(number or "")
        if job is None:
            return None
        if job.state == "PENDING":  # requeued: its nodes are not told any more
            return job
        if host.split(".")[0] not in job.nodes:
            return None
        if job.over and job.ends is not None and job.ends < since - 1:
            return None
        return job


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


def epoch_seconds(moment: Any) -> float:
    """A time as FireWorks stores it (UTC, as text or datetime) in seconds since 1970."""
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    if not isinstance(moment, datetime):
        return 0.0
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
