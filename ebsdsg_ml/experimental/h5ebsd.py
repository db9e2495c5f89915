"""Patterns of HDF5 files of the h5ebsd family: Oxford's h5oina, Bruker, EDAX and kikuchipy.

All have a maker and a version at the top and scans with ``EBSD/Data`` and ``EBSD/Header`` below it
(M. A. Jackson et al., *Integr. Mater. Manuf. Innov.* 3 (2014) 44).  What differs is the names, the
units, and the convention of the pattern centre; each vendor has one function here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ebsdsg_ml.experimental.scan import (
    Geometry,
    Microscope,
    PatternFileError,
    PhaseName,
    Scan,
    stated_centre,
)
from ebsdsg_sim.orientation import euler_to_quaternion


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
                _Source(path, chosen, file[chosen], remarks if others else (), len(scans) > 1)
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
            name = str(_plain(item)).strip()
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


def _plain(item: h5py.Dataset) -> Any:
    """Value of a dataset: text as str, one number as such, else an array."""
    value = item[()]
    if isinstance(value, np.ndarray) and value.size == 1 and value.dtype.names is None:
        value = value.reshape(())[()]
    if isinstance(value, bytes):
        return value.decode("latin-1").rstrip("\0")
    return value


@dataclass(frozen=True)
class _Source:
    """A scan of an open file."""

    path: Path
    name: str
    scan: h5py.Group
    remarks: tuple[str, ...]
    several: bool

    def value(self, where: str, default: Any = None) -> Any:
        """Value at a path below the scan; the default if it is not there."""
        item = self.scan.get(where)
        return _plain(item) if isinstance(item, h5py.Dataset) else default

    def number(self, where: str) -> float | None:
        """A finite number, or None."""
        value = self.value(where)
        if value is None or np.size(value) != 1:
            return None
        number = float(value)
        return number if np.isfinite(number) else None

    def per_pattern(self, n: int, **names: str) -> dict[str, np.ndarray]:
        """Those of some columns of ``EBSD/Data`` that hold one number per pattern."""
        found = {}
        for column, name in names.items():
            item = self.scan.get(f"EBSD/Data/{name}")
            if isinstance(item, h5py.Dataset) and item.size == n and item.dtype.kind in "iuf":
                found[column] = item[()].reshape(n).astype(np.float64)
        return found

    def patterns(self, name: str) -> tuple[tuple[int, int, int], Callable[..., np.ndarray]]:
        """Shape (n, rows, columns) of a dataset of patterns, and its lazy reader."""
        where = f"EBSD/Data/{name}"
        item = self.scan.get(where)
        if not isinstance(item, h5py.Dataset) or item.ndim not in (3, 4):
            raise PatternFileError(
                f"{self.path}: no patterns at {self.name}/{where}; store them when exporting"
            )
        if item.dtype.kind not in "iuf":
            raise PatternFileError(f"{self.path}: patterns of type {item.dtype} are not images")
        rows, columns = (int(k) for k in item.shape[-2:])
        n = int(np.prod(item.shape[:-2]))
        for side, count in (("height", rows), ("width", columns)):
            for key in (f"Pattern {side.title()}", f"Pattern{side.title()}", f"pattern_{side}"):
                stated = self.number(f"EBSD/Header/{key}")
                if stated is not None and round(stated) != count:
                    raise PatternFileError(
                        f"{self.path} is damaged: patterns are {rows} x {columns} pixels, its "
                        f"header says {side} {stated:g}"
                    )
        address, across = f"{self.name}/{where}", item.shape[1] if item.ndim == 4 else 0

        def read(numbers: Sequence[int] | np.ndarray) -> np.ndarray:
            wanted = np.asarray(numbers, dtype=np.int64)
            with h5py.File(self.path, "r") as file:
                stored = file[address]
                if across:
                    return np.stack([stored[i // across, i % across] for i in wanted])
                unique, inverse = np.unique(wanted, return_inverse=True)
                return np.asarray(stored[unique])[inverse]

        return (n, rows, columns), read

    def background(self, name: str, shape: tuple[int, ...]) -> np.ndarray | None:
        """Static background of the header, if it fits and is not blank."""
        value = self.value(f"EBSD/Header/{name}")
        if not isinstance(value, np.ndarray) or value.shape != shape[1:]:
            return None
        return value if value.max() > value.min() else None

    def phases(self, where: str, names: Sequence[str], groups: Sequence[str]) -> dict[int, Any]:
        """Phases below a group of the header, by the number that the file gives them."""
        found: dict[int, PhaseName] = {}
        for key, item in self.scan.get(where, {}).items():
            if not isinstance(item, h5py.Group) or not key.lstrip("-").isdigit():
                continue
            name = next((str(_plain(item[k])) for k in names if k in item), "")
            stated = [_plain(item[k]) for k in groups if k in item]
            numbers = [int(v) for v in stated if not isinstance(v, (str, np.ndarray))]
            number = next((v for v in numbers if 1 <= v <= 230), None)
            if name.strip() or number:
                found[int(key)] = PhaseName(name.strip(), number)
        return found

    def scan_of(
        self,
        kind: str,
        patterns: tuple[tuple[int, int, int], Callable[..., np.ndarray]],
        pc: tuple[np.ndarray | None, str | None],
        phases: dict[int, PhaseName],
        phase_ids: np.ndarray | None,
        euler: np.ndarray | None,
        geometry: dict[str, Any],
        **others: Any,
    ) -> Scan:
        """Put together what all vendors have."""
        shape, read = patterns
        n = shape[0]
        order = sorted(phases)
        index = np.full(n, -1, dtype=np.int32)
        if phase_ids is not None and len(phase_ids) == n:
            for row, number in enumerate(order):
                index[phase_ids == number] = row
        elif len(order) == 1:
            index[:] = 0
        quaternions = None
        if euler is not None and euler.shape == (n, 3) and np.isfinite(euler).any():
            quaternions = np.full((n, 4), np.nan)
            # what was not indexed has no phase; some vendors write zeros or 4 pi there
            good = np.isfinite(euler).all(axis=1) & (np.abs(euler) <= 360.001).all(axis=1)
            if phase_ids is not None and len(phase_ids) == n and order:
                good &= index >= 0
            quaternions[good] = euler_to_quaternion(euler[good])
        if quaternions is None:
            others["frame"] = ""
        remarks = (*self.remarks, *others.pop("remarks", ()), *([pc[1]] if pc[1] else []))
        return Scan(
            self.path,
            kind,
            shape,
            read,
            group=self.name if self.several else "",
            geometry=Geometry(pc=pc[0], **geometry),
            phases=tuple(phases[k] for k in order),
            phase=index,
            quaternions=quaternions,
            remarks=remarks,
            **others,
        )


def _columns(*values: np.ndarray | None) -> np.ndarray | None:
    """Three columns side by side, None if one is missing."""
    given = [v for v in values if v is not None]
    return np.stack(given, axis=-1) if len(given) == len(values) else None


NOT_STATED = "the file does not say the pattern centre"


def _centre(
    numbers: np.ndarray | None, convention: str, shape: tuple[int, ...]
) -> tuple[np.ndarray | None, str | None]:
    if numbers is None:
        return None, NOT_STATED
    return stated_centre(numbers, convention, (shape[1], shape[2]))


def _kikuchipy(source: _Source) -> Scan:
    shape, read = source.patterns("patterns")
    n, header = shape[0], "EBSD/Header"
    numbers = _columns(*(_flat(source.value(f"{header}/pc{c}")) for c in "xyz"))
    pc = _centre(numbers, "bruker", shape)
    if numbers is None and (old := [source.number(f"{header}/{c}pc") for c in "xyz"])[0]:
        # releases before 0.5 wrote these without saying the convention
        pc = None, f"pattern centre {old} is in no stated convention, or not measured (-1)"
    crystal_map = "EBSD/CrystalMap/crystal_map"
    phases = source.phases(f"{crystal_map}/header/phases", ("name",), ("space_group",))
    phases = phases or source.phases(
        f"{header}/Phases", ("material_name", "formula"), ("space_group",)
    )
    angles = [source.value(f"{crystal_map}/data/{name}") for name in ("phi1", "Phi", "phi2")]
    per = [None if a is None else np.asarray(a, float).reshape(n, -1)[:, 0] for a in angles]
    euler = _columns(*per)
    ids = source.value(f"{crystal_map}/data/phase_id")
    return source.scan_of(
        "kikuchipy HDF5",
        (shape, read),
        pc,
        phases,
        None if ids is None else np.atleast_1d(ids).ravel(),
        None if euler is None else np.degrees(euler),
        {
            "tilt": source.number(f"{header}/elevation_angle"),
            "azimuth": source.number(f"{header}/azimuth_angle"),
            "sample_tilt": source.number(f"{header}/sample_tilt"),
        },
        static_background=source.background("static_background", shape),
        microscope=Microscope(
            source.number("SEM/Header/beam_energy"),
            source.number("SEM/Header/working_distance"),
            str(source.value("SEM/Header/microscope", "")).strip(),
            str(source.value(f"{header}/detector", "")).strip(),
        ),
        frame="as in the file, kikuchipy's: EDAX RD, TD, ND",
    )


def _flat(value: Any) -> np.ndarray | None:
    return None if value is None else np.asarray(value, dtype=np.float64).ravel()


def _bruker(source: _Source) -> Scan:
    shape, read = source.patterns("RawPatterns")
    n, header, data = shape[0], "EBSD/Header", "EBSD/Data"
    numbers = _columns(*(_flat(source.value(f"{data}/{name}")) for name in ("PCX", "PCY", "DD")))
    euler = _columns(*(_flat(source.value(f"{data}/{name}")) for name in ("phi1", "PHI", "phi2")))
    height = source.number(f"{header}/DetectorFullHeightMicrons")
    rows = source.number(f"{header}/UnClippedPatternHeight")
    return source.scan_of(
        "Bruker HDF5",
        (shape, read),
        _centre(numbers, "bruker", shape),
        source.phases(f"{header}/Phases", ("Name", "Formula"), ("IT", "SpaceGroup")),
        _flat(source.value(f"{data}/Phase")),
        euler,
        {
            "tilt": source.number(f"{header}/CameraTilt"),
            "sample_tilt": source.number(f"{header}/SampleTilt"),
            "pixel_size": height / rows if height and rows else None,
        },
        static_background=source.background("StaticBackground", shape),
        microscope=Microscope(source.number(f"{header}/KV"), source.number(f"{header}/WD")),
        frame="as in the file, Bruker's sample frame",
        columns=source.per_pattern(n, radon_quality="RadonQuality", mad="MAD"),
    )


def _edax(source: _Source) -> Scan:
    shape, read = source.patterns("Pattern")
    n, header, data = shape[0], "EBSD/Header", "EBSD/Data"
    centre = f"{header}/Pattern Center Calibration"
    numbers = _columns(*(_flat(source.value(f"{centre}/{c}-star")) for c in "xyz"))
    euler = _columns(*(_flat(source.value(f"{data}/{name}")) for name in ("Phi1", "Phi", "Phi2")))
    phases = source.phases(f"{header}/Phase", ("MaterialName", "Formula"), ())
    ids = _flat(source.value(f"{data}/Phase"))
    if ids is not None and len(phases) == 1 and not ids.any():
        ids = ids + min(phases)  # a single phase is written as 0
    return source.scan_of(
        "EDAX HDF5",
        (shape, read),
        _centre(numbers, "edax", shape),
        phases,
        ids,
        None if euler is None else np.degrees(euler),
        {
            "tilt": source.number(f"{header}/Camera Elevation Angle"),
            "azimuth": source.number(f"{header}/Camera Azimuthal Angle"),
            "sample_tilt": source.number(f"{header}/Sample Tilt"),
        },
        microscope=Microscope(None, source.number(f"{header}/Working Distance")),
        frame="as in the file, EDAX RD, TD, ND",
        columns=source.per_pattern(n, iq="IQ", ci="CI", fit="Fit"),
    )


def _oxford(source: _Source) -> Scan:
    header, data = "EBSD/Header", "EBSD/Data"
    raw = "Unprocessed Patterns" in source.scan[data]
    shape, read = source.patterns("Unprocessed Patterns" if raw else "Processed Patterns")
    n = shape[0]
    names = ("Pattern Center X", "Pattern Center Y", "Detector Distance")
    numbers = _columns(*(_flat(source.value(f"{data}/{name}")) for name in names))
    euler = source.value(f"{data}/Euler")
    tilt = source.number(f"{header}/Tilt Angle")
    screen = source.value(f"{header}/Detector Orientation Euler")
    angles = None if screen is None else np.degrees(np.asarray(screen, float).reshape(-1)[:3])
    background = source.background("Unprocessed Static Background", shape)
    if background is None:
        background = source.background("Processed Static Background", shape)
    return source.scan_of(
        "Oxford h5oina",
        (shape, read),
        _centre(numbers, "oxford", shape),
        source.phases(f"{header}/Phases", ("Phase Name",), ("Space Group",)),
        _flat(source.value(f"{data}/Phase")),
        None if euler is None else np.degrees(np.asarray(euler, float).reshape(-1, 3)),
        {
            "sample_tilt": None if tilt is None else float(np.degrees(tilt)),
            **oxford_screen(angles),
        },
        static_background=background if raw else None,
        corrected=not raw,
        microscope=Microscope(
            source.number(f"{header}/Beam Voltage"), source.number(f"{header}/Working Distance")
        ),
        frame="as in the file, Oxford's sample primary frame (CS1)",
        columns=source.per_pattern(n, band_contrast="Band Contrast", mad="Mean Angular Deviation"),
    )


def oxford_screen(angles: np.ndarray | None) -> dict[str, Any]:
    """Tilt of the screen from Oxford's Bunge angles of it.

    Parameters
    ----------
    angles : (3,) [degrees], or None.

    Notes
    -----
    The second angle is 90 degrees plus the tilt.  The first and third are small turns whose sense
    in :class:`ebsdsg_sim.detector.Detector` no pattern at hand could settle: they are kept as
    ``euler`` and enter nothing.
    """
    if angles is None or np.shape(angles) != (3,) or not np.isfinite(angles).all():
        return {}
    return {"tilt": float(angles[1]) - 90, "euler": tuple(float(a) for a in angles)}


VENDORS: dict[str, Callable[[_Source], Scan]] = {
    "oxford instruments": _oxford,
    "bruker nano": _bruker,
    "edax": _edax,
    "kikuchipy": _kikuchipy,
}
"""Reader by the beginning of the manufacturer's name, in small letters."""
