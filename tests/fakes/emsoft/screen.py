"""What every EMsoft program prints, and how it misbehaves when it was told to."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping

import numpy as np
from fortran import fatal, hdf_error, run_time_error, segmentation_fault

BANNER = """
 Copyright (C) 2001-2021 Marc De Graef Research Group/CMU
 EMsoft comes with ABSOLUTELY NO WARRANTY.

 Program name         : {program}.f90
 Source code version  : 5_0_4_d50c973

 Nov 22 2026  10:54:27.102 AM

Number of command line arguments detected:           1"""


def say(text: str = "") -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def start(program: str) -> str:
    """Print the banner; returns the name of the namelist file."""
    say(BANNER.format(program=program))
    for name in ("EMSOFTPATHNAME", "EMXTALFOLDERPATHNAME", "EMDATAPATHNAME"):
        if not os.environ.get(name):
            sys.stderr.write("STOP 99901\n")
            sys.stderr.flush()
            os._exit(61)
    return sys.argv[1] if len(sys.argv) > 1 else f"{program}.nml"


def data_file(name: str) -> str:
    return os.environ["EMDATAPATHNAME"] + str(name)


def xtal_file(name: str) -> str:
    return name if os.path.isabs(name) else os.environ["EMXTALFOLDERPATHNAME"] + name


def need_crystal(path: str) -> None:
    """Crash as EMsoft does if there is no such crystal file."""
    if not os.path.isfile(path):
        hdf_error(f"HDF_openFile:H5Fopen_f:{path}", f"ReadDataHDF:HDF_openFile:{path}")
        segmentation_fault()


def print_crystal(crystal: Mapping[str, np.ndarray]) -> None:
    """The crystal as EMsoft sees it; bytes that are not UTF-8 come along as they do there."""
    from ebsdsg_sim.crystal import Crystal, Site
    from ebsdsg_sim.elements import element_symbol
    from ebsdsg_sim.symmetry import hall_number_for

    rows = crystal["AtomData"].T.astype(float)
    group = int(crystal["SpaceGroupNumber"][0])
    if group > 230:
        say("========Program Aborted========")
        os._exit(0)
    sites = [
        Site(element_symbol(int(z)), tuple(row[:3]), round(row[3], 6), round(row[4], 7))
        for z, row in zip(crystal["Atomtypes"], rows, strict=True)
    ]
    hall = hall_number_for(group, int(crystal["SpaceGroupSetting"][0]))
    cell = Crystal("x", tuple(crystal["LatticeParameters"]), group, hall, tuple(sites))
    say("\n-->Crystal Structure Information<--")
    say(f"  a [nm]             :  {cell.cell[0]:.5f}")
    say(f"  Space group #      : {group:3d}")
    sys.stdout.buffer.write(b"\x00\xff\xf7\xe5\n")
    say(f" Total number of atoms in the unit cell : {cell.n_atoms:11d}\n")
    say(f"Density, avZ, avA = {cell.density:9.5f} {cell.mean_atomic_number:9.5f},  1.0")


def misbehave(order: Mapping[str, object]) -> None:
    """Carry out an order that ends, delays or blocks the program."""
    do = order.get("do")
    if do in ("ignore SIGTERM", "ignore SIGTERM and wait"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if do in ("hang", "hang in energy"):
        time.sleep(3600)
    if do in ("slow", "ignore SIGTERM and wait"):
        # busy, as a calculation is
        until = time.monotonic() + float(order.get("seconds", 3600))
        while time.monotonic() < until:
            sum(range(20000))
            time.sleep(0.02)
    if do == "crash":
        segmentation_fault()
    if do == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if do == "out of memory":
        sys.stderr.write("Error allocating 8589934592 bytes\n")
        run_time_error("12 of file x.f90", "Allocation would exceed memory limit")
    if do == "disk full":
        hdf_error("HDF_writeHyperslabFloatArray4D:h5dwrite_f:mLPNH")
        run_time_error("77 of file io.f90 (unit = 6)", "No space left on device")
    if do == "silent":
        os._exit(0)
    if do == "no GPU":
        fatal("CLinit_PDCCQ", "clGetDeviceIDs: Error: CL_DEVICE_NOT_FOUND")
    if do == "no platform":
        say("Unknown CL error code :       -1001")
        fatal("CLinit_PDCCQ", "clGetPlatformIDs: Error: Unknown CL error code")
    if do == "fatal":
        fatal("ComputeMasterPattern", str(order.get("text", "something")))
