"""The small groups of an EMsoft HDF5 file: crystal, namelists, header.

EMsoft programs read these groups back and crash on details that HDF5 itself does not mind, above
all on strings that are not variable-length ASCII of shape (1,).
"""

from __future__ import annotations

import socket
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

import h5py
import numpy as np

from ebsdsg_sim.crystal import Crystal, CrystalError, Site
from ebsdsg_sim.elements import ElementError, element_symbol
from ebsdsg_sim.hdf5_file import MasterPatternFileError
from ebsdsg_sim.parameters import ParameterError, SimulationParameters
from ebsdsg_sim.symmetry import hall_number_for

ASCII = h5py.string_dtype("ascii")
#: Last space group of EMsoft's crystal systems 7 (triclinic), 6, 3, 2, 5 (trigonal), 4, 1 (cubic).
_SYSTEMS = ((2, 7), (15, 6), (74, 3), (142, 2), (167, 5), (194, 4), (230, 1))
#: Groups that EMsoft numbers 231 to 237 when their axes are rhombohedral.
_RHOMBOHEDRAL = (146, 148, 155, 160, 161, 166, 167)
#: EMMCOpenCL stops every electron after this many scattering events.
EMSOFT_SCATTERINGS = 300


def put(group: h5py.Group, name: str, value: Any) -> None:
    """Write one scalar or string as EMsoft does: a dataset of shape (1,), strings as ASCII.

    Integers become int32 and floats float64; numpy scalars keep their type.
    """
    if isinstance(value, str):
        group.create_dataset(name, data=[_ascii(value)], dtype=ASCII)
    elif isinstance(value, bool | int):
        group.create_dataset(name, data=np.array([value], dtype=np.int32))
    else:
        group.create_dataset(name, data=np.atleast_1d(value))


def text_of(dataset: h5py.Dataset) -> str:
    """First string of a dataset; EMsoft leaves stray bytes, which are replaced."""
    value = np.asarray(dataset[()]).ravel()[0]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def origin_setting(crystal: Crystal) -> int:
    """EMsoft's ``SpaceGroupSetting`` (1 or 2) of a crystal.

    Parameters
    ----------
    crystal : in its standard axes.

    Raises
    ------
    MasterPatternFileError
        If the crystal's axes are not the standard ones, which this layout cannot express.
    """
    for choice in (1, 2):
        if hall_number_for(crystal.space_group, choice) == crystal.hall_number:
            return choice
    raise MasterPatternFileError(
        f"{crystal.name}: Hall number {crystal.hall_number} is not a standard setting of space "
        f"group {crystal.space_group}, and EMsoft's file layout knows no others: standardise it"
    )


def write_crystal(file: h5py.File, crystal: Crystal) -> None:
    """Write the group ``CrystalData``.

    Parameters
    ----------
    file : open for writing.
    crystal : in its standard axes.

    Raises
    ------
    MasterPatternFileError
        If the crystal's setting cannot be expressed.
    """
    group = file.create_group("CrystalData")
    system = next(number for last, number in _SYSTEMS if crystal.space_group <= last)
    rows = [(*s.position, s.occupancy, s.debye_waller) for s in crystal.sites]
    put(group, "CrystalSystem", system)
    put(group, "LatticeParameters", np.array(crystal.cell, dtype=np.float64))
    put(group, "SpaceGroupNumber", crystal.space_group)
    put(group, "SpaceGroupSetting", origin_setting(crystal))
    put(group, "Natomtypes", len(crystal.sites))
    put(group, "Atomtypes", np.array([s.atomic_number for s in crystal.sites], dtype=np.int32))
    put(group, "AtomData", np.array(rows, dtype=np.float32).T)
    put(group, "Source", crystal.name)
    put(group, "ProgramName", "EMmkxtal.f90")
    put(group, "Creator", "ebsdsg")
    _put_time(group, "CreationDate", "CreationTime")


def read_crystal(file: h5py.File) -> Crystal:
    """Crystal of the group ``CrystalData``.

    Parameters
    ----------
    file : an EMsoft file, open for reading.

    Raises
    ------
    MasterPatternFileError
        If the group does not describe a crystal.
    """
    group = file["CrystalData"]
    number, choice = (int(group[f"SpaceGroup{k}"][0]) for k in ("Number", "Setting"))
    # Single precision stores 1/3 as 0.33333334: the digits beyond the seventh are noise.
    rows = [[float(f"{v:.7g}") for v in column] for column in group["AtomData"][()].T]
    cell = group["LatticeParameters"][()].tolist()
    name = PurePosixPath(text_of(file["NMLparameters/MCCLNameList/xtalname"]).strip()).stem
    try:
        sites = tuple(
            Site(element_symbol(int(z)), (row[0], row[1], row[2]), row[3], row[4])
            for z, row in zip(group["Atomtypes"][()], rows, strict=True)
        )
        space_group, hall = _setting(number, choice, cell[3:])
        return Crystal(name, tuple(cell), space_group, hall, sites)
    except (CrystalError, ElementError, ValueError) as error:
        raise MasterPatternFileError(f"{file.filename}: CrystalData: {error}") from None


def _setting(number: int, choice: int, angles: list[float]) -> tuple[int, int]:
    """Space group and Hall number of EMsoft's number, its ``SpaceGroupSetting`` and the cell."""
    group = _RHOMBOHEDRAL[number - 231] if 231 <= number <= 237 else number
    hall = hall_number_for(group, choice)
    if group in _RHOMBOHEDRAL and angles[0] == angles[1] == angles[2]:
        hall += 1  # the International Tables, and spglib, list these axes after the hexagonal ones
    return group, hall


def write_namelists(file: h5py.File, crystal: Crystal, parameters: SimulationParameters) -> None:
    """Write ``NMLparameters`` and the same values as text in ``NMLfiles``.

    Parameters
    ----------
    file : open for writing.
    crystal : gives the name of the ``.xtal`` file.
    parameters : of the simulation.
    """
    p = parameters
    name = f"{crystal.name}.xtal"
    multiplier, total = nominal_electrons(p.n_electrons)
    lists: dict[str, tuple[str, dict[str, Any]]] = {
        "MCCLNameList": (
            "MCCLdata",
            {
                "mode": "full",
                "xtalname": name,
                "numsx": p.mc_pixels,
                "sig": p.sample_tilt,
                "omega": 0.0,
                "num_el": 10,
                "platid": 1,
                "devid": 1,
                "globalworkgrpsz": 150,
                "totnum_el": total,
                "multiplier": multiplier,
                "EkeV": p.voltage,
                "Ehistmin": p.energy_min,
                "Ebinsize": p.energy_step,
                "depthmax": p.depth_max,
                "depthstep": p.depth_step,
                "dataname": "undefined",
                "MCmode": "CSDA",
                **{"ivolx": 1001, "ivoly": 1001, "ivolz": 101, "stdout": 6},
            },
        ),
        "EBSDMasterNameList": (
            "EBSDmastervars",
            {
                "dmin": np.float32(p.dmin),
                "npx": p.npx,
                "nthreads": 1,
                "energyfile": "undefined",
                "BetheParametersFile": "undefined",
                "copyfromenergyfile": "undefined",
                "latgridtype": "Lambert",
                "doLegendre": 0,
                "restart": 0,
                "uniform": 0,
                "useEnergyWeighting": 0,
                "combinesites": 0,
                "Esel": -1,
                "stdout": 6,
            },
        ),
        "BetheList": (
            "Bethelist",
            {
                **{f"c{i + 1}": np.float32(c) for i, c in enumerate(p.bethe)},
                "sgdbdiff": np.float32(1),
            },
        ),
    }
    values = file.create_group("NMLparameters")
    texts = file.create_group("NMLfiles")
    for key, file_key in (
        ("MCCLNameList", "MCOpenCLNML"),
        ("EBSDMasterNameList", "EBSDmasterNML"),
        ("BetheList", "BetheNML"),
    ):
        title, entries = lists[key]
        group = values.create_group(key)
        for entry, value in entries.items():
            put(group, entry, value)
        assignments = (f" {k} = {_fortran(v)}," for k, v in entries.items())
        lines = [_ascii(line) for line in (f" &{title}", *assignments, " /")]
        texts.create_dataset(file_key, data=lines, dtype=ASCII)


def read_parameters(file: h5py.File) -> SimulationParameters:
    """Parameters of an EMsoft file from its namelists.

    Parameters
    ----------
    file : an EMsoft file with Monte Carlo data, open for reading.

    Returns
    -------
    SimulationParameters, with EMMCOpenCL's 300 scattering events; ``npx``, ``dmin`` and ``bethe``
    keep their defaults where the file holds no master pattern.

    Raises
    ------
    MasterPatternFileError
        If the values are out of range, the beam is not in the plane of RD and ND (``omega``), or
        the maps are not on a Lambert grid.
    """
    mc = file["NMLparameters/MCCLNameList"]
    omega = float(mc["omega"][0]) if "omega" in mc else 0.0
    if omega != 0:
        raise MasterPatternFileError(
            f"{file.filename}: NMLparameters: omega = {omega:g} degrees: a beam out of the plane "
            "of RD and ND is not supported; simulate with omega = 0"
        )
    values: dict[str, Any] = {
        "voltage": float(mc["EkeV"][0]),
        "energy_min": float(mc["Ehistmin"][0]),
        "energy_step": float(mc["Ebinsize"][0]),
        "depth_max": float(mc["depthmax"][0]),
        "depth_step": float(mc["depthstep"][0]),
        "sample_tilt": float(mc["sig"][0]),
        "mc_pixels": int(mc["numsx"][0]),
        "n_electrons": int(mc["totnum_el"][0]) * _multiplier(file),
        "max_scatterings": EMSOFT_SCATTERINGS,
    }
    master = file.get("NMLparameters/EBSDMasterNameList")
    if master is not None:
        grid = text_of(master["latgridtype"]).strip() if "latgridtype" in master else "Lambert"
        if grid != "Lambert":
            raise MasterPatternFileError(
                f"{file.filename}: NMLparameters: latgridtype = {grid!r}: maps on another grid "
                "than Lambert's are not supported; simulate with latgridtype = 'Lambert'"
            )
        values |= {"npx": int(master["npx"][0]), "dmin": float(f"{master['dmin'][0]:.7g}")}
    bethe = file.get("NMLparameters/BetheList")
    if bethe is not None:
        values["bethe"] = tuple(float(bethe[f"c{i}"][0]) for i in (1, 2, 3))
    try:
        return SimulationParameters(**values)
    except ParameterError as error:
        raise MasterPatternFileError(f"{file.filename}: NMLparameters: {error}") from None


def simulated_electrons(file: h5py.File) -> int:
    """Electrons that were really run: EMMCOpenCL rounds the nominal number up to full work groups.

    Parameters
    ----------
    file : an EMsoft file with Monte Carlo data, open for reading.
    """
    mc = file["NMLparameters/MCCLNameList"]
    nominal = int(mc["totnum_el"][0]) * _multiplier(file)
    if emmc_threads(file) is not None:
        return nominal
    batch = int(mc["globalworkgrpsz"][0]) ** 2 * int(mc["num_el"][0])
    return (nominal // batch + 1) * batch


def emmc_threads(file: h5py.File) -> int | None:
    """Threads of EMMC, which gives each the same number of electrons; ``None`` for EMMCOpenCL.

    Parameters
    ----------
    file : an EMsoft file with Monte Carlo data, open for reading.

    Notes
    -----
    EMMC writes its namelist under EMMCOpenCL's name, with ``primeseed`` and ``nthreads``, without
    ``multiplier``, ``globalworkgrpsz``, ``platid`` and ``devid`` (EMsoft 5.0,
    ``Source/EMsoftHDFLib/NameListHDFwriters.f90``, ``HDFwriteMCNameList``).
    """
    mc = file["NMLparameters/MCCLNameList"]
    return int(mc["nthreads"][0]) if "primeseed" in mc else None


def _multiplier(file: h5py.File) -> int:
    """Factor of ``totnum_el``; EMMC writes it beside its histograms only, where it is 1."""
    mc = file["NMLparameters/MCCLNameList"]
    group = mc if "multiplier" in mc else file["EMData/MCOpenCL"]
    return int(group["multiplier"][0])


def nominal_electrons(n: int) -> tuple[int, int]:
    """EMsoft's (multiplier, totnum_el) of a number of electrons; totnum_el is a 32-bit integer.

    Parameters
    ----------
    n : number of electrons.

    Raises
    ------
    MasterPatternFileError
        If no multiplier up to 1000 divides a number above 2^31 - 1.
    """
    for multiplier in range(1, 1001):
        if n % multiplier == 0 and n // multiplier < 2**31:
            return multiplier, n // multiplier
    raise MasterPatternFileError(f"{n} electrons: above 2**31 - 1 choose a round number")


def write_header(file: h5py.File, stage: str, program: str, version: str, seconds: float) -> None:
    """Write one group of ``EMheader``.

    Parameters
    ----------
    file : open for writing.
    stage : ``"MCOpenCL"`` or ``"EBSDmaster"``.
    program : the EMsoft program that readers of this layout ask for.
    version : version of the program that really wrote the file.
    seconds : duration of the stage [s].
    """
    group = file.require_group("EMheader").create_group(stage)
    now = datetime.now().astimezone().strftime("%b %d %Y, %I:%M:%S %p")
    for name, value in (
        ("Date", now.split(",")[0]),
        ("HostName", socket.gethostname()),
        ("ProgramName", program),
        ("StartTime", now),
        ("StopTime", now),
        ("UserEmail", "undefined"),
        ("UserLocation", "undefined"),
        ("UserName", "undefined"),
        ("Version", version),
    ):
        put(group, name, value)
    put(group, "Duration", np.float32(seconds))


def _put_time(group: h5py.Group, date: str, time: str) -> None:
    now = datetime.now().astimezone()
    put(group, date, now.strftime("%b %d %Y"))
    put(group, time, now.strftime("%I:%M:%S %p"))


def _ascii(text: str) -> str:
    """Text with everything beyond ASCII escaped."""
    return text.encode("ascii", "backslashreplace").decode("ascii")


def _fortran(value: Any) -> str:
    """A value as a Fortran namelist writes it."""
    return f"'{value}'" if isinstance(value, str) else f"{value}"
