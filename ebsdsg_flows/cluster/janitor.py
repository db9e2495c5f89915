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
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ebsdsg_flows.cluster.deaths import HEARTBEATS, Deaths
from ebsdsg_flows.cluster.launch_ends import LaunchEnds
from ebsdsg_flows.cluster.launches import worker_of
from ebsdsg_flows.control import regulate_all
from ebsdsg_flows.learning_promise import keep_promises
from ebsdsg_flows.rerun import ready_again
from stores.documents import RunDocument
from stores.janitor import STALE, Verdict, mark_lost
from stores.lease import Lease, take
from stores.states import ENDED_BADLY, State

if TYPE_CHECKING:
    from fireworks import LaunchPad

    from stores.collections import Stores

PING_EXPIRED_SECONDS = 4 * 60 * 60
"""Age of FireWorks' own sign of life above which the launch of an unknown process is lost."""

LEASE = timedelta(minutes=5)

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
    learning : campaigns whose learning was added in the place of a worker that failed or died.
    suspects : what looked dead and is watched until the next round.
    queue : why the queue could not be asked, if it was needed.
    """

    runs: list[tuple[str, str]] = field(default_factory=list)
    ready: int = 0
    failed: int = 0
    reservations: int = 0
    learning: list[str] = field(default_factory=list)
    suspects: int = 0
    queue: str = ""

    def __bool__(self) -> bool:
        """Whether there was anything to do or to say."""
        done = self.runs or self.ready or self.failed or self.reservations or self.learning
        return bool(done or self.queue)

    def __str__(self) -> str:
        text = (
            f"{len(self.runs)} runs ended, {self.ready} jobs ready again, {self.failed} failed, "
            f"{self.reservations} reservations taken back"
        )
        if self.learning:
            text += f"; learning added to {', '.join(self.learning)}"
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
        self._deaths = Deaths(self.watch)
        self._ends = LaunchEnds(stores, launchpad)

    def round(self) -> Report:
        """Look at everything once.

        Returns
        -------
        What was done.  With ``suspects`` in it, another round after ``watch`` seconds decides.
        """
        report = Report()
        runs = list(self.stores.runs.find({"state": str(State.RUNNING)}, {"_id": 0}))
        launches = self._launches()
        report.queue = self._deaths.begin(runs, launches)

        def judge(run: RunDocument, reason: str) -> Verdict | None:
            verdict = self._deaths.run(run, reason)
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
                report.learning = keep_promises(self.stores)
                regulate_all(self.stores)  # a worker may have died before it made room for another
        report.suspects = self._deaths.end()
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
            learning=first.learning + second.learning,
            suspects=second.suspects,
            queue=second.queue,
        )

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

    def _settle_launch(self, launch: Mapping[str, Any], report: Report) -> None:
        """End a launch whose process or job is gone."""
        if launch["state"] == "RESERVED":
            job = self._deaths.reservation(launch)
            if job is not None and job.over:
                report.reservations += self._ends.reservation(launch, job)
            return
        worker = worker_of(launch)
        reason = "" if worker is None else self._deaths.process(worker, launch)
        if reason:
            report.failed += self._ends.fizzle(launch, reason)

    def _settle_expired(self, report: Report) -> None:
        """Launches of processes that nobody knows: FireWorks' own sign of life is all there is."""
        expired, _, _ = self.launchpad.detect_lostruns(expiration_secs=PING_EXPIRED_SECONDS)
        for launch_id in expired:
            launch = self.launchpad.launches.find_one({"launch_id": launch_id})
            if launch is not None and worker_of(launch) is None:
                report.failed += self._ends.fizzle(launch, "no sign of life for hours")

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
            if not self._deaths.stands_still(("firework", fw_id), str(firework.get("updated_on"))):
                continue
            lease.renew()
            self._ends.break_lock(fw_id)
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
            if self._ends.state_of(details["simulation"]) in ENDED_BADLY:
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

                reason = redact(error, janitor.stores.secret_uri())
                log.warning("the database cannot be used at present: %s", reason)
            done += 1
            while time.monotonic() - begun < interval and not asked_to_leave():
                time.sleep(min(0.5, interval))
