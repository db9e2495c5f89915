"""What earlier runs of a simulation left, and whether this one can go on from it.

Nothing here is believed unseen: a leftover is checked, continued as a copy, and set aside when the
program could not go on from it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ebsdsg_flows.engines.base import EngineFailure
from ebsdsg_flows.engines.emsoft.failures import (
    ALREADY_COMPLETE,
    CRASHED,
    FATAL,
    FORTRAN,
    HDF5,
    INPUT_MISSING,
    NO_SUCCESS_LINE,
)

if TYPE_CHECKING:
    from ebsdsg_flows.engines.emsoft.attempt import Attempt
    from ebsdsg_flows.engines.emsoft.resume import Unfinished
    from ebsdsg_sim.montecarlo import MonteCarlo

CHECKED_MONTE_CARLO = "montecarlo.checked.h5"
"""Name of a Monte Carlo file that passed its checks and waits to be kept."""

OF_THE_FILE = {
    kind.code
    for kind in (
        *(INPUT_MISSING, ALREADY_COMPLETE, FORTRAN, HDF5, FATAL, CRASHED, NO_SUCCESS_LINE),
    )
}
"""Failures of a continued run that its file may explain; a time-out or a kill is none."""

log = logging.getLogger(__name__)


def earlier_monte_carlo(attempt: Attempt) -> Path | None:
    """A Monte Carlo that an earlier run finished but could not keep, as on a full disk."""
    from ebsdsg_flows.engines.emsoft.result_file import check_monte_carlo

    for path in sorted(attempt.folder.glob(f"*/data/{CHECKED_MONTE_CARLO}")):
        try:
            check_monte_carlo(path, attempt.crystal, attempt.parameters)
        except EngineFailure as failure:
            log.warning("%s is not used: %s", path, failure)
        else:
            return path
    return None


def earlier_masters(attempt: Attempt) -> list[Path]:
    """Master-pattern files of earlier runs, whatever they hold."""
    own = attempt.run.data / "master.h5"
    return [path for path in sorted(attempt.folder.glob("*/data/master.h5")) if path != own]


def continue_best(attempt: Attempt, master: Path, original: MonteCarlo) -> Unfinished | None:
    """Replace the fresh file by a copy of the best unfinished one.

    Parameters
    ----------
    attempt : of the simulation.
    master : file of this run.
    original : the Monte Carlo of the simulation.

    Returns
    -------
    What is continued; ``None`` if nothing can be, and ``master`` is as it was.
    """
    from ebsdsg_flows.engines.emsoft.resume import copy_for_restart, unfinished

    arguments = (original, attempt.crystal, attempt.parameters)
    copy = master.with_name("restart.h5")
    for best in unfinished(earlier_masters(attempt), *arguments):
        try:
            lowest = copy_for_restart(best, copy, *arguments)
        except EngineFailure as failure:
            log.warning("%s cannot be continued: %s", best.path, failure)
            copy.unlink(missing_ok=True)
            continue
        copy.replace(master)
        return replace(best, lowest=lowest)
    return None


@contextmanager
def setting_aside(
    attempt: Attempt, source: Unfinished, master: Path, original: MonteCarlo
) -> Iterator[None]:
    """Do not continue a file for ever from which the program cannot go on.

    Parameters
    ----------
    attempt : of the simulation.
    source : what is continued.
    master : its copy, to which the block adds energies.
    original : the Monte Carlo of the simulation.

    Raises
    ------
    EngineFailure
        That of the block.  If no energy was added, and the file may be the reason, the file and its
        copy are renamed, so that the next attempt begins with another one or anew.
    """
    from ebsdsg_flows.engines.emsoft.resume import unfinished

    try:
        yield
    except EngineFailure as failure:
        left = unfinished([master], original, attempt.crystal, attempt.parameters)
        if failure.code in OF_THE_FILE and not (left and left[0].lowest < source.lowest):
            for path in (source.path, master):
                path.replace(path.with_name("master.refused.h5"))
            log.warning("%s is set aside: a run could not go on from it: %s", source.path, failure)
        raise
