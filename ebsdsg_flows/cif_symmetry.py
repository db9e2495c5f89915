"""The symmetry that a CIF file states: operations, a Hall symbol, or only a space group."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ebsdsg_flows.atoms import StructureError
from ebsdsg_flows.space_group_names import fitting, setting_of_hall_symbol, settings_of_symbol
from ebsdsg_sim.symmetry import hall_number_for, setting, space_group_operations

_OPERATIONS = (
    "_space_group_symop_operation_xyz",
    "_symmetry_equiv_pos_as_xyz",
    "_space_group_symop.operation_xyz",
)
_HALL = ("_space_group_name_Hall", "_symmetry_space_group_name_Hall")
_NUMBER = ("_space_group_IT_number", "_symmetry_Int_Tables_number")
_HERMANN_MAUGUIN = (
    "_space_group_name_H-M_alt",
    "_symmetry_space_group_name_H-M",
    "_space_group_name_H-M",
)
_TERM = re.compile(r"([+-]?)(\d+/0*[1-9]\d*|\d*\.\d+|\d+\.?)?\*?([xyz])?")


@dataclass(frozen=True)
class SymmetryChoice:
    """Operations that a file may mean.

    Parameters
    ----------
    rotations : (n, 3, 3) on fractional coordinates
    translations : (n, 3)
    label : for messages, such as ``origin choice 2``
    symbol : of the space group, as far as known
    space_group : number that the file states
    note : what in the file was not used, for the notes of the document
    """

    rotations: np.ndarray
    translations: np.ndarray
    label: str
    symbol: str
    space_group: int | None
    note: str = ""


def symmetry_choices(
    name: str, data: dict[str, Any], cell: Sequence[float]
) -> list[SymmetryChoice]:
    """All ways to read the symmetry of a CIF block; more than one only if the origin is left open.

    Parameters
    ----------
    name : for messages
    data : items of the data block
    cell : lengths and angles, which tell hexagonal from rhombohedral axes

    Raises
    ------
    StructureError
        If no symmetry is stated, or it cannot be understood.
    """
    stated = _stated_number(name, data)
    operations = _first(data, _OPERATIONS)
    if operations is not None:
        texts = operations if isinstance(operations, list) else [operations]
        pairs = [parse_operation(name, str(text)) for text in texts]
        return [
            SymmetryChoice(
                np.array([rotation for rotation, _ in pairs]),
                np.array([translation for _, translation in pairs]),
                "the operations given",
                str(_first(data, _HERMANN_MAUGUIN) or stated or ""),
                stated,
            )
        ]
    hall, symbol = _first(data, _HALL), _first(data, _HERMANN_MAUGUIN)
    named = None if hall is None else setting_of_hall_symbol(str(hall))
    if named is not None:
        _check_number(name, f"the Hall symbol {str(hall)!r}", named, stated)
        return [_of_hall(named, "the Hall symbol")]
    settings = () if symbol is None else settings_of_symbol(str(symbol))
    note = "" if hall is None else _without_hall_symbol(name, str(hall), symbol, settings)
    if symbol is not None:
        if settings:
            _check_number(name, f"the symbol {str(symbol)!r}", settings[0], stated)
    else:
        settings = () if stated is None else _standard_settings(stated)
    if not settings:
        raise StructureError(
            f"{name}: no symmetry operations, and no space group that could be understood"
            + ("" if symbol is None else f" ({symbol} is the symbol of no tabulated setting)")
            + "; add _space_group_symop_operation_xyz to the file"
        )
    return [replace(choice, note=note) for choice in _of_settings(name, settings, cell)]


def hall_number_of(symmetry: SymmetryChoice) -> int | None:
    """Hall number of the setting whose operations a file states.

    Parameters
    ----------
    symmetry : operations, centring translations included, with the group's number.

    Returns
    -------
    1 to 530, or ``None`` if the operations are those of no tabulated setting of that group.
    """
    wanted = _operation_set(symmetry.rotations, symmetry.translations)
    for hall_number in range(1, 531):
        if symmetry.space_group in (None, setting(hall_number).space_group) and wanted == (
            _operation_set(*space_group_operations(hall_number))
        ):
            return hall_number
    return None


def _operation_set(rotations: np.ndarray, translations: np.ndarray) -> set[tuple[int, ...]]:
    """Operations in a form that can be compared: integers, translations in 1/24 of an edge."""
    steps = np.rint(translations * 24).astype(int) % 24
    turns = np.rint(rotations).astype(int).reshape(len(rotations), 9)
    return {tuple(row) for row in np.concatenate([turns, steps], axis=1).tolist()}


def parse_operation(name: str, text: str) -> tuple[np.ndarray, np.ndarray]:
    """Rotation (3, 3) and translation (3,) of an operation such as ``-y, x-y, z+1/3``.

    Raises
    ------
    StructureError
        If it is not one.
    """
    rows = text.strip().strip("'\"").lower().replace(" ", "").split(",")
    rotation, translation = np.zeros((3, 3)), np.zeros(3)
    if len(rows) != 3:
        raise StructureError(f"{name}: symmetry operation {text!r} must have three parts")
    for i, row in enumerate(rows):
        position = 0
        while position < len(row):
            term = _TERM.match(row, position)
            if term is None or term.end() == position or not (term.group(2) or term.group(3)):
                raise StructureError(f"{name}: symmetry operation {text!r} is not readable")
            sign = -1.0 if term.group(1) == "-" else 1.0
            above, _, below = (term.group(2) or "1").partition("/")
            value = sign * float(above) / float(below or 1)
            if term.group(3):
                rotation[i, "xyz".index(term.group(3))] += value
            else:
                translation[i] += value
            position = term.end()
    if round(abs(np.linalg.det(rotation)), 6) != 1:
        raise StructureError(f"{name}: symmetry operation {text!r} does not preserve volume")
    # 0.3333 means 1/3: crystallographic translations are multiples of 1/24 at most
    exact = np.round(translation * 24) / 24
    return rotation, np.where(abs(exact - translation) < 2e-3, exact, translation)


def _without_hall_symbol(name: str, hall: str, symbol: Any, settings: Sequence[int]) -> str:
    """Note on a Hall symbol that is in no table, beside a Hermann-Mauguin symbol that is."""
    if settings and "(" not in hall:
        return f"the Hall symbol {hall!r} is not known; read as {symbol}"
    raise StructureError(
        f"{name}: the Hall symbol {hall!r} "
        + ("has a change of basis" if "(" in hall else "is that of no tabulated setting")
        + ", from which no operations can be had; add _space_group_symop_operation_xyz to the file"
    )


def _check_number(name: str, what: str, hall: int, stated: int | None) -> None:
    """Refuse a symbol that is of another space group than the number in the file."""
    found = setting(hall)
    if stated is not None and found.space_group != stated:
        raise StructureError(
            f"{name}: {what} is that of space group {found.space_group}, the number in the file is "
            f"{stated}: correct one of them, or add _space_group_symop_operation_xyz to the file"
        )


def _standard_settings(number: int) -> tuple[int, ...]:
    """Settings that the number of a space group alone can mean: both origins, both R axes."""
    origins = {hall_number_for(number, choice) for choice in (1, 2)}
    rhombohedral = {
        hall
        for hall in range(1, 531)
        if setting(hall).space_group == number and setting(hall).rhombohedral_axes
    }
    return tuple(sorted(origins | rhombohedral))


def _of_settings(name: str, settings: Sequence[int], cell: Sequence[float]) -> list[SymmetryChoice]:
    """Those of the named settings that the cell can have; several only if the origin is open."""
    possible = fitting(settings, cell)
    if not possible:
        found = setting(settings[0])
        trigonal = found.choice in ("H", "R")
        shown = ([10 * x for x in cell[:3]] if trigonal else []) + list(cell[3:])
        raise StructureError(
            f"{name}: the {'lengths and ' if trigonal else ''}angles of the cell, "
            f"{', '.join(f'{x:g}' for x in shown)}, are not those of {found.full} "
            f"({found.space_group}{_axes(settings)}): correct the symbol, or add "
            "_space_group_symop_operation_xyz to the file"
        )
    if len(possible) == 1:
        return [_of_hall(possible[0], "the setting named")]
    return [_of_hall(hall, f"choice {setting(hall).choice}") for hall in possible]


def _axes(settings: Sequence[int]) -> str:
    """For messages: the axes of a rhombohedral group that settings leave."""
    words = {"H": "hexagonal", "R": "rhombohedral"}
    named = [words[choice] for hall in settings if (choice := setting(hall).choice) in words]
    return f", {' or '.join(named)} axes" if named else ""


def _of_hall(hall: int, label: str) -> SymmetryChoice:
    rotations, translations = space_group_operations(hall)
    found = setting(hall)
    return SymmetryChoice(rotations, translations, label, found.international, found.space_group)


def _first(data: dict[str, Any], keys: Sequence[str]) -> Any:
    """Value of the first key that says something."""
    for key in keys:
        value = data.get(key)
        if value is not None and str(value).strip(" ?.'\"") != "":
            return value
    return None


def _stated_number(name: str, data: dict[str, Any]) -> int | None:
    value = _first(data, _NUMBER)
    if value is None:
        return None
    text = str(value).strip()
    if not text.isdigit() or not 1 <= int(text) <= 230:
        raise StructureError(f"{name}: space-group number {text!r} must be from 1 to 230")
    return int(text)
