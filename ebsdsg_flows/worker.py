"""A worker process: takes whatever firework is ready, one after the other.

``ebsdsg run`` starts some of these on one machine; in the jobs of a queue ``ebsdsg rlaunch`` does
the same work, and so does FireWorks' own ``rlaunch``.
"""

from __future__ import annotations

import os
import signal
import threading
import time

from ebsdsg_flows.leaving import asked_to_leave

IDLE_SECONDS = 0.5
WATCH_SECONDS = 0.5


def _end_with_parent(parent: int) -> None:
    """End this process soon after the one that started it has died."""
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Work until ended by a signal, or until the process that started this one is gone.

    SIGTERM keeps its default action: a worker that is ended in the middle of a firework leaves it
    running in the database, and :mod:`ebsdsg_flows.cluster.janitor` puts it back, where a Python
    exception would make FireWorks record a failure that is none.  While a simulation is computed
    SIGTERM is remembered (:mod:`ebsdsg_flows.leaving`), and the worker goes when that was written
    down.
    """
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()

    import torch
    from fireworks.core.rocket_launcher import rapidfire

    from ebsdsg_flows.cluster.launches import make_fworker
    from ebsdsg_flows.session import open_stores
    from ebsdsg_flows.settings import get_settings

    settings = get_settings()
    torch.set_num_threads(settings.threads)
    launches = settings.root / "launches"
    launches.mkdir(parents=True, exist_ok=True)
    os.chdir(launches)
    launchpad = open_stores().launchpad(strm_lvl=settings.log_level)
    worker = make_fworker(settings.root)
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
