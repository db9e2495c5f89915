"""Stand-in for EMMC, the Monte Carlo program for CPUs: its own namelist, keys and last lines.

They are those of EMsoft 5.0's ``Source/SEM/EMMC.f90``, of which there is no recorded run.
"""

from __future__ import annotations

import os

from control import orders
from emmcopencl import write
from fortran import fatal, read_namelist
from screen import misbehave, need_crystal, print_crystal, say, start, xtal_file

CPU_KEYS: dict[str, object] = {
    **{"xtalname": "undefined", "sig": 70.0, "omega": 0.0, "numsx": 1501, "primeseed": 932117},
    **{"num_el": 12500000, "nthreads": 1, "EkeV": 30.0, "Ehistmin": 5.0, "Ebinsize": 0.5},
    **{"depthmax": 100.0, "depthstep": 1.0, "MCmode": "CSDA", "dataname": "MCoutput.data"},
    "stdout": 6,
}
STORED = (
    *("stdout", "numsx", "primeseed", "num_el", "nthreads", "totnum_el", "sig", "omega", "EkeV"),
    *("Ehistmin", "Ebinsize", "depthmax", "depthstep", "MCmode", "xtalname", "dataname", "mode"),
)
"""What ``HDFwriteMCNameList`` of EMsoft's ``NameListHDFwriters.f90`` writes."""


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
    say(f" Attempting to set number of threads to {values['nthreads']:4d}")
    stored = {**values, "mode": "full", "totnum_el": total, "multiplier": 1}
    counted = write(stored, "EMMC", 1.0, STORED, ("accumSP",))
    say(f" \n All threads complete; saving data to file {values['dataname']}")
    say(f" Total number of electrons generated = {total:15d}")
    say(f" Number of electrons on detector       = {counted:15d}")


if __name__ == "__main__":
    main()
