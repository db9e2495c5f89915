"""A worker process: takes whatever firework is ready, one after the other.

Its name in FireWorks tells host, process id and start time, so that a firework whose worker is gone
can be recognised at once and does not wait for a time-out.  FireWorks' own ``rlaunch`` does the
same work under the name in ``my_fworker.yaml``.
"""

from __future__ import annotations

import os
import signal
import threading
import time

from ebsdsg_flows.leaving import asked_to_leave
from stores.documents import Owner
from stores.owners import is_gone, this_process

PREFIX = "ebsdsg worker "
IDLE_SECONDS = 0.5
WATCH_SECONDS = 0.5


def worker_name() -> str:
    """Name under which this process works."""
    return PREFIX + this_process().model_dump_json()


def worker_is_gone(name: str) -> bool:
    """Whether the worker of that name is known to have ended.

    Parameters
    ----------
    name : of a FireWorks worker; the names of other programs tell nothing and give ``False``.
    """
    if not name.startswith(PREFIX):
        return False
    return is_gone(Owner.model_validate_json(name.removeprefix(PREFIX)))


def _end_with_parent(parent: int) -> None:
    """End this process soon after the one that started it has died."""
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Work until ended by a signal, or until the process that started this one is gone.

    SIGTERM keeps its default action: a worker that is ended in the middle of a firework leaves it
    running in the database, and :mod:`ebsdsg_flows.recover` puts it back, where a Python exception
    would make FireWorks record a failure that is none.  While a program is supervised SIGTERM is
    remembered (:mod:`ebsdsg_flows.leaving`), and the worker goes when that was written down.
    """
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()

    import torch
    from fireworks import FWorker
    from fireworks.core.rocket_launcher import rapidfire

    from ebsdsg_flows.session import open_stores
    from ebsdsg_flows.settings import get_settings

    settings = get_settings()
    torch.set_num_threads(settings.threads)
    launches = settings.root / "launches"
    launches.mkdir(parents=True, exist_ok=True)
    os.chdir(launches)
    launchpad = open_stores().launchpad(strm_lvl=settings.log_level)
    worker = FWorker(name=worker_name())
    while not asked_to_leave():
        rapidfire(
            launchpad,
            worker,
            m_dir=str(launches),
            nlaunches=1,
            max_loops=1,
            sleep_time=IDLE_SECONDS,
            strm_lvl=settings.log_level,
        )


if __name__ == "__main__":
    main()
