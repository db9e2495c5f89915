"""Stand-in for EMmkxtal: asks its questions in its words, and writes what it understood."""

from __future__ import annotations

import os
import sys
import time

from control import orders
from fortran import first_item, hdf_error, numbers, run_time_error, segmentation_fault

BANNER = """

 Copyright (C) 2001-2021 Marc De Graef Research Group/CMU
 EMsoft comes with ABSOLUTELY NO WARRANTY.

 Program name         : EMmkxtal.f90
 Source code version  : 5_0_4_d50c973

 Select the crystal system :
  1. Cubic
  5. Trigonal
  7. Triclinic

 crystal system 5 above, you will be prompted for the setting.


  crystal system --->"""
LABELS = {
    "a": "a [nm] =",
    "b": "b [nm] =",
    "c": "c [nm] =",
    "alpha": "alpha [deg] =",
    "beta": "beta  [deg] =",
    "gamma": "gamma [deg] =",
}
FREE = {1: "a", 2: "a c", 3: "a b c", 4: "a c", 5: "a c", 7: "a b c alpha beta gamma"}
RANGES = {1: (195, 230), 2: (75, 142), 3: (16, 74), 4: (168, 194), 5: (143, 167), 7: (1, 2)}
RHOMBOHEDRAL = (146, 148, 155, 160, 161, 166, 167)
TWO_ORIGINS = (
    *(48, 50, 59, 68, 70, 85, 86, 88, 125, 126, 129, 130, 133, 134, 137, 138, 141, 142),
    *(201, 203, 222, 224, 227, 228),
)


def ask(text: str) -> str:
    sys.stdout.write(text)
    sys.stdout.flush()
    while True:
        line = sys.stdin.readline()
        if not line:
            run_time_error("273 of file io.f90 (unit = 5, file = 'stdin')", "End of file")
        if line.strip():
            return line.rstrip("\n")


def ask_integer(text: str) -> int:
    line = ask(text)
    try:
        return int(first_item(line))
    except ValueError:
        run_time_error(
            "273 of file <EMSOFT>/src/Source/EMsoftLib/io.f90 (unit = 5, file = 'stdin')",
            "Bad integer for item 1 in list input",
        )
        raise


def cell_of(system: int, values: dict[str, float], rhombohedral: bool) -> list[float]:
    a = values["a"]
    b, c = values.get("b", a), values.get("c", a)
    if rhombohedral:
        return [a, a, a, *[values["alpha"]] * 3]
    if system in (4, 5):
        return [a, a, c, 90.0, 90.0, 120.0]
    return [a, b, c, *(values.get(angle, 90.0) for angle in ("alpha", "beta", "gamma"))]


def dialogue() -> dict[str, object]:
    system = ask_integer(BANNER)
    rhombohedral = False
    if system == 5:
        text = " \nEnter 1 for rhombohedral setting ,\n 0 for hexagonal setting :"
        rhombohedral = ask_integer(text) == 1
    names = "a alpha" if rhombohedral else FREE.get(system, "a b c beta")
    values = {}
    lead = " \n\nEnter lattice parameters\n"
    for name in names.split():
        values[name] = numbers(ask(f"{lead}     {LABELS[name]}"))[0]
        lead = " "
    first, last = RANGES.get(system, (3, 15))
    sys.stdout.write(f" \n\n\n {first}: .. {last}:\n --------------------------\n")
    group = ask_integer("  Enter space group number :")
    while not (first <= group <= last):
        sys.stdout.write(" Error in space group number\nCrystal system / space group mismatch\n")
        group = ask_integer(" --------------------------\n  Enter space group number :")
    setting = 1
    if group in TWO_ORIGINS:
        sys.stdout.write("  ---------------------------------------------\n")
        sys.stdout.write(" This space group has two origin settings.\n")
        setting = ask_integer("  Which setting do you wish to use (1/2)")
    if rhombohedral and group in RHOMBOHEDRAL:
        group = 231 + RHOMBOHEDRAL.index(group)
    sys.stdout.write(" \n Enter atoms in asymmetric unit\n\n1:H      2:He\n")
    atoms, rows = [], []
    while True:
        atoms.append(ask_integer("  ->  Atomic number :"))
        line = ask(
            "  ->  Fractional coordinates, site occupation, and Debye-Waller Factor [nm^2] :"
        )
        row = numbers(line)
        if len(row) < 5:
            run_time_error("1399 of file <EMSOFT>/src/Source/EMsoftLib/crystal.f90", "End of file")
        row = [value % 1.0 for value in row[:3]] + [row[3] or 1.0, row[4] or 0.004]
        rows.append(row)
        sys.stdout.write("     ->" + "".join(f"{value:11.7f} " for value in row) + "\n")
        if ask("  ->  Another atom ? (y/n)").strip()[:1] not in ("y", "Y"):
            break
    name = first_item(ask("  Enter output file name (*.xtal)"))
    source = first_item(ask("  Enter the source for this data [max. 512 characters]"))
    sys.stdout.write(f"  Source = {source}\n")
    sys.stdout.flush()
    return {
        "system": system,
        "cell": cell_of(system, values, rhombohedral),
        "group": group,
        "setting": setting,
        "atoms": atoms,
        "rows": rows,
        "name": name,
        "source": source,
    }


def write(path: str, said: dict[str, object]) -> None:
    import h5py
    import numpy as np

    text = h5py.string_dtype("ascii")
    with h5py.File(path, "w") as file:
        group = file.create_group("CrystalData")
        for name, value in (
            ("CrystalSystem", said["system"]),
            ("SpaceGroupNumber", said["group"]),
            ("SpaceGroupSetting", said["setting"]),
            ("Natomtypes", len(said["atoms"])),
        ):
            group[name] = np.array([value], dtype=np.int32)
        group["LatticeParameters"] = np.array(said["cell"])
        group["Atomtypes"] = np.array(said["atoms"], dtype=np.int32)
        group["AtomData"] = np.array(said["rows"], dtype=np.float32).T
        for name, value in (
            ("Source", said["source"].encode()),
            ("ProgramName", b"EMmkxtal.f90"),
            ("Creator", b"Ref"),
            ("CreationDate", b"Nov 22 202610:39:46.156 AM \xc8\x9b$WU"),
            ("CreationTime", b"10:39:46.156 AM\xe0\x06\x9c$WU"),
        ):
            group.create_dataset(name, data=[value], dtype=text)


def main() -> None:
    said = dialogue()
    path = os.path.join(os.environ["EMXTALFOLDERPATHNAME"], said["name"])
    if not os.path.isdir(os.path.dirname(path)):
        hdf_error(f"HDF_createFile:h5fcreate_f:{path}", f"SaveDataHDF:HDF_createFile:{path}")
        segmentation_fault()
    order = orders("EMmkxtal", said["name"])
    if order.get("do") == "hang":
        time.sleep(3600)
    if order.get("do") == "other crystal":
        said["rows"][0][4] *= 2
    write(path, said)


if __name__ == "__main__":
    main()
