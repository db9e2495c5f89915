"""Patterns of HDF5 files of the h5ebsd family: Oxford's h5oina, Bruker, EDAX and kikuchipy.

All have a maker and a version at the top and scans with ``EBSD/Data`` and ``EBSD/Header`` below it
(M. A. Jackson et al., *Integr. Mater. Manuf. Innov.* 3 (2014) 44).  What differs is the names, the
units, and the convention of the pattern centre; each vendor has one function in
:mod:`ebsdsg_ml.experimental.h5ebsd_vendors`.
"""

from __future__ import annotations

from pathlib import Path

import h5py

from ebsdsg_ml.experimental.h5ebsd_source import Source, plain_value
from ebsdsg_ml.experimental.h5ebsd_vendors import VENDORS
from ebsdsg_ml.experimental.scan import PatternFileError, Scan


def read_h5ebsd(path: Path, group: str | None = None) -> Scan:
    """Scan of an HDF5 file of a vendor.

    Parameters
    ----------
    path : file.
    group : name of the scan; the first by default, with a remark on the others.

    Raises
    ------
    PatternFileError
        If the file is truncated, of no known vendor, or lacks patterns.
    """
    try:
        with h5py.File(path, "r") as file:
            vendor = _vendor(path, file)
            scans = [
                name
                for name, item in file.items()
                if isinstance(item, h5py.Group) and "EBSD/Data" in item and "EBSD/Header" in item
            ]
            if not scans:
                raise PatternFileError(f"{path} holds no scan (a group with EBSD/Data and Header)")
            if group is not None and group not in scans:
                raise PatternFileError(
                    f"{path} has no scan {group!r}; it has {', '.join(map(repr, scans))}"
                )
            chosen = scans[0] if group is None else group
            others = [s for s in scans if s != chosen] if group is None else []
            remarks = (f"{len(others)} other scan(s) not read: {', '.join(others)}",)
            return VENDORS[vendor](
                Source(path, chosen, file[chosen], remarks if others else (), len(scans) > 1)
            )
    except PatternFileError:
        raise
    except (OSError, KeyError, ValueError, TypeError, IndexError, RuntimeError) as error:
        raise PatternFileError(
            f"{path} is not a readable EBSD file in HDF5 (truncated or damaged?): {error}"
        ) from error


def _vendor(path: Path, file: h5py.File) -> str:
    if str(file.attrs.get("format", "")).startswith("ebsdsg"):
        raise PatternFileError(f"{path} is a data set of this program, not a microscope's file")
    for key, item in file.items():
        if key.strip().lower() == "manufacturer" and isinstance(item, h5py.Dataset):
            name = str(plain_value(item)).strip()
            for vendor in VENDORS:
                if name.lower().startswith(vendor):
                    return vendor
            raise PatternFileError(f"{path}: files of {name!r} are not known; known: {_known()}")
    raise PatternFileError(
        f"{path} is an HDF5 file without a manufacturer, so none of {_known()}: export the scan "
        "from the vendor's software again"
    )


def _known() -> str:
    return ", ".join(name.title() for name in VENDORS)
