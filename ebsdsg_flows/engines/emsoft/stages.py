"""The stages of a simulation: crystal file, Monte Carlo, master pattern, each checked at its end.

What was finished and checked is never computed again: a Monte Carlo is kept for all simulations of
the crystal, an unfinished master pattern is continued from a verified copy.
"""

from __future__ import annotations

import logging
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from ebsdsg_flows.engines.base import EngineFailure

if TYPE_CHECKING:
    from ebsdsg_flows.engines.emsoft.attempt import Attempt

log = logging.getLogger(__name__)


def make_crystal_file(attempt: Attempt) -> None:
    """Stage 1: the crystal file of this run.

    Raises
    ------
    EngineFailure
        If EMsoft cannot express the crystal, EMmkxtal fails, or the file differs.
    """
    from ebsdsg_flows.engines.emsoft.xtal_file import check_xtal, make_xtal, write_xtal

    path = attempt.run.crystals / attempt.xtal
    with attempt.stage("crystal file", "EMmkxtal"):
        attempt.progress("crystal file", 0, 1)
        if attempt.engine.crystal_file == "direct":
            write_xtal(path, attempt.crystal, attempt.source)
            check_xtal(path, attempt.crystal, attempt.source)
            return
        program = attempt.installation.program("EMmkxtal")
        environment = attempt.run.environment(attempt.installation)
        screen = make_xtal(
            path,
            attempt.crystal,
            attempt.source,
            [program],
            environment=environment,
            before_end=lambda: attempt.leaving("EMmkxtal"),
        )
        (attempt.run.path / "EMmkxtal.log").write_text(screen, encoding="utf-8")


def make_monte_carlo(attempt: Attempt) -> Path:
    """Stage 2: the Monte Carlo of this crystal, kept for all its simulations.

    Returns
    -------
    The kept file; whoever wants to write into it needs a copy.

    Raises
    ------
    EngineFailure
        If there is no GPU, the program fails, or its file is not what was asked for.
    """
    from ebsdsg_flows.engines.emsoft.leftovers import CHECKED_MONTE_CARLO, earlier_monte_carlo
    from ebsdsg_flows.engines.emsoft.monte_carlo import check_kept, keep, monte_carlo_key
    from ebsdsg_flows.engines.emsoft.namelists import CpuMonteCarloNamelist, MonteCarloNamelist
    from ebsdsg_flows.engines.emsoft.result_file import check_monte_carlo

    program = "EMMCOpenCL" if attempt.engine.monte_carlo == "opencl" else "EMMC"
    key = monte_carlo_key(attempt.crystal, attempt.parameters, program)
    kept = attempt.settings.root / "emsoft" / "montecarlo" / key[:2] / f"{key}.h5"
    if kept.is_file():
        try:
            check_kept(kept, attempt.parameters)
        except EngineFailure as failure:
            log.warning("%s is damaged and will be replaced: %s", kept, failure)
        else:
            return kept
    if (earlier := earlier_monte_carlo(attempt)) is not None:
        keep(earlier, kept)
        earlier.unlink(missing_ok=True)
        return kept
    with attempt.stage("monte carlo", program):
        attempt.progress("monte carlo", 0, 1)
        namelist: MonteCarloNamelist | CpuMonteCarloNamelist
        if program == "EMMCOpenCL":
            attempt.gpu = _check_gpu(attempt)
            namelist = MonteCarloNamelist.of(
                attempt.parameters,
                attempt.xtal,
                "montecarlo.h5",
                attempt.settings.emsoft_platform,
                attempt.settings.emsoft_device,
            )
        else:
            namelist = CpuMonteCarloNamelist.of(
                attempt.parameters, attempt.xtal, "montecarlo.h5", attempt.threads
            )
        namelist.write(attempt.run.path / f"{program}.nml")
        made = attempt.run.data / "montecarlo.h5"
        attempt.run_program(program, ("monte carlo", 0, 1))
        check_monte_carlo(made, attempt.crystal, attempt.parameters)
        made = made.replace(made.with_name(CHECKED_MONTE_CARLO))
        keep(made, kept)
        made.unlink()
    return kept


def make_master_pattern(attempt: Attempt, kept: Path) -> Path:
    """Stage 3: the master pattern, continued where an earlier run left it.

    Parameters
    ----------
    attempt : its crystal file has been made.
    kept : Monte Carlo of the crystal.

    Returns
    -------
    The file, which only this run has.

    Raises
    ------
    EngineFailure
        If the disk is too small or the program fails.
    """
    from ebsdsg_flows.engines.emsoft.leftovers import (
        continue_best,
        earlier_masters,
        setting_aside,
    )
    from ebsdsg_flows.engines.emsoft.monte_carlo import hand_out
    from ebsdsg_flows.engines.emsoft.result_file import check_monte_carlo
    from ebsdsg_flows.engines.emsoft.resume import settle

    n = len(attempt.parameters.energies)
    master = attempt.run.data / "master.h5"
    with attempt.stage("master pattern", "EMEBSDmaster"):
        attempt.check_space(resuming=bool(earlier_masters(attempt)))
        hand_out(kept, master, attempt.crystal, attempt.source, attempt.xtal)
        original = check_monte_carlo(master, attempt.crystal, attempt.parameters)
        earlier = continue_best(attempt, master, original)
        done = 0 if earlier is None else n - earlier.lowest
        if earlier is not None:
            attempt.progress("energies", done, n)
        if done < n:
            _write_master_namelists(attempt, restart=earlier is not None)
            with (
                nullcontext()
                if earlier is None
                else setting_aside(attempt, earlier, master, original)
            ):
                attempt.run_program("EMEBSDmaster", ("energies", done, n))
            settle(master, original)
        attempt.progress("energies", n, n)
    return master


def _write_master_namelists(attempt: Attempt, *, restart: bool) -> None:
    from ebsdsg_flows.engines.emsoft.namelists import BetheNamelist, MasterNamelist

    BetheNamelist.of(attempt.parameters).write(attempt.run.path / "BetheParameters.nml")
    MasterNamelist.of(
        attempt.parameters, "master.h5", "BetheParameters.nml", attempt.threads, restart=restart
    ).write(attempt.run.path / "EMEBSDmaster.nml")


def _check_gpu(attempt: Attempt) -> str:
    from ebsdsg_flows.engines.emsoft.opencl import check_device, probe

    settings = attempt.settings
    return check_device(probe(), settings.emsoft_platform, settings.emsoft_device)
