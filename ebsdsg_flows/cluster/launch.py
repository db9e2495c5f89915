"""``ebsdsg rlaunch``: FireWorks' rlaunch for the jobs of a queue.

It takes launchpad and database from this package's settings instead of from files, tells FireWorks
which process and which job it is, and takes no new firework when the queue is about to end the job
or has asked it to end.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ebsdsg_flows.cluster.job import seconds_left
from ebsdsg_flows.cluster.launches import make_fworker
from ebsdsg_flows.leaving import asked_to_leave, noticing_sigterm

if TYPE_CHECKING:
    from fireworks import FWorker, LaunchPad

LOOK_EVERY = 1.0
IDLE_SECONDS = 30.0
LEAST_SECONDS = 120.0


def singleshot(fw_id: int | None = None, fworker_file: Path | None = None) -> bool:
    """Run one firework in the current directory.

    Parameters
    ----------
    fw_id : which; ``None`` takes the next that is ready.
    fworker_file : category and query; default: ``my_fworker.yaml`` beside the data root.

    Returns
    -------
    Whether there was one.
    """
    with noticing_sigterm():
        from fireworks.core.rocket_launcher import launch_rocket

        launchpad, fworker, level = _open(fworker_file)
        if asked_to_leave():
            return False
        return bool(launch_rocket(launchpad, fworker, fw_id, strm_lvl=level))


def rapidfire(
    fworker_file: Path | None = None,
    *,
    timeout: float | None = None,
    least: float = LEAST_SECONDS,
    idle: float = IDLE_SECONDS,
    limit: int | None = None,
) -> int:
    """Run fireworks one after the other, each in a folder below the current directory.

    Parameters
    ----------
    fworker_file : see :func:`singleshot`.
    timeout : begin no firework after so many seconds.
    least : begin none when the queue leaves less time than this [s].
    idle : leave after so many seconds in which none was ready.
    limit : leave after so many fireworks.

    Returns
    -------
    Number of fireworks run.
    """
    with noticing_sigterm():
        from fireworks.core.rocket_launcher import launch_rocket
        from fireworks.utilities.fw_utilities import create_datestamp_dir, get_fw_logger

        launchpad, fworker, level = _open(fworker_file)
        logger = get_fw_logger("rlaunch", stream_level=level)
        begun = useful = time.monotonic()
        home = Path.cwd()
        count = 0
        while not asked_to_leave() and (limit is None or count < limit):
            now = time.monotonic()
            left = seconds_left()
            if timeout is not None and now - begun >= timeout:
                break
            if left is not None and left < least:
                print(f"the queue leaves {left:.0f} s; no new firework is begun", file=sys.stderr)
                break
            if not launchpad.run_exists(fworker):
                if now - useful > idle:
                    break
                time.sleep(LOOK_EVERY)
                continue
            folder = Path(create_datestamp_dir(str(home), logger, prefix="launcher_"))
            os.chdir(folder)
            try:
                if launch_rocket(launchpad, fworker, strm_lvl=level):
                    count += 1
            finally:
                os.chdir(home)
            if not any(folder.iterdir()):
                folder.rmdir()
            useful = time.monotonic()
        return count


def multi(number: int, arguments: list[str]) -> int:
    """Several rapidfire processes at once in one job; SIGTERM reaches all of them.

    Parameters
    ----------
    number : of processes.
    arguments : of ``ebsdsg rlaunch rapidfire``.

    Returns
    -------
    Exit code: 0 if all of them ended well.
    """
    command = [sys.executable, "-m", "ebsdsg_flows", "rlaunch", "rapidfire", *arguments]
    with noticing_sigterm():
        crew = [subprocess.Popen(command) for _ in range(number)]
        told = False
        while any(member.poll() is None for member in crew):
            if asked_to_leave() and not told:
                told = True
                for member in crew:
                    member.terminate()
            time.sleep(0.2)
    return max(abs(member.returncode) for member in crew)


def _open(fworker_file: Path | None) -> tuple[LaunchPad, FWorker, str]:
    from ebsdsg_flows.session import open_stores
    from ebsdsg_flows.settings import get_settings

    settings = get_settings()
    launchpad = open_stores().launchpad(strm_lvl=settings.log_level)
    return launchpad, make_fworker(settings.root, fworker_file), settings.log_level
