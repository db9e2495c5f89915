"""Stand-in for EMMC, the Monte Carlo program for CPUs: other namelist, same file."""

from __future__ import annotations

import os

from control import orders
from emmcopencl import KEYS, write
from fortran import fatal, read_namelist
from screen import misbehave, need_crystal, print_crystal, say, start, xtal_file

CPU_KEYS: dict[str, object] = {
    **{"xtalname": "undefined", "sig": 70.0, "omega": 0.0, "numsx": 1501, "primeseed": 932117},
    **{"num_el": 12500000, "nthreads": 1, "EkeV": 30.0, "Ehistmin": 5.0, "Ebinsize": 0.5},
    **{"depthmax": 100.0, "depthstep": 1.0, "MCmode": "CSDA", "dataname": "MCoutput.data"},
    "stdout": 6,
}


def main() -> None:
    from reference import read_crystal

    name = start("EMMC")
    values = read_namelist(name, "MCdata", CPU_KEYS)
    if values["xtalname"] == "undefined":
        fatal("EMMC:", f" structure file name is undefined in {os.path.basename(name)}")
    need_crystal(xtal_file(str(values["xtalname"])))
    print_crystal(read_crystal(xtal_file(str(values["xtalname"]))))
    misbehave(orders("EMMC", str(values["xtalname"])))
    total = int(values["num_el"]) * int(values["nthreads"])
    counted = write({**KEYS, **values, "num_el": 10, "totnum_el": total}, "EMMC", 1.0)
    say(f"Total number of BSE electrons = {counted:14d}")
    say("Total execution time [s] =                    1")


if __name__ == "__main__":
    main()
