"""FINDSYM as an alternative to spglib for the choice of axes and origin.

FINDSYM (H. T. Stokes and D. M. Hatch, J. Appl. Cryst. 38 (2005) 237; stokes.byu.edu/iso) reads the
atoms of a cell from a file of keywords and writes the structure in its space group as a CIF.  That
CIF is read as any other.  What FINDSYM says must be the same crystal as what spglib says, up to the
normaliser of the group; then its description is taken, else the structure is refused.

FINDSYM answers with exit code 0 whatever happens, so only its CIF counts.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ebsdsg_flows.atoms import Atoms, StructureError
from ebsdsg_sim.asymmetric_unit import crystal_from_standard
from ebsdsg_sim.crystal import CrystalError
from ebsdsg_sim.normaliser import relation
from ebsdsg_sim.standard_structure import Orbit, StandardStructure, distances
from ebsdsg_sim.symmetry import setting, space_group_operations

if TYPE_CHECKING:
    from ebsdsg_flows.cif import CifStructure

TIMEOUT = 120.0
"""Longest run for one structure [s]."""

INPUT, OUTPUT = "findsym.in", "findsym.cif"
CIF_BEGINS, CIF_ENDS = "# CIF file", "# end of cif"
"""What encloses the CIF that older versions print instead of writing a file."""


class FindsymMissing(RuntimeError):
    """FINDSYM is asked for and is not on this machine."""


def find_program() -> Path:
    """FINDSYM's executable, from the settings or on PATH.

    Raises
    ------
    FindsymMissing
        If there is none; says what to do.
    """
    from ebsdsg_flows.settings import get_settings

    wanted = get_settings().findsym
    found = shutil.which(str(wanted or "findsym"))
    if found is None:
        raise FindsymMissing(
            f"FINDSYM is asked for, but {wanted or 'findsym'} is no program here; set `findsym` "
            "in the settings or PATH, or use `origin: spglib`"
        )
    return Path(found).resolve()


def described_by_findsym(
    atoms: Atoms, standard: StandardStructure, *, timeout: float = TIMEOUT
) -> StandardStructure:
    """FINDSYM's description of a structure, checked against spglib's.

    Parameters
    ----------
    atoms : the structure as it came in; one element on each position, fully occupied.
    standard : the same structure, described with spglib's settings; its tolerance is given to
        FINDSYM too.
    timeout : longest run [s].

    Raises
    ------
    StructureError
        If a position is shared or partly empty, FINDSYM fails, hangs, or says something else.
    FindsymMissing
        If the program is not there.
    """
    program = find_program()
    text = input_text(atoms, standard.symprec)
    with tempfile.TemporaryDirectory(prefix="findsym-") as name:
        folder = Path(name)
        (folder / INPUT).write_text(text, encoding="ascii")
        shown = _run(program, folder, atoms.name, timeout)
        cif = _cif_of(folder, shown, atoms.name)
        return _checked(_read(cif, atoms.name), atoms, standard)


def input_text(atoms: Atoms, symprec: float) -> str:
    """FINDSYM's input file for a structure.

    Parameters
    ----------
    atoms : the structure.
    symprec : tolerance [nm] of cell and atoms; FINDSYM is told Angstrom.

    Raises
    ------
    StructureError
        If a position is shared or partly empty.
    """
    for i, species in enumerate(atoms.species, 1):
        if len(species) > 1 or abs(sum(species.values()) - 1) > 1e-3:
            raise StructureError(
                f"{atoms.name}: position {i} holds {species}; FINDSYM is only given full positions "
                "of one element, use `origin: spglib`"
            )
    elements = [next(iter(species)) for species in atoms.species]
    order = sorted(range(len(elements)), key=lambda i: elements[i])
    counts = {element: elements.count(element) for element in sorted(elements)}
    title = "".join(c if c.isascii() and c.isprintable() and c != "!" else "?" for c in atoms.name)
    return "\n".join(
        [
            *("!useKeyWords", "!title", title[:70] or "structure"),
            *("!latticeTolerance", f"{symprec * 10:.8f}"),
            *("!atomicPositionTolerance", f"{symprec * 10:.8f}"),
            "!latticeBasisVectors",
            *(_numbers(row * 10) for row in atoms.lattice),
            *("!unitCellCentering", "P"),
            *("!atomCount", str(len(elements))),
            *("!atomType", " ".join(f"{n}*{element}" for element, n in counts.items())),
            "!atomPosition",
            *(_numbers(atoms.positions[i]) for i in order),
            "",
        ]
    )


def _numbers(values: np.ndarray) -> str:
    return " ".join(f"{value:.10f}" for value in values)


def _run(program: Path, folder: Path, name: str, timeout: float) -> str:
    """Run the program in its folder; what it printed."""
    # its tables (data_space.txt ...) are found by ISODATA, which must end in a slash
    environment = {"ISODATA": f"{program.parent}/", **os.environ}
    with subprocess.Popen(
        [str(program), INPUT],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        try:
            shown, _ = process.communicate(timeout=timeout)
        except BaseException as error:  # nothing stays behind, also when this worker must end
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise StructureError(f"{name}: FINDSYM did not end within {timeout:g} s") from None
            raise
    return shown.decode("utf-8", errors="replace")


def _cif_of(folder: Path, shown: str, name: str) -> Path:
    """The CIF that FINDSYM wrote, or printed."""
    path = folder / OUTPUT
    if not path.is_file():
        _, begins, rest = shown.partition(CIF_BEGINS)
        text, ends, _ = rest.partition(CIF_ENDS)
        if not begins or not ends:
            said = " | ".join(" ".join(line.split()) for line in shown.splitlines() if line.strip())
            raise StructureError(
                f"{name}: FINDSYM wrote no CIF; it says: {said[-300:] or 'nothing'}"
            )
        path.write_text(f"{begins}{text}", encoding="utf-8")
    return path


def _read(path: Path, name: str) -> CifStructure:
    from ebsdsg_flows.cif import read_cif

    try:
        return read_cif(path)
    except StructureError as error:
        raise StructureError(f"{name}: FINDSYM's CIF cannot be read: {error}") from None


def _checked(found: CifStructure, atoms: Atoms, standard: StandardStructure) -> StandardStructure:
    """The CIF as a standard structure, if it is of the same crystal."""
    from ebsdsg_flows.atoms import atoms_of
    from ebsdsg_flows.cif_symmetry import hall_number_of

    name = atoms.name
    hall = hall_number_of(found.symmetry)
    if hall is None:
        raise StructureError(f"{name}: FINDSYM answers in a setting that is not one of the 530")
    group = setting(hall)
    if group.space_group != standard.space_group:
        raise StructureError(
            f"{name}: FINDSYM says {group.international} ({group.space_group}), spglib "
            f"{standard.setting.international} ({standard.space_group}) at a tolerance of "
            f"{standard.symprec * 10:g} Å"
        )
    theirs = atoms_of(found.structure, name)
    described = replace(
        standard,
        setting=group,
        lattice=theirs.lattice,
        positions=theirs.positions % 1.0,
        species=tuple(dict(species) for species in theirs.species),
        orbits=_orbits(theirs, hall, found.wyckoff),
    )
    try:
        ours, other = (crystal_from_standard(s, name) for s in (standard, described))
    except CrystalError as error:
        raise StructureError(f"{name}: FINDSYM's description is inconsistent: {error}") from None
    same = relation(ours, other, tolerance=max(standard.symprec, 1e-3))
    if same is None:
        raise StructureError(
            f"{name}: FINDSYM and spglib both say {group.international}, but describe different "
            "crystals"
        )
    # x_standard = same.matrix @ x_findsym + same.shift
    back = np.linalg.inv(same.matrix)
    return replace(
        described,
        transformation=back @ standard.transformation,
        origin_shift=back @ (standard.origin_shift - same.shift),
    )


def _orbits(atoms: Atoms, hall_number: int, letters: tuple[str, ...]) -> tuple[Orbit, ...]:
    """The asymmetric unit as FINDSYM gives it: the first atom of each orbit is its own."""
    rotations, translations = space_group_operations(hall_number)
    left = np.ones(len(atoms.positions), dtype=bool)
    orbits: list[Orbit] = []
    for i, position in enumerate(atoms.positions):
        if not left[i]:
            continue
        images = rotations @ position + translations
        gaps = distances(images[:, None] - atoms.positions[None], atoms.lattice)
        members = np.unique(gaps.argmin(axis=1))
        left[members] = False
        x, y, z = (float(v) % 1.0 for v in position)
        orbits.append(
            Orbit(atoms.species[i], (x, y, z), letters[len(orbits)], tuple(members.tolist()))
        )
    return tuple(orbits)
