"""EMsoft's crystal files (``.xtal``): written directly, and read back to see what they say.

The direct writer is the named alternative to EMmkxtal; what it writes has the same content.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np

from ebsdsg_flows.engines.emsoft.broken_file import reading
from ebsdsg_flows.engines.emsoft.crystal_file import (
    answers,
    check_expressible,
    crystal_system,
    fractional,
    quoted,
    rhombohedral,
)
from ebsdsg_flows.engines.emsoft.dialogue import TIMEOUT, converse
from ebsdsg_flows.engines.emsoft.failures import CRYSTAL_DIFFERS, INEXPRESSIBLE
from ebsdsg_sim.atomic_file import new_file
from ebsdsg_sim.crystal import Crystal
from ebsdsg_sim.emsoft_layout import origin_setting, put, text_of, write_crystal

ROUNDING = 2e-7
"""Largest difference that single precision makes in a coordinate, an occupancy or B."""

RHOMBOHEDRAL_NUMBERS = {146: 231, 148: 232, 155: 233, 160: 234, 161: 235, 166: 236, 167: 237}
"""EMsoft's numbers of the groups on rhombohedral axes."""


def make_xtal(
    path: Path,
    crystal: Crystal,
    source: str,
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    timeout: float = TIMEOUT,
    before_end: Callable[[], None] = lambda: None,
) -> str:
    """Make a crystal file with EMmkxtal and check it.

    Parameters
    ----------
    path : file to make, in the folder that the environment names as EMsoft's crystal folder.  It
        must not exist: EMmkxtal overwrites without a question.
    crystal, source : what it shall hold.
    command : EMmkxtal and its arguments.
    environment : complete environment of the program.
    timeout : longest wait for a question [s].
    before_end : called before EMmkxtal is ended because this worker was asked to leave.

    Returns
    -------
    The screen.

    Raises
    ------
    EngineFailure
        If EMsoft cannot express the crystal, the dialogue fails, or the file differs.
    FileExistsError
        If the file exists.
    """
    if path.exists():
        raise FileExistsError(f"{path} exists, and EMmkxtal would overwrite it")
    steps = answers(crystal, path.name, source)
    screen = converse(
        command,
        steps,
        environment=environment,
        folder=path.parent,
        timeout=timeout,
        before_end=before_end,
    )
    check_xtal(path, crystal, source)
    return screen


def write_xtal(path: Path, crystal: Crystal, source: str) -> None:
    """Write a crystal file without EMmkxtal.

    Parameters
    ----------
    path : file to write; it must not exist.
    crystal : in the standard axes of its group.
    source : text stored in the file.

    Raises
    ------
    EngineFailure
        If EMsoft cannot express the crystal or the text.
    FileExistsError
        If the file exists.
    """
    check_expressible(crystal)
    if rhombohedral(crystal):
        raise INEXPRESSIBLE.failure(f"{crystal.name}: on rhombohedral axes; use hexagonal ones")
    quoted(source)
    with new_file(path, replace=False) as temporary, h5py.File(temporary, "w") as file:
        replace_crystal(file, crystal, source)


def replace_crystal(file: h5py.File, crystal: Crystal, source: str) -> None:
    """Put a crystal in the place of whatever ``CrystalData`` holds.

    Parameters
    ----------
    file : open for writing.
    crystal, source : what is written.
    """
    if "CrystalData" in file:
        del file["CrystalData"]
    write_crystal(file, crystal)
    group = file["CrystalData"]
    del group["Source"]
    put(group, "Source", source)
    positions = np.array([fractional(crystal, i) for i in range(len(crystal.sites))])
    group["AtomData"][:3] = positions.T.astype(np.float32)


def check_xtal(path: Path, crystal: Crystal, source: str | None = None) -> None:
    """Compare a crystal file with the crystal that it should hold.

    Parameters
    ----------
    path : the file, or any EMsoft file with ``CrystalData``.
    crystal : what it should hold.
    source : text that it should hold; ``None`` does not look.

    Raises
    ------
    EngineFailure
        If the file is missing or broken, or anything in it differs: cell, group, setting,
        elements, positions, occupancies, Debye-Waller factors, number of atoms or density.
    """
    with reading(path, "is not a crystal file"), h5py.File(path, "r") as file:
        differences = _differences(file["CrystalData"], crystal, source)
    if differences:
        raise CRYSTAL_DIFFERS.failure(f"{path.name}: {'; '.join(differences)}")


def _differences(group: h5py.Group, crystal: Crystal, source: str | None) -> list[str]:
    numbers: dict[str, tuple[int, ...]] = {
        "CrystalSystem": (crystal_system(crystal.space_group),),
        "SpaceGroupNumber": (crystal.space_group,),
        "Natomtypes": (len(crystal.sites),),
    }
    if rhombohedral(crystal):
        other = RHOMBOHEDRAL_NUMBERS[crystal.space_group]
        numbers["SpaceGroupNumber"] = (crystal.space_group, other)
    else:
        numbers["SpaceGroupSetting"] = (origin_setting(crystal),)
    found = [
        f"{name} is {int(group[name][0])} instead of {wanted[0]}"
        for name, wanted in numbers.items()
        if int(group[name][0]) not in wanted
    ]
    cell = group["LatticeParameters"][()]
    if cell.shape != (6,) or not np.allclose(cell, crystal.cell, rtol=1e-7, atol=0):
        found.append(f"the cell is {cell.tolist()} instead of {list(crystal.cell)}")
    elements = group["Atomtypes"][()].tolist()
    if elements != [site.atomic_number for site in crystal.sites]:
        found.append(f"the elements are {elements}")
        return found
    rows = group["AtomData"][()].T
    wanted_rows = [
        (*fractional(crystal, i), site.occupancy, site.debye_waller)
        for i, site in enumerate(crystal.sites)
    ]
    names = ("x", "y", "z", "occupation", "Debye-Waller factor")
    for number, (row, wanted_row) in enumerate(zip(rows, wanted_rows, strict=True), 1):
        found += [
            f"{name} of site {number} is {value:.7g} instead of {asked:.7g}"
            for name, value, asked in zip(names, row, wanted_row, strict=True)
            if not abs(value - asked) <= ROUNDING
        ]
    if source is not None and text_of(group["Source"]).strip() != source.strip():
        found.append(f"the source is {text_of(group['Source'])!r}")
    if not found:
        found = _cell_content(rows, crystal)
    return found


def _cell_content(rows: np.ndarray, crystal: Crystal) -> list[str]:
    """Atoms and density of what the file says, once all its numbers are as they should be."""
    from dataclasses import replace

    sites = tuple(
        replace(site, position=(float(row[0]), float(row[1]), float(row[2])))
        for site, row in zip(crystal.sites, rows, strict=True)
    )
    stored = replace(crystal, sites=sites)
    if stored.n_atoms != crystal.n_atoms:
        return [f"it makes {stored.n_atoms} atoms in the cell instead of {crystal.n_atoms}"]
    if abs(stored.density / crystal.density - 1) > 1e-4:
        return [f"its density is {stored.density:.4f} instead of {crystal.density:.4f} g/cm3"]
    return []
