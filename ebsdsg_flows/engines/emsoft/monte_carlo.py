"""Monte Carlo files: kept once per crystal without its Debye-Waller factors, and handed out.

The electrons do not know Debye-Waller factors, so a simulation that differs in nothing else takes
the kept file and gets its own crystal written into the copy.  Kept files are compressed; what
EMsoft is given is not, because its HDF5 library need not know how.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from ebsdsg_flows.engines.emsoft.broken_file import reading
from ebsdsg_flows.engines.emsoft.result_file import check_histograms
from ebsdsg_flows.engines.emsoft.xtal_file import replace_crystal
from ebsdsg_sim.atomic_file import new_file, sync
from ebsdsg_sim.emsoft_layout import ASCII, put, text_of
from stores.identity import content_hash

if TYPE_CHECKING:
    from ebsdsg_sim.crystal import Crystal
    from ebsdsg_sim.parameters import SimulationParameters

HISTOGRAMS = "EMData/MCOpenCL"
READ_BY_EMEBSDMASTER = ("devid", "globalworkgrpsz")
"""What EMEBSDmaster reads without asking whether it is there, and EMMC does not write (EMsoft 5.0,
``Source/EMsoftHDFLib/EBSDmod.f90``, ``readEBSDMonteCarloFile``); the values are not used."""


def monte_carlo_key(crystal: Crystal, parameters: SimulationParameters, program: str) -> str:
    """Identity of a Monte Carlo: everything that its electrons meet.

    Parameters
    ----------
    crystal, parameters : of the simulation.
    program : EMMCOpenCL or EMMC, whose numbers differ.
    """
    content = crystal.with_debye_waller(1e-3).to_dict()
    names = ("voltage", "energy_min", "energy_step", "depth_max", "depth_step", "sample_tilt")
    values = {name: getattr(parameters, name) for name in (*names, "mc_pixels", "n_electrons")}
    return content_hash(
        {"crystal": {**content, "name": ""}, "parameters": values, "program": program}
    )


def keep(source: Path, store: Path) -> None:
    """Keep a checked Monte Carlo file.

    Parameters
    ----------
    source : as the program wrote it.
    store : name under which it is kept; it appears complete or not at all.
    """
    store.parent.mkdir(parents=True, exist_ok=True)
    with new_file(store) as temporary:
        _copy(source, temporary, compressed=True)


def check_kept(store: Path, parameters: SimulationParameters) -> None:
    """Read a kept file whole: what cannot be read here could not be handed out.

    Parameters
    ----------
    store : the file.
    parameters : what it should be of.

    Raises
    ------
    EngineFailure
        If it is damaged or of something else.
    """

    def read(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            item[()]

    with reading(store), h5py.File(store) as file:
        file.visititems(read)
    check_histograms(store, parameters)


def hand_out(store: Path, target: Path, crystal: Crystal, source: str, xtal: str) -> None:
    """Make the file that EMEBSDmaster will add its master pattern to.

    Parameters
    ----------
    store : a kept file.
    target : file to write.
    crystal : goes into the place of the one in the file.
    source : text of its source.
    xtal : name of its crystal file, which EMEBSDmaster reads again.
    """
    _copy(store, target, compressed=False)
    with h5py.File(target, "r+") as file:
        replace_crystal(file, crystal, source)
        for key in READ_BY_EMEBSDMASTER:
            if key not in file["NMLparameters/MCCLNameList"]:
                put(file["NMLparameters/MCCLNameList"], key, 1)
        name_crystal_file(file, xtal)
    sync(target)


def name_crystal_file(file: h5py.File, xtal: str) -> None:
    """Name the crystal file that EMsoft's later programs read again.

    Parameters
    ----------
    file : with a Monte Carlo, open for writing.
    xtal : name in the folder of the crystal files.
    """
    for group in ("NMLparameters/MCCLNameList", "EMData/EBSDmaster"):
        if "xtalname" in file.get(group, {}) and text_of(file[group]["xtalname"]).strip() != xtal:
            del file[group]["xtalname"]
            file[group].create_dataset("xtalname", data=[xtal], dtype=ASCII)
            _rename_in_text(file, xtal)


def _rename_in_text(file: h5py.File, xtal: str) -> None:
    """The name of the crystal file in the kept copy of the namelist."""
    for dataset in file.get("NMLfiles", {}).values():
        lines = [line.decode("latin-1") for line in dataset[()]]
        for i, line in enumerate(lines):
            if line.strip().lower().startswith("xtalname"):
                lines[i] = f" xtalname = '{xtal}',"
        dataset[...] = np.array([line.encode("ascii", "replace") for line in lines], dtype=object)


def _copy(source: Path, target: Path, *, compressed: bool) -> None:
    """Copy a file, its large arrays compressed or not."""
    target.unlink(missing_ok=True)
    with h5py.File(source, "r") as old, h5py.File(target, "w") as new:
        for name in old:
            if name != "EMData":
                old.copy(name, new)
        group = new.create_group(HISTOGRAMS)
        for key, value in old[HISTOGRAMS].attrs.items():
            group.attrs[key] = value
        for name, dataset in old[HISTOGRAMS].items():
            large = compressed and dataset.size > 1000
            group.create_dataset(
                name,
                data=dataset[()],
                dtype=dataset.dtype,
                **(
                    {"compression": "gzip", "compression_opts": 1, "shuffle": True} if large else {}
                ),
            )
