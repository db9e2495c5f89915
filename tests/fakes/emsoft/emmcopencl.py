"""Stand-in for EMMCOpenCL: reads its namelist and crystal, writes a Monte Carlo file at the end."""

from __future__ import annotations

import os
import time

from control import orders
from fortran import fatal, hdf_error, read_namelist, run_time_error, segmentation_fault
from screen import data_file, misbehave, need_crystal, print_crystal, say, start, xtal_file

KEYS: dict[str, object] = {
    **{"mode": "full", "xtalname": "undefined", "numsx": 1501, "sig": 70.0, "omega": 0.0},
    **{"sigstart": 70.0, "sigend": 70.0, "sigstep": 1.0, "ivolx": 1001, "ivoly": 1001},
    **{"ivolz": 101, "ivolstepx": 1.0, "ivolstepy": 1.0, "ivolstepz": 1.0, "num_el": 10},
    **{"platid": 1, "devid": 1, "globalworkgrpsz": 100, "totnum_el": 2000000000},
    **{"multiplier": 1, "EkeV": 30.0, "Ehistmin": 5.0, "Ebinsize": 0.5, "depthmax": 100.0},
    **{"depthstep": 1.0, "dataname": "MCoutput.data", "Notify": "Off", "MCmode": "CSDA"},
    "stdout": 6,
}
STORED = (
    *("Ebinsize", "Ehistmin", "EkeV", "MCmode", "dataname", "depthmax", "depthstep", "devid"),
    *("globalworkgrpsz", "ivolx", "ivoly", "ivolz", "mode", "multiplier", "num_el", "numsx"),
    *("omega", "platid", "sig", "stdout", "totnum_el", "xtalname"),
)
SEEDS = 360004


def check(values: dict[str, object], name: str) -> None:
    if values["xtalname"] == "undefined":
        fatal("EMMC:", f" structure file name is undefined in {name}")
    need_crystal(xtal_file(str(values["xtalname"])))
    for resource in ("opencl/EMMC.cl", "resources/RandomSeeds.data"):
        path = os.path.join(os.environ["EMSOFTPATHNAME"], resource)
        if not os.path.isfile(path):
            run_time_error(
                "362 of file <EMSOFT>/src/Source/SEM/EMMCOpenCL.f90 (unit = 10)",
                f"Cannot open file '{path}': No such file or directory",
            )
    if values["platid"] > 1:
        fatal("CLinit_PDCCQ", "non-existing platform id requested")
    if values["mode"] != "full":
        say("STOP Unknown mode specified in namelist file")
        os._exit(0)
    if 4 * int(values["globalworkgrpsz"]) ** 2 > SEEDS:
        fatal("EMMCOpenCL:", "insufficient prime number seeds")
    if values["num_el"] < 4:
        fatal("DoMCsimulation", "clEnqueueWriteBuffer: Error: CL_INVALID_VALUE")


def write(
    values: dict[str, object],
    program: str,
    seconds: float,
    stored: tuple[str, ...] = STORED,
    arrays_left_out: tuple[str, ...] = (),
) -> int:
    """Write the file; returns the number of backscattered electrons."""
    import h5py
    import numpy as np
    from reference import histograms, put, reference

    path = data_file(str(values["dataname"]))
    xtal = xtal_file(str(values["xtalname"]))
    if not os.path.isdir(os.path.dirname(path)):
        hdf_error(f"HDF_createFile:h5fcreate_f:{path}")
        segmentation_fault()
    with h5py.File(xtal, "r") as crystal, h5py.File(path, "w") as file:
        crystal.copy("CrystalData", file)
        energies = round((values["EkeV"] - values["Ehistmin"]) / values["Ebinsize"]) + 1
        depths = round(values["depthmax"] / values["depthstep"]) + 1
        arrays = histograms(
            reference(crystal["CrystalData"]),
            energies,
            depths,
            values["numsx"],
            values["totnum_el"] * values["multiplier"],
        )
        group = file.create_group("EMData/MCOpenCL")
        group.attrs["HDF_FileVersion"] = np.array([b"4.0"])
        for name, value in arrays.items():
            if name not in arrays_left_out:
                group[name] = value
        for name in ("multiplier", "totnum_el"):
            put(group, name, values[name])
        put(group, "numEbins", energies)
        put(group, "numzbins", depths)
        header = file.create_group("EMheader/MCOpenCL")
        for name, value in (
            ("Date", "Nov 22 2026"),
            ("HostName", "vm"),
            ("ProgramName", f"{program}.f90"),
            ("StartTime", "Nov 22 2026, 11:38:29.717 AM"),
            ("StopTime", "Nov 22 2026, 11:39:19.190 AM"),
            ("UserEmail", "ref@localhost"),
            ("UserLocation", "localhost"),
            ("UserName", "Ref"),
            ("Version", "5_0_4_d50c973"),
        ):
            put(header, name, value)
        header["Duration"] = np.array([seconds], dtype=np.float32)
        names = file.create_group("NMLparameters/MCCLNameList")
        for name in stored:
            put(names, name, values[name])
        text = [f" {name} = {value}".encode() for name, value in values.items()]
        file.create_dataset(
            "NMLfiles/MCOpenCLNML", data=[b" &MCCLdata", *text], dtype=h5py.string_dtype("ascii")
        )
        return int(arrays["accum_e"].sum())


def main() -> None:
    from reference import read_crystal

    begun = time.monotonic()
    name = start("EMMCOpenCL")
    values = read_namelist(name, "MCCLdata", KEYS)
    say(f" {os.path.basename(name)}")
    check(values, name)
    print_crystal(read_crystal(xtal_file(str(values["xtalname"]))))
    order = orders("EMMCOpenCL", str(values["xtalname"]))
    misbehave(order)
    say(" OpenCL source file set to : EMMC.cl\nProgram Build Successful... Creating kernel")
    say("Monte Carlo mode set to full. Performing full calculation...\n")
    counted = write(values, "EMMCOpenCL", time.monotonic() - begun)
    say(f"Total number of incident electrons = {values['totnum_el']:14d}")
    say(f"Total number of BSE electrons = {counted:14d}")
    say(f"Backscatter yield = {counted / int(values['totnum_el']):14.6f}")
    say("Total execution time [s] =                    1")


if __name__ == "__main__":
    main()
