"""Stand-in for EMEBSD: patterns of the reference data, after the checks that EMsoft makes."""

from __future__ import annotations

import os

from control import orders
from fortran import fatal, hdf_error, read_namelist, run_time_error
from screen import data_file, misbehave, need_crystal, say, start, xtal_file

KEYS: dict[str, object] = {
    **{"L": 20000.0, "thetac": 0.0, "delta": 25.0, "numsx": 0, "numsy": 0, "xpc": 0.0, "ypc": 0.0},
    **{"alphaBD": 0.0, "energymin": 15.0, "energymax": 30.0, "includebackground": "y"},
    **{"anglefile": "undefined", "masterfile": "undefined", "datafile": "undefined"},
    **{"anglefiletype": "orientations", "eulerconvention": "tsl", "bitdepth": "8bit"},
    **{"beamcurrent": 14.513, "dwelltime": 100.0, "poisson": "n", "binning": 1, "nthreads": 1},
    **{"applyDeformation": "n", "Fframe": "crys", "scalingmode": "not", "gammavalue": 1.0},
    **{"makedictionary": "y", "maskpattern": "n", "maskradius": 240, "hipassw": 0.05},
    **{"nregions": 10, "energyaverage": 0, "spatialaverage": "n", "outputformat": "gui"},
    **{"energyfile": "undefined", "stdout": 6},
}


def main() -> None:
    import h5py
    import numpy as np

    name = start("EMEBSD")
    values = read_namelist(name, "EBSDdata", KEYS)
    if values["numsx"] == 0:
        fatal("GetEBSDNameList:", f" pattern size numsx is zero {os.path.basename(name)}")
    for key in ("anglefile", "masterfile", "datafile"):
        if values[key] == "undefined":
            fatal("GetEBSDNameList:", f" output file name is undefined in {name}")
    angles = data_file(str(values["anglefile"]))
    if not os.path.isfile(angles):
        run_time_error("142 of file EBSDmod.f90 (unit = 21)", f"Cannot open file '{angles}'")
    with open(angles, encoding="ascii") as file:
        kind, count, *rows = file.read().split("\n")
    number = int(count) if kind.strip() in ("eu", "qu") else 0
    if len([row for row in rows if row.strip()]) < number:
        run_time_error("160 of file EBSDmod.f90 (unit = 21)", "End of file")
    say(f"Number of angle entries = {number:11d}\ncompleted reading Euler angles")
    master = data_file(str(values["masterfile"]))
    if not os.path.isfile(master):
        fatal("readEBSDMonteCarloFile", "Monte Carlo input file does not exist")
    with h5py.File(master, "r") as file:
        if "EMData/EBSDmaster" not in file:
            text = "This HDF file does not contain Master Pattern header data"
            fatal("ComputeMasterPattern", text)
        xtal = file["NMLparameters/MCCLNameList/xtalname"][0].decode().strip()
    say(" -> completed detector generation")
    need_crystal(xtal_file(xtal))
    order = orders("EMEBSD", xtal)
    misbehave(order)
    output = data_file(str(values["datafile"]))
    if not os.path.isdir(os.path.dirname(output)):
        hdf_error(f"HDF_createFile:h5fcreate_f:{output}")
        say("STOP Unrecoverable Error")
        os._exit(0)
    source = os.path.join(os.environ["EMSOFT_STAND_IN_DATA"], "..", "patterns", "Ni_lin.h5")
    with h5py.File(source, "r") as file:
        patterns = file["EMData/EBSD/EBSDPatterns"][:number, : values["numsy"], : values["numsx"]]
    if order.get("do") == "empty":
        patterns = np.zeros_like(patterns)
    with h5py.File(output, "w") as file:
        file["EMData/EBSD/EBSDPatterns"] = patterns.astype(np.float32)
        file["EMData/EBSD/numangles"] = np.array([number], dtype=np.int32)
    if number:
        say("Completed cycle   1 of    1")
    say("Execution time [system_clock()] =       0 [s]")


if __name__ == "__main__":
    main()
