"""Driving EMmkxtal, the one EMsoft program that asks its questions at a terminal.

The answers follow from the crystal alone (:func:`answers`); :func:`converse` gives them on a
pseudo-terminal, expects exactly the question that belongs to each, compares what the program
repeats with what was said, and never waits longer than its time-out: every failure shows the screen
as it was.  The file that comes out is compared with the crystal (:mod:`.xtal_file`), because
EMmkxtal replaces and truncates answers without a word.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ebsdsg_flows.engines.emsoft.failures import (
    CRYSTAL_DIFFERS,
    CRYSTAL_REJECTED,
    DIALOGUE_STUCK,
    INEXPRESSIBLE,
    MISSING_PROGRAM,
    recognise,
)
from ebsdsg_sim.crystal import Crystal
from ebsdsg_sim.emsoft_layout import MasterPatternFileError, origin_setting
from ebsdsg_sim.symmetry import setting

if TYPE_CHECKING:
    from ebsdsg_flows.engines.base import EngineFailure

TIMEOUT = 60.0
"""Longest wait for the next question [s]."""

LARGEST_SOURCE = 512
LARGEST_ATOMIC_NUMBER = 98
SYSTEMS = ((2, 7), (15, 6), (74, 3), (142, 2), (167, 5), (194, 4), (230, 1))
"""Last space group of EMmkxtal's crystal systems: triclinic 7, monoclinic 6, orthorhombic 3,
tetragonal 2, trigonal 5, hexagonal 4, cubic 1."""

TWO_ORIGINS = frozenset(
    {48, 50, 59, 68, 70, 85, 86, 88, 125, 126, 129, 130}
    | {133, 134, 137, 138, 141, 142, 201, 203, 222, 224, 227, 228}
)
"""Groups for which EMmkxtal asks which origin is meant."""

SYSTEM = "crystal system --->"
HEXAGONAL = "0 for hexagonal setting :"
LENGTHS = ("a [nm] =", "b [nm] =", "c [nm] =")
ANGLES = ("alpha [deg] =", "beta  [deg] =", "gamma [deg] =")
GROUP = "Enter space group number :"
ORIGIN = "Which setting do you wish to use (1/2)"
ATOM = "->  Atomic number :"
SITE = "Fractional coordinates, site occupation, and Debye-Waller Factor [nm^2] :"
ANOTHER = "Another atom ? (y/n)"
FILE = "Enter output file name (*.xtal)"
SOURCE = "Enter the source for this data [max. 512 characters]"
PROMPTS = (SYSTEM, HEXAGONAL, *LENGTHS, *ANGLES, GROUP, ORIGIN, ATOM, SITE, ANOTHER, FILE, SOURCE)
WYCKOFF = ("Atomic number, site occupation, Debye-Waller factor :", "Wyckoff position :")
"""What EMmkxtal asks when it was called with ``-w``; never answered."""

_FREE: dict[int, tuple[str, ...]] = {
    1: (LENGTHS[0],),
    2: (LENGTHS[0], LENGTHS[2]),
    3: LENGTHS,
    4: (LENGTHS[0], LENGTHS[2]),
    5: (LENGTHS[0], LENGTHS[2]),
    6: (*LENGTHS, ANGLES[1]),
    7: (*LENGTHS, *ANGLES),
}
"""Lattice parameters asked for in each crystal system."""


@dataclass(frozen=True)
class Step:
    """One question and its answer.

    Parameters
    ----------
    prompt : text on the screen that asks for it.
    answer : what is typed.
    echo : numbers that the program must repeat after it, if it does so.
    """

    prompt: str
    answer: str
    echo: tuple[float, ...] = ()


def answers(crystal: Crystal, file_name: str, source: str) -> list[Step]:
    """The whole dialogue about a crystal.

    Parameters
    ----------
    crystal : in the standard axes of its group; trigonal ones hexagonal or rhombohedral.
    file_name : of the file to write, without a folder.
    source : text stored in the file.

    Returns
    -------
    Questions in the order in which EMmkxtal asks them.

    Raises
    ------
    EngineFailure
        If EMsoft cannot express the crystal, or would replace one of its values unasked.
    """
    check_expressible(crystal)
    system = crystal_system(crystal.space_group)
    steps = [Step(SYSTEM, str(system))]
    free = _FREE[system]
    if system == 5:
        steps.append(Step(HEXAGONAL, "1" if rhombohedral(crystal) else "0"))
        free = (LENGTHS[0], ANGLES[0]) if rhombohedral(crystal) else free
    values = dict(zip((*LENGTHS, *ANGLES), crystal.cell, strict=True))
    steps += [Step(prompt, _number(values[prompt])) for prompt in free]
    steps.append(Step(GROUP, str(crystal.space_group)))
    if crystal.space_group in TWO_ORIGINS:
        steps.append(Step(ORIGIN, str(origin_setting(crystal))))
    for index, site in enumerate(crystal.sites):
        steps.append(Step(ATOM, str(site.atomic_number)))
        # the position as the orbit has it: 0.333 is already 1/3 there, and inside the cell
        numbers = (*fractional(crystal, index), site.occupancy, site.debye_waller)
        steps.append(Step(SITE, ",".join(_number(v) for v in numbers), numbers))
        steps.append(Step(ANOTHER, "y" if index + 1 < len(crystal.sites) else "n"))
    steps.append(Step(FILE, quoted(file_name)))
    steps.append(Step(SOURCE, quoted(source)))
    return steps


def crystal_system(space_group: int) -> int:
    """EMsoft's number of the crystal system of a space group."""
    return next(number for last, number in SYSTEMS if space_group <= last)


def rhombohedral(crystal: Crystal) -> bool:
    """Whether a crystal is described on rhombohedral axes."""
    return setting(crystal.hall_number).choice == "R"


def fractional(crystal: Crystal, site: int) -> tuple[float, float, float]:
    """Position of a site on its special position and inside the cell, to nine digits."""
    x, y, z = (round(float(v), 9) % 1.0 for v in crystal.atoms(site)[0])
    return (x, y, z)


def check_expressible(crystal: Crystal) -> None:
    """Refuse what EMsoft cannot be told.

    Raises
    ------
    EngineFailure
        If the axes are not the standard ones, a site has occupancy 0 or Debye-Waller factor 0
        (EMsoft would silently make them 1 and 0.004 nm^2), or an element has no scattering factors.
    """
    try:
        if not rhombohedral(crystal):
            origin_setting(crystal)
    except MasterPatternFileError as error:
        raise INEXPRESSIBLE.failure(str(error)) from None
    for number, site in enumerate(crystal.sites, 1):
        label = f"{crystal.name}: site {number} ({site.element})"
        if site.occupancy == 0:
            raise INEXPRESSIBLE.failure(f"{label} has occupancy 0, which EMsoft would make 1")
        if site.debye_waller == 0:
            raise INEXPRESSIBLE.failure(
                f"{label} has Debye-Waller factor 0, which EMsoft would make 0.004 nm^2"
            )
        if site.atomic_number > LARGEST_ATOMIC_NUMBER:
            raise INEXPRESSIBLE.failure(f"{label}: EMsoft's scattering factors end at Z = 98")


def quoted(text: str) -> str:
    """Text for a Fortran list-directed read, which ends at a blank, comma or slash otherwise.

    Raises
    ------
    EngineFailure
        If the text is empty, too long, or holds characters outside printable ASCII.
    """
    if not text.strip() or len(text) > LARGEST_SOURCE:
        raise INEXPRESSIBLE.failure(
            f"the text {text[:40]!r} is empty or longer than {LARGEST_SOURCE} characters"
        )
    if not (text.isascii() and text.isprintable()):
        raise INEXPRESSIBLE.failure(f"the text {text[:40]!r} is not printable ASCII")
    return "'" + text.replace("'", "''") + "'"


def converse(
    command: Sequence[str],
    steps: Sequence[Step],
    *,
    environment: Mapping[str, str],
    folder: Path,
    timeout: float = TIMEOUT,
) -> str:
    """Give the answers to the program, each when it is asked for.

    Parameters
    ----------
    command : program and arguments.
    steps : the dialogue.
    environment : complete environment of the program.
    folder : current directory of the program.
    timeout : longest wait for the next question [s].

    Returns
    -------
    The screen.

    Raises
    ------
    EngineFailure
        If the program cannot be started, asks something else, repeats other numbers, stops early,
        waits for ever, or ends without success.
    """
    import pexpect

    screen = _Screen()
    try:
        child = pexpect.spawn(
            command[0],
            list(command[1:]),
            env=dict(environment),
            cwd=str(folder),
            echo=False,
            encoding="utf-8",
            codec_errors="replace",
            timeout=timeout,
            dimensions=(100, 1000),
        )
    except pexpect.ExceptionPexpect as error:
        raise MISSING_PROGRAM.failure(f"{command[0]}: {str(error).splitlines()[0]}") from None
    child.logfile_read = screen
    child.delaybeforesend = None
    texts = [*PROMPTS, *WYCKOFF]
    patterns = [*texts, pexpect.EOF, pexpect.TIMEOUT]
    try:
        last: Step | None = None
        for step in steps:
            found = child.expect_exact(patterns)
            before = str(child.before)
            if found == len(texts):
                raise _ended_early(child, screen, f"it ended instead of asking “{step.prompt}”")
            if found > len(texts):
                raise DIALOGUE_STUCK.failure(
                    f"no question for {timeout:g} s while “{step.prompt}” was expected"
                    f"{_after(last)}; the screen ends with: {screen.end()}",
                    log_tail=screen.tail(),
                )
            if texts[found] != step.prompt:
                raise CRYSTAL_REJECTED.failure(
                    f"it asks “{texts[found]}” where “{step.prompt}” was expected"
                    f"{_after(last)}; the screen ends with: {screen.end()}",
                    log_tail=screen.tail(),
                )
            if last is not None and last.echo:
                _check_echo(last, before, screen)
            child.sendline(step.answer)
            last = step
        if child.expect_exact([pexpect.EOF, pexpect.TIMEOUT]) == 1:
            raise DIALOGUE_STUCK.failure(
                f"it did not end within {timeout:g} s{_after(last)}; the screen ends with: "
                f"{screen.end()}",
                log_tail=screen.tail(),
            )
        child.wait()
        if child.signalstatus or child.exitstatus or "Source =" not in screen.text:
            raise _ended_early(child, screen, "it did not end well")
        return screen.text
    finally:
        child.close(force=True)


def _check_echo(step: Step, shown: str, screen: _Screen) -> None:
    """Compare the numbers of a site with those the program repeats, seven decimals."""
    number = r"\s+(-?\d+\.\d+|\*+)"
    found = re.search(r"->" + number * len(step.echo), shown)
    repeated = [math.nan] * len(step.echo)
    if found is not None:
        repeated = [math.nan if "*" in text else float(text) for text in found.groups()]
    if any(not abs(a - b) <= 2e-6 for a, b in zip(step.echo, repeated, strict=True)):
        seen = found.group().strip() if found else "nothing"
        raise CRYSTAL_DIFFERS.failure(
            f"EMmkxtal was told {step.answer} and understood {seen}", log_tail=screen.tail()
        )


def _ended_early(child: object, screen: _Screen, what: str) -> EngineFailure:
    """What to raise when the program ended although the dialogue was not over, or badly."""
    child.close(force=True)  # type: ignore[attr-defined]
    status = getattr(child, "exitstatus", None)
    signal = getattr(child, "signalstatus", None)
    code = -signal if signal else status
    tail = screen.tail()
    if found := recognise(screen.text):
        kind, line = found
        return kind.failure(f"EMmkxtal: {line}", log_tail=tail, exit_code=code)
    return CRYSTAL_REJECTED.failure(
        f"{what} (exit code {code}); the screen ends with: {screen.end()}",
        log_tail=tail,
        exit_code=code,
    )


def _after(step: Step | None) -> str:
    return f" after the answer {step.answer}" if step is not None else ""


def _number(value: float) -> str:
    """Plain decimal notation, as many digits as carry information."""
    text = f"{value:.9f}".rstrip("0")
    return text + "0" if text.endswith(".") else text


class _Screen:
    """Everything the program showed."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        """Nothing is held back."""

    def tail(self) -> str:
        return self.text[-4000:]

    def end(self) -> str:
        lines = [" ".join(line.split()) for line in self.text.splitlines()]
        return " | ".join([line for line in lines if line][-3:])[-300:]
