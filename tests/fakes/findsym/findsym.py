"""Stand-in for FINDSYM: reads its file of keywords, finds the group with spglib, writes its CIF.

The form of the CIF is that of files published from FINDSYM 7.1; the numbers are spglib's, taken to
another description of the same crystal if FINDSYM_STAND_IN (JSON) has a ``shift``.  Other orders:
``do`` = ``hang``, ``no cif``, ``print`` (CIF on the screen only), ``displace``, ``lower``.
"""

from __future__ import annotations

import json
import os
import sys
import time

import numpy as np
import spglib

SINGLE = ("title", "latticeTolerance", "atomicPositionTolerance", "unitCellCentering", "atomCount")
KNOWN = (*SINGLE, "useKeyWords", "latticeBasisVectors", "atomType", "atomPosition")


def bombed(text: str) -> None:
    """FINDSYM tells its errors on the screen and ends as if all were well."""
    print(f"Error: {text}\nProgram has bombed")
    sys.exit(0)


def read(path: str) -> dict[str, list[str]]:
    with open(path, encoding="ascii") as file:
        lines = [line.strip() for line in file if line.strip()]
    if lines[0] != "!useKeyWords":
        bombed("only the input with keywords is understood")
    found: dict[str, list[str]] = {}
    for line in lines:
        if line.startswith("!"):
            word = line[1:]
            if word not in KNOWN:
                bombed(f"unknown keyword {line}")
            found[word] = []
        else:
            found[word].append(line)
    for word in KNOWN:
        if word not in found or (word in SINGLE and len(found[word]) != 1):
            bombed(f"bad or missing keyword !{word}")
    return found


def types(words: list[str]) -> list[str]:
    """``4*Na Cl`` is four of one and one of the other."""
    elements: list[str] = []
    for word in " ".join(words).split():
        count, _, element = word.rpartition("*")
        elements += [element] * int(count or 1)
    return elements


def matrix(lines: list[str]) -> np.ndarray:
    return np.array([[float(x) for x in line.split()] for line in lines])


def standard_hall(number: int) -> int:
    """Unique axis b, hexagonal axes, origin choice 2: FINDSYM's defaults."""
    settings = [spglib.get_spacegroup_type(h) for h in range(1, 531)]
    same = [(h, s) for h, s in enumerate(settings, 1) if s.number == number]
    return next((h for h, s in same if s.choice == "2"), same[0][0])


def term(row: np.ndarray, shift: float) -> str:
    text = "".join(
        ("-" if value < 0 else "+") + name for value, name in zip(row, "xyz", strict=True) if value
    ).removeprefix("+")
    top = round(shift * 24) % 24
    if not top:
        return text
    divisor = np.gcd(top, 24)
    return f"{text}+{top // divisor}/{24 // divisor}"


def cif(symbol: str, number: int, hall: int, lattice: np.ndarray, atoms: list[tuple]) -> str:
    lengths = np.linalg.norm(lattice, axis=1)
    unit = lattice / lengths[:, None]
    angles = np.degrees(np.arccos([unit[1] @ unit[2], unit[0] @ unit[2], unit[0] @ unit[1]]))
    lines = ["# CIF file created by FINDSYM, version 7.1.3", "", "data_findsym-output"]
    lines += ["_audit_creation_method FINDSYM", ""]
    lines += [f"_cell_length_{n}    {x:.10f}" for n, x in zip("abc", lengths, strict=True)]
    names = ("alpha", "beta ", "gamma")
    lines += [f"_cell_angle_{n} {x:.10f}" for n, x in zip(names, angles, strict=True)]
    lines += [f"_cell_volume      {abs(np.linalg.det(lattice)):.10f}", ""]
    lines += [f'_symmetry_space_group_name_H-M "{symbol}"', f"_symmetry_Int_Tables_number {number}"]
    lines += [f"_space_group.reference_setting '{number:03d}:{symbol}'"]
    lines += ["_space_group.transform_Pp_abc a,b,c;0,0,0", "", "loop_", "_space_group_symop_id"]
    lines += ["_space_group_symop_operation_xyz"]
    operations = spglib.get_symmetry_from_database(hall)
    pairs = zip(operations["rotations"], operations["translations"], strict=True)
    for n, (rotation, shift) in enumerate(pairs, 1):
        lines.append(f"{n} {','.join(map(term, rotation, shift))}")
    lines += ["", "loop_"]
    lines += [f"_atom_site_{n}" for n in ("label", "type_symbol", "symmetry_multiplicity")]
    lines += [f"_atom_site_{n}" for n in ("Wyckoff_symbol", "fract_x", "fract_y", "fract_z")]
    lines += ["_atom_site_occupancy", "_atom_site_fract_symmform"]
    for n, (element, multiplicity, letter, position) in enumerate(atoms, 1):
        x = " ".join(f"{value:.10f}" for value in position)
        lines.append(f"{element}{n} {element} {multiplicity} {letter} {x} 1.0000000000 0,0,0")
    return "\n".join([*lines, "", "# end of cif", ""])


def main() -> None:
    order = json.loads(os.environ.get("FINDSYM_STAND_IN", "{}"))
    print("FINDSYM, Version 7.1.3, stand-in")
    if not os.path.isdir(os.environ.get("ISODATA", "")) or not os.environ["ISODATA"].endswith("/"):
        bombed("cannot open data_space.txt: ISODATA is not set")
    given = read(sys.argv[1])
    lattice = matrix(given["latticeBasisVectors"])
    elements, positions = types(given["atomType"]), matrix(given["atomPosition"])
    if len(elements) != len(positions) or len(elements) != int(given["atomCount"][0]):
        bombed("the number of atoms is wrong")
    tolerance = float(given["atomicPositionTolerance"][0])
    if order.get("do") == "hang":
        time.sleep(600)
    if order.get("do") == "no cif":
        bombed("not able to find the space group")
    kinds = sorted(set(elements))
    numbers = [kinds.index(element) + 1 for element in elements]
    if order.get("do") == "lower":
        positions[0] += (0.05, 0.02, 0.01)
    cell = (lattice, positions, numbers)
    first = spglib.get_symmetry_dataset(cell, symprec=tolerance)
    hall = standard_hall(first.number)
    found = spglib.get_symmetry_dataset(cell, symprec=tolerance, hall_number=hall)
    standard = (found.std_lattice, found.std_positions, found.std_types)
    whole = spglib.get_symmetry_dataset(standard, symprec=tolerance, hall_number=hall)
    shift = np.array(order.get("shift", [0, 0, 0]), dtype=float)
    atoms = []
    for i in sorted(set(whole.equivalent_atoms.tolist())):
        position = (found.std_positions[i] + shift) % 1.0
        if order.get("do") == "displace" and not atoms:
            position = (position + 0.25) % 1.0
        count = int((whole.equivalent_atoms == i).sum())
        atoms.append((kinds[found.std_types[i] - 1], count, whole.wyckoffs[i], position))
    text = cif(first.international, first.number, hall, found.std_lattice, atoms)
    print(f"Space Group {first.number} {first.international}")
    print("------------------------------------------")
    print(text)
    if order.get("do") != "print":
        with open("findsym.cif", "w", encoding="ascii") as file:
            file.write(text)


if __name__ == "__main__":
    main()
