"""What Slurm knows about jobs: from its controller, and for older ones from its accounting.

One call answers for all jobs at once.  Each command has a time limit, because a controller that is
down lets its commands wait for minutes.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ebsdsg_flows.cluster.endings import (
    CANCELLED,
    NODE_FAILED,
    OUT_OF_MEMORY,
    PREEMPTED,
    REQUEUED,
    WALL_TIME,
    Ending,
)

TIMEOUT = 10.0
BATCH = 500
WARNING = 120.0
"""Seconds before the end of a job within which SIGTERM counts as the announcement of it."""

ENDINGS: dict[str, Ending] = {
    "TIMEOUT": WALL_TIME,
    "DEADLINE": WALL_TIME,
    "CANCELLED": CANCELLED,
    "NODE_FAIL": NODE_FAILED,
    "BOOT_FAIL": NODE_FAILED,
    "PREEMPTED": PREEMPTED,
    "OUT_OF_MEMORY": OUT_OF_MEMORY,
}
"""States of a job that ended, and what they mean for what ran in it."""

OVER = frozenset({*ENDINGS, "COMPLETED", "FAILED", "REVOKED"})
"""States of a job none of whose processes is left."""


class QueueUnavailable(RuntimeError):
    """Slurm is not installed here, or its controller does not answer."""


@dataclass(frozen=True)
class Job:
    """One job.

    Parameters
    ----------
    number : its id.
    state : as Slurm calls it.
    nodes : short names of the nodes that it has or had.
    started, ends : when it started (the last time) and ends or ended [s since 1970].
    limit : its time limit [s].
    folder : directory from which it was submitted.
    """

    number: str
    state: str
    nodes: frozenset[str] = frozenset()
    started: float | None = None
    ends: float | None = None
    limit: float | None = None
    folder: Path | None = None

    @property
    def over(self) -> bool:
        """Whether none of its processes is left."""
        return self.state in OVER

    @property
    def ending(self) -> Ending | None:
        """What ended it, if the queue or a person did."""
        return ENDINGS.get(self.state)

    def used_up(self, at: float | None) -> bool:
        """Whether its time is over at a moment [s since 1970]; ``False`` if that is not known."""
        if at is None or self.started is None or self.limit is None:
            return False
        return at >= self.started + self.limit


def installed() -> bool:
    """Whether Slurm's commands are on PATH."""
    return shutil.which("squeue") is not None


def ask(numbers: Iterable[str], timeout: float = TIMEOUT) -> dict[str, Job]:
    """What Slurm knows about some jobs.

    Parameters
    ----------
    numbers : ids of the jobs; what is no id of Slurm's is left out.
    timeout : seconds for each of Slurm's commands.

    Returns
    -------
    Job by id.  One that is not in it is unknown, which says nothing about its processes: the
    controller forgets ended jobs after some minutes, and another cluster never knew them.

    Raises
    ------
    QueueUnavailable
        If Slurm is not installed or does not answer.
    """
    wanted = sorted({number for number in numbers if number.isdigit()}, key=int)
    found: dict[str, Job] = {}
    for first in range(0, len(wanted), BATCH):
        found |= _squeue(wanted[first : first + BATCH], timeout)
    missing = [number for number in wanted if number not in found]
    if missing and shutil.which("sacct") is not None:
        for first in range(0, len(missing), BATCH):
            found |= _sacct(missing[first : first + BATCH], timeout)
    return found


def cause(number: str, timeout: float = 3.0) -> Ending | None:
    """What is ending a job whose processes were just asked to end.

    Parameters
    ----------
    number : id of the job.
    timeout : seconds for each of Slurm's commands; the queue kills some 30 s after it asked.

    Returns
    -------
    ``None`` if the queue does not know, for example because somebody else sent the signal.

    Raises
    ------
    QueueUnavailable
        If Slurm is not installed or does not answer.
    """
    job = ask([number], timeout).get(number)
    if job is None or job.ending is not None:
        return None if job is None else job.ending
    if job.state == "PENDING":
        return REQUEUED
    if job.state == "COMPLETING":
        # what comes after that is known to the accounting only
        told = _sacct([number], timeout).get(number)
        if told is not None and told.ending is not None:
            return told.ending
        return WALL_TIME if job.used_up(job.ends) else CANCELLED
    # `--signal=TERM@seconds` of a batch script: a warning before the end
    margin = min(WARNING, 0.2 * (job.limit or 0.0))
    return WALL_TIME if job.used_up(time.time() + margin) else None


def _squeue(numbers: Sequence[str], timeout: float) -> dict[str, Job]:
    shown = _run(
        [
            "squeue",
            "--noheader",
            "--states=all",
            f"--jobs={','.join(numbers)}",
            "--format=%i|%T|%N|%S|%e|%l|%Z",
        ],
        timeout,
        ignore="Invalid job id",
    )
    return _jobs(shown, numbers)


def _sacct(numbers: Sequence[str], timeout: float) -> dict[str, Job]:
    """The same from the accounting, of clusters that have one."""
    command = ["sacct", "-X", "-P", "-n", "-j", ",".join(numbers)]
    try:
        shown = _run(
            [*command, "-o", "JobIDRaw,State,NodeList,Start,End,Timelimit,WorkDir"], timeout
        )
    except QueueUnavailable:
        return {}
    return _jobs(shown, numbers)


def _jobs(shown: str, numbers: Sequence[str]) -> dict[str, Job]:
    found = {}
    for line in shown.splitlines():
        fields = line.split("|", 6)
        if len(fields) == 7 and fields[0] in numbers:
            number, state, nodes, started, ends, limit, folder = fields
            found[number] = Job(
                number,
                state.split()[0],  # "CANCELLED by 1000"
                frozenset(node_names(nodes)),
                _time(started),
                _time(ends),
                _duration(limit),
                Path(folder) if folder else None,
            )
    return found


def _time(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\d+", text.strip()) else None


def _duration(text: str) -> float | None:
    """Seconds of ``days-hours:minutes:seconds``, of which the first two may be missing."""
    found = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", text.strip())
    if found is None:
        return None  # UNLIMITED, INVALID
    days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def node_names(listed: str) -> list[str]:
    """Short names of the nodes of a list as Slurm writes it.

    Examples
    --------
    >>> node_names("n[08-10,12],gpu1")
    ['n08', 'n09', 'n10', 'n12', 'gpu1']
    """
    names: list[str] = []
    for part in re.findall(r"[^,\[]+(?:\[[^\]]*\][^,\[]*)?", listed.strip()):
        found = re.fullmatch(r"(.*?)\[(.*)\](.*)", part)
        if found is None:
            names.append(part)
            continue
        before, inside, after = found.groups()
        for item in inside.split(","):
            low, _, high = item.partition("-")
            numbers = range(int(low), int(high or low) + 1)
            names += [f"{before}{number:0{len(low)}d}{after}" for number in numbers]
    return [name.split(".")[0] for name in names if name not in ("None assigned", "(null)")]


def _run(command: Sequence[str], timeout: float, ignore: str = "never printed") -> str:
    """Output of one of Slurm's commands; times are in seconds since 1970.

    Raises
    ------
    QueueUnavailable
        If it is not there, fails or does not answer.
    """
    environment = {**os.environ, "SLURM_TIME_FORMAT": "%s"}
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError:
        raise QueueUnavailable(f"{command[0]} is not on PATH") from None
    except subprocess.TimeoutExpired:
        raise QueueUnavailable(f"{command[0]} did not answer within {timeout:g} s") from None
    if done.returncode != 0 and ignore not in done.stderr:
        reason = " ".join((done.stderr or done.stdout).split())[:300]
        raise QueueUnavailable(f"{command[0]} failed: {reason}")
    return done.stdout
