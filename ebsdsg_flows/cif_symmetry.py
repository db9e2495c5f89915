"""The symmetry that a CIF file states: operations, a Hall symbol, or only a space group."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ebsdsg_flows.atoms import StructureError
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
_TERM = re.compile(r"([+-]?)(\d+/\d+|\d*\.\d+|\d+\.?)?\*?([xyz])?")


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
    """

    rotations: np.ndarray
    translations: np.ndarray
    label: str
    symbol: str
    space_group: int | None


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
    hall = _first(data, _HALL)
    if hall is not None and _squeeze(str(hall)) in _hall_symbols():
        return [_of_hall(_hall_symbols()[_squeeze(str(hall))], "the Hall symbol")]
    symbol = _first(data, _HERMANN_MAUGUIN)
    base, suffix = _split_suffix(str(symbol)) if symbol is not None else ("", "")
    number = stated if stated is not None else _numbers_by_symbol().get(base)
    if number is None:
        raise StructureError(
            f"{name}: no symmetry operations, and no space group that could be understood"
            + (f" ({symbol})" if symbol is not None else "")
            + "; add _space_group_symop_operation_xyz to the file"
        )
    return _of_group(name, number, suffix, cell)


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


def _of_group(name: str, number: int, suffix: str, cell: Sequence[float]) -> list[SymmetryChoice]:
    """Settings of a space group of which only number or symbol, and perhaps a suffix, is known."""
    first, second = (hall_number_for(number, choice) for choice in (1, 2))
    if first != second:
        labelled = {"1": first, "2": second, "s": first, "z": second}
        if suffix in labelled:
            return [_of_hall(labelled[suffix], f"origin choice {setting(labelled[suffix]).choice}")]
        return [_of_hall(hall, f"choice {i}") for i, hall in ((1, first), (2, second))]
    rhombohedral = [h for h in range(1, 531) if _is_rhombohedral(h, number)]
    hexagonal_cell = abs(cell[5] - 120) < 0.01 and abs(cell[3] - 90) < 0.01
    if rhombohedral and not hexagonal_cell:
        return [_of_hall(rhombohedral[0], "rhombohedral axes")]
    if 3 <= number <= 15 and abs(cell[4] - 90) < 0.01 and abs(cell[5] - 90) > 0.01:
        raise StructureError(
            f"{name}: space group {number} with a unique axis that is not b needs its symmetry "
            "operations in the file"
        )
    return [_of_hall(first, "the standard setting")]


def _is_rhombohedral(hall: int, number: int) -> bool:
    found = setting(hall)
    return found.space_group == number and found.rhombohedral_axes


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


def _squeeze(symbol: str) -> str:
    return re.sub(r"[\s_'\"]", "", symbol).lower()


def _split_suffix(symbol: str) -> tuple[str, str]:
    """Symbol without spaces, and what follows its colon (or a final S, Z, H or R)."""
    base, _, suffix = _squeeze(symbol).partition(":")
    return base, suffix[:1]


@cache
def _hall_symbols() -> dict[str, int]:
    """Hall number by Hall symbol; of identical symbols the first."""
    symbols: dict[str, int] = {}
    for hall in range(1, 531):
        symbols.setdefault(_squeeze(setting(hall).hall_symbol), hall)
    return symbols


@cache
def _numbers_by_symbol() -> dict[str, int]:
    """Space-group number by short Hermann-Mauguin symbol."""
    return {_squeeze(setting(hall_number_for(n)).international): n for n in range(1, 231)}
