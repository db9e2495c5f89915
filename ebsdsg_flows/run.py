"""``ebsdsg run``: a few workers on this machine, watched until nothing is left to do.

What a killed worker left half done is found first and put back into the queue; a worker that dies
while we watch is replaced.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, TYPE_CHECKING

from ebsdsg_flows.settings import Settings, get_settings

if TYPE_CHECKING:
    from fireworks import LaunchPad

    from stores.collections import Stores

LOOK_EVERY = 1.0
RECOVER_EVERY = 10.0
MAX_DEATHS = 5


class TooFewWorkers(ValueError):
    """A number of workers that would never do anything."""


class WorkersDied(RuntimeError):
    """Workers die again and again; the message names their logs."""


@dataclass(frozen=True)
class RunSummary:
    """How a call of ``ebsdsg run`` ended.

    Parameters
    ----------
    completed : fireworks completed meanwhile.
    failed : fireworks that failed (their state is FIZZLED) and are still so.
    recovered : fireworks put back because their worker was gone.
    seconds : wall time.
    """

    completed: int
    failed: int
    recovered: int
    seconds: float

    def __str__(self) -> str:
        text = f"{self.completed} jobs done in {self.seconds:.0f} s"
        if self.recovered:
            text += f", {self.recovered} taken over from workers that had died"
        if self.failed:
            text += f", {self.failed} failed (see: ebsdsg status)"
        return text


def run_until_idle(
    stores: Stores, *, workers: int | None = None, quiet: bool = False
) -> RunSummary:
    """Start workers, show progress, and end when nothing can run any more.

    Parameters
    ----------
    stores : open database.
    workers : number of processes; default from the settings.
    quiet : no progress bars.

    Returns
    -------
    What was done.

    Raises
    ------
    TooFewWorkers
        If there shall be fewer than one.
    WorkersDied
        If workers die more than a few times.
    """
    if workers is not None and workers < 1:
        raise TooFewWorkers(f"workers = {workers}: there must be at least 1")
    from ebsdsg_flows.cluster.janitor import Janitor
    from ebsdsg_flows.learning_promise import is_promised
    from ebsdsg_flows.progress import ProgressDisplay

    settings = get_settings()
    at_most = settings.workers if workers is None else workers
    launchpad = stores.launchpad(strm_lvl="ERROR")
    begun = time.monotonic()
    done_before = launchpad.fireworks.count_documents({"state": "COMPLETED"})
    janitor = Janitor(stores, launchpad)
    recovered = janitor.round().ready
    n_workers = min(at_most, max(1, _open_fireworks(launchpad)))
    crew: list[subprocess.Popen[bytes]] = []
    deaths = 0
    recovered_at = time.monotonic()
    try:
        with sigterm_as_interrupt(), ProgressDisplay(stores, quiet=quiet) as display:
            while _work_left(launchpad) or is_promised(stores):
                for member in [m for m in crew if m.poll() is not None]:
                    crew.remove(member)
                    deaths += 1
                    recovered += janitor.round().ready
                    if deaths > MAX_DEATHS:
                        raise WorkersDied(
                            f"{deaths} workers died, the last with exit code {member.returncode}; "
                            f"their logs are in {settings.root / 'logs'}"
                        )
                while len(crew) < n_workers:
                    crew.append(_start_worker(settings, len(crew)))
                if time.monotonic() - recovered_at > RECOVER_EVERY:
                    recovered += janitor.round().ready
                    recovered_at = time.monotonic()
                    n_workers = max(n_workers, min(at_most, _open_fireworks(launchpad)))
                display.update()
                time.sleep(LOOK_EVERY)
            display.update()
    finally:
        _dismiss(crew)
    return RunSummary(
        completed=launchpad.fireworks.count_documents({"state": "COMPLETED"}) - done_before,
        failed=launchpad.fireworks.count_documents({"state": "FIZZLED"}),
        recovered=recovered,
        seconds=time.monotonic() - begun,
    )


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Let SIGTERM raise ``KeyboardInterrupt`` in the main thread, so that workers are ended too."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _open_fireworks(launchpad: LaunchPad) -> int:
    return launchpad.fireworks.count_documents({"state": {"$in": ["READY", "RUNNING", "RESERVED"]}})


def _work_left(launchpad: LaunchPad) -> bool:
    """Whether anything is ready or running; what waits for a failed parent cannot run."""
    return _open_fireworks(launchpad) > 0


def _start_worker(settings: Settings, number: int) -> subprocess.Popen[bytes]:
    logs = settings.root / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "EBSDSG_ROOT": str(settings.root),
        "EBSDSG_DATABASE": settings.database,
        "OMP_NUM_THREADS": str(settings.threads),
        "PYTHONUNBUFFERED": "1",
    }
    # the workers read the rest of the database's settings where this process read them
    if settings.mongo_uri is not None:
        environment["EBSDSG_MONGO_URI"] = settings.mongo_uri
    log: IO[bytes]
    with Path(logs / f"worker-{number}.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "ebsdsg_flows.worker"],
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )


def _dismiss(crew: list[subprocess.Popen[bytes]]) -> None:
    """End the workers and what they started; a worker that does not listen is killed."""
    for member in crew:
        with suppress(ProcessLookupError):
            os.killpg(member.pid, signal.SIGTERM)
    patience = time.monotonic() + 10
    for member in crew:
        try:
            member.wait(timeout=max(0.1, patience - time.monotonic()))
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(member.pid, signal.SIGKILL)
            member.wait()
