"""The names that files give space groups, and which of the 530 tabulated settings they mean.

A Hermann-Mauguin symbol names axes as well as a group: ``P b n m`` is space group 62 with other
axes than ``P n m a``.  It is read in every spelling that is in use, and never as another setting of
the same group than the one that it names.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache

from ebsdsg_sim.standard_structure import Setting
from ebsdsg_sim.symmetry import setting

AXES = ("", "ba-c", "cab", "-cba", "bca", "a-cb")
"""Choices of axes of an orthorhombic group, as spglib names them."""

GLIDE_BEFORE_1992 = {39: "bacbac", 41: "bacbac", 64: "abbcca", 67: "abbcca", 68: "abbcca"}
"""Letter that stood for the glide plane ``e``, for each choice of axes."""

BAR_LEFT_OUT = {*range(200, 207), *range(221, 231)}
"""Groups of which older symbols write 3 for -3 (``F m 3 m``)."""

OPEN_AXES, NAMED_AXES = 0.1, 1.0
"""Angles [degrees] by which a cell may miss hexagonal or rhombohedral axes that a file leaves open,
and those that it names."""

_SUFFIX = re.compile(
    r"(.*?)(?::\s*(\S+)|\(?\s*origin\s+(?:choice\s+)?([12])\s*\)?|O\s*([12])|(H)R|([SZHR]))\s*",
    re.IGNORECASE,
)


def setting_of_hall_symbol(symbol: str) -> int | None:
    """Hall number of a Hall symbol, ``None`` if the tables have none that is written so.

    Blanks count: ``P 3 2`` is space group 149 and ``P 32`` is 145.
    """
    return _hall_symbols().get(_hall_spelling(symbol))


def settings_of_symbol(symbol: str) -> tuple[int, ...]:
    """Hall numbers of the settings that a Hermann-Mauguin symbol can mean.

    Parameters
    ----------
    symbol : short, full or of older tables, with or without blanks; a suffix names the origin
        (``:1``, `` S``, ``(origin choice 2)``, `` O2``) or the axes of a rhombohedral group
        (``:H``, `` R``, `` HR``).

    Returns
    -------
    Ascending; several where the symbol leaves the origin, the axes of a rhombohedral group or the
    unique axis of a monoclinic one open; none if it is no symbol of a tabulated setting.
    """
    found = _SUFFIX.fullmatch(symbol)
    base, suffix = (symbol, "") if found is None else (found[1], _suffix(found))
    named = [setting(hall) for hall in _symbols().get(_spelling(base), ())]
    choice = {"s": "1", "z": "2"}.get(suffix, suffix)
    chosen = [s for s in named if _is_choice(choice, s)]
    # a group with one origin has no choice of it to name
    if chosen or choice not in ("", "1", "2") or any(s.choice[:1] in ("1", "2") for s in named):
        named = chosen
    usual = [s for s in named if s.choice in ("", "1", "2")]
    return tuple(s.hall_number for s in usual or named)


def fitting(settings: Sequence[int], cell: Sequence[float]) -> tuple[int, ...]:
    """Those of some settings of one group whose axes a cell can have.

    Parameters
    ----------
    settings : Hall numbers.
    cell : lengths, and angles [degrees].

    Returns
    -------
    Hexagonal or rhombohedral axes by the cell, neither if it has neither; of the unique axes that
    are possible b, then c.
    """
    off = [abs(angle - 90) for angle in cell[3:]]
    axes = {setting(hall).choice for hall in settings} & {"H", "R"}
    tolerance = NAMED_AXES if len(axes) == 1 else OPEN_AXES
    by_axis: dict[str, list[int]] = defaultdict(list)
    for hall in settings:
        found = setting(hall)
        if found.choice in ("H", "R"):
            by_axis["" if _has_axes(cell, found.choice, tolerance) else "unfit"].append(hall)
            continue
        axis = _unique_axis(found)
        oblique = 0.0 if axis == "" else off["abc".index(axis)]
        fits = axis == "" or max(off) <= max(oblique, 0.01)
        by_axis[axis if fits else "unfit"].append(hall)
    return tuple(next((by_axis[axis] for axis in ("", "b", "c", "a") if by_axis[axis]), ()))


def _has_axes(cell: Sequence[float], choice: str, tolerance: float) -> bool:
    """Whether a cell has hexagonal (H) or rhombohedral (R) axes, angles within a tolerance."""
    lengths, angles = cell[:3], cell[3:]
    if choice == "H":
        return all(abs(x - y) < tolerance for x, y in zip(angles, (90, 90, 120), strict=True))
    # a length is as wrong as the angle by which its end is off
    alike = max(lengths) - min(lengths) < math.radians(tolerance) * max(lengths)
    return alike and max(angles) - min(angles) < tolerance


def _unique_axis(found: Setting) -> str:
    """Of a monoclinic setting; empty for the others."""
    return found.choice.lstrip("-")[:1] if 3 <= found.space_group <= 15 else ""


def _is_choice(wanted: str, found: Setting) -> bool:
    """Whether a setting is what a suffix names: its origin, or its choice in the tables."""
    choice = found.choice.lower()
    return wanted in ("", choice) or (wanted in ("1", "2") and choice.startswith(wanted))


def _symbols_of(found: Setting) -> Iterator[str]:
    """The spellings of the symbol of a setting."""
    full, group = found.full, found.space_group
    yield full
    lattice, *parts = full.split()
    if 3 <= group <= 15:
        if _unique_axis(found) in ("b", "c"):
            yield lattice + next(part for part in parts if part != "1")
        return
    if 16 <= group <= 74:
        short = lattice + "".join(part.split("/")[-1] for part in parts)
    else:
        short = found.international
    yield short
    if group in GLIDE_BEFORE_1992:
        letter = GLIDE_BEFORE_1992[group][AXES.index(found.choice.lstrip("12"))]
        yield from (short.replace("e", letter), full.replace("e", letter))
    if group in BAR_LEFT_OUT:
        yield from (short.replace("-3", "3"), full.replace("-3", "3"))


@cache
def _symbols() -> dict[str, list[int]]:
    symbols: dict[str, list[int]] = defaultdict(list)
    for hall in range(1, 531):
        for spelling in {_spelling(symbol) for symbol in _symbols_of(setting(hall))}:
            symbols[spelling].append(hall)
    return dict(symbols)


@cache
def _hall_symbols() -> dict[str, int]:
    symbols: dict[str, int] = {}
    for hall in range(1, 531):
        symbols.setdefault(_hall_spelling(setting(hall).hall_symbol), hall)
    return symbols


def _suffix(found: re.Match[str]) -> str:
    return next(group for group in found.groups()[1:] if group).lower()


def _spelling(symbol: str) -> str:
    """A Hermann-Mauguin symbol without what its writers differ in.

    ``P2(1)/c``, ``P 2~1~/c`` and ``*P 2_{1}/c`` are ``P 2_1/c``.
    """
    return re.sub(r"[\s_'\"(){}~*]", "", symbol).lower()


def _hall_spelling(symbol: str) -> str:
    """A Hall symbol with single blanks, and one sign for the double prime."""
    return " ".join(symbol.replace("_", " ").replace("=", '"').split()).lower()
