"""What earlier runs of a simulation left, and whether this one can go on from it.

Nothing here is believed unseen: a leftover is checked, continued as a copy, and set aside when the
program could not go on from it twice: once may be the fault of the machine.
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
    Rule,
)
from ebsdsg_sim.atomic_file import write_atomically

if TYPE_CHECKING:
    from ebsdsg_flows.engines.emsoft.attempt import Attempt
    from ebsdsg_flows.engines.emsoft.resume import Unfinished
    from ebsdsg_sim.montecarlo import MonteCarlo

CHECKED_MONTE_CARLO = "montecarlo.checked.h5"
"""Name of a Monte Carlo file that passed its checks and waits to be kept."""

FAILED_ONCE = "master.failed_once.txt"
"""Stands beside a file from which a run could not go on; what it says is for people."""

OF_THE_FILE = {
    kind.code
    for kind in (
        *(INPUT_MISSING, ALREADY_COMPLETE, FORTRAN, HDF5, FATAL, CRASHED, NO_SUCCESS_LINE),
    )
}
"""Failures of a continued run that its file may explain, and its machine too (instructions that it
has not, a small stack, a bad disk); a time-out or a kill says nothing of the file."""

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
    from ebsdsg_flows.engines.emsoft.outcome import check_cell
    from ebsdsg_flows.engines.emsoft.resume import copy_for_restart, unfinished

    arguments = (original, attempt.crystal, attempt.parameters)
    copy = master.with_name("restart.h5")
    for best in unfinished(earlier_masters(attempt), *arguments):
        try:
            check_cell(_printed(best.path), attempt.crystal)
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
        That of the block.  If no energy was added, and the file may be the reason, this is noted
        beside the file; if it was noted before, the file is renamed, so that the next attempt
        begins with another one or anew.  What follows is said in ``next_action``.
    """
    note = source.path.with_name(FAILED_ONCE)
    try:
        yield
    except EngineFailure as failure:
        try:
            if _added(attempt, source, master, original):
                note.unlink(missing_ok=True)
            else:
                master.unlink(missing_ok=True)  # of the two it is the source that has the note
                if failure.code in OF_THE_FILE:
                    _count(source.path, note, failure)
        except (OSError, MemoryError) as error:
            log.warning("not noted that a run failed to go on from %s: %s", source.path, error)
        raise
    note.unlink(missing_ok=True)


def _added(attempt: Attempt, source: Unfinished, master: Path, original: MonteCarlo) -> bool:
    """Whether a continued run left a good file with more energies than it was given."""
    from ebsdsg_flows.engines.emsoft.resume import unfinished

    left = unfinished([master], original, attempt.crystal, attempt.parameters)
    return bool(left) and left[0].lowest < source.lowest


def _count(path: Path, note: Path, failure: EngineFailure) -> None:
    """Note a first failure; set the file aside after a second one in succession."""
    if not note.exists():
        write_atomically(note, f"{failure.code} {failure.message}\n".encode())
        failure.next_action = str(Rule.RESUME)
        return
    path.replace(path.with_name("master.refused.h5"))
    note.unlink()
    failure.next_action = str(Rule.SET_ASIDE)
    log.warning("%s is set aside: two runs could not go on from it: %s", path, failure)


def _printed(master: Path) -> str:
    """What the run printed that left a file; nothing if that is not known any more."""
    printed = master.parents[1] / "EMEBSDmaster.log"
    return printed.read_text(encoding="utf-8", errors="replace") if printed.is_file() else ""
