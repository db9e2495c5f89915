"""Detector patterns by EMEBSD, for comparison with this package's own projection.

EMEBSD projects unfinished master patterns and impossible energies without a word, so the master
pattern is read and the output is checked here.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import h5py
import numpy as np

from ebsdsg_flows.engines.emsoft.configuration import Installation, RunFolder, threads_of
from ebsdsg_flows.engines.emsoft.failures import INPUT_MISSING, WRONG_FILE
from ebsdsg_flows.engines.emsoft.monte_carlo import name_crystal_file
from ebsdsg_flows.engines.emsoft.namelists import PatternNamelist
from ebsdsg_flows.engines.emsoft.outcome import check_version, judge
from ebsdsg_flows.engines.emsoft.supervise import Limits, run_program
from ebsdsg_flows.engines.emsoft.xtal_file import write_xtal
from ebsdsg_sim.hdf5 import MasterPatternFileError, read_master_pattern

if TYPE_CHECKING:
    from ebsdsg_sim.detector import Detector

CRYSTAL_FILE = "crystal.xtal"


def project_patterns(
    master: Path, euler_angles: np.ndarray, detector: Detector, folder: Path
) -> np.ndarray:
    """Patterns of a master pattern on a detector.

    Parameters
    ----------
    master : complete master-pattern file, of either engine; it is copied, not touched.
    euler_angles : (n, 3) Bunge angles [degrees].
    detector : the detector.
    folder : working folder; a new one is made below it and removed after success.

    Returns
    -------
    (n, rows, columns) float32 intensities, background included.

    Raises
    ------
    EngineFailure
        If the master pattern is not complete, EMEBSD fails, or its file is wrong.
    """
    from ebsdsg_flows.settings import get_settings

    settings = get_settings()
    installation = Installation.find(settings)
    try:
        pattern = read_master_pattern(master)
    except MasterPatternFileError as error:
        raise INPUT_MISSING.failure(str(error)) from None
    run = RunFolder.make(folder.absolute() / f"project-{uuid4().hex[:8]}")
    shutil.copyfile(master, run.data / "master.h5")
    with h5py.File(run.data / "master.h5", "r+") as file:
        name_crystal_file(file, CRYSTAL_FILE)  # the one in the file may be in any folder
    write_xtal(run.crystals / CRYSTAL_FILE, pattern.crystal, "ebsdsg")
    angles = np.asarray(euler_angles, dtype=np.float64).reshape(-1, 3)
    lines = [f"{a:16.8f} {b:16.8f} {c:16.8f}" for a, b, c in angles]
    (run.data / "angles.txt").write_text("\n".join(["eu", str(len(angles)), *lines, ""]))
    rows, columns = detector.shape
    threads = threads_of(settings)
    PatternNamelist(
        masterfile="master.h5",
        anglefile="angles.txt",
        datafile="patterns.h5",
        numsx=columns,
        numsy=rows,
        L=detector.distance,
        delta=detector.pixel_size,
        thetac=detector.tilt,
        xpc=detector.xpc,
        ypc=detector.ypc,
        energymin=float(pattern.energies[0]),
        energymax=float(pattern.energies[-1]),
        nthreads=threads,
    ).write(run.path / "EMEBSD.nml")
    ended = run_program(
        [installation.program("EMEBSD"), "EMEBSD.nml"],
        folder=run.path,
        environment=run.environment(installation, threads),
        log=run.path / "EMEBSD.log",
        limits=Limits(
            settings.emsoft_walltime * 3600, settings.emsoft_stall, settings.emsoft_grace
        ),
    )
    check_version("EMEBSD", ended.output)
    judge("EMEBSD", ended)
    patterns = _read(run.data / "patterns.h5", (len(angles), rows, columns))
    shutil.rmtree(run.path)
    return patterns


def _read(path: Path, shape: tuple[int, int, int]) -> np.ndarray:
    try:
        with h5py.File(path, "r") as file:
            patterns = file["EMData/EBSD/EBSDPatterns"][()]
    except (OSError, KeyError) as error:
        raise WRONG_FILE.failure(f"{path.name}: {error}") from None
    if patterns.shape != shape or patterns.dtype != np.float32:
        raise WRONG_FILE.failure(
            f"{path.name}: {patterns.dtype} {patterns.shape} instead of float32 {shape}"
        )
    if not np.isfinite(patterns).all() or (np.ptp(patterns, axis=(1, 2)) == 0).any():
        raise WRONG_FILE.failure(f"{path.name}: a pattern is empty or not finite")
    return patterns
