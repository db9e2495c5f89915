"""What the vendors of the h5ebsd family call things: one function each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ebsdsg_ml.experimental.h5ebsd_source import Source
from ebsdsg_ml.experimental.scan import Microscope, Scan, azimuth_of, stated_centre


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


def _kikuchipy(source: Source) -> Scan:
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
    ids, euler, remarks = _kikuchipy_map(source, crystal_map, n)
    return source.scan_of(
        "kikuchipy HDF5",
        (shape, read),
        pc,
        phases,
        ids,
        euler,
        {
            "tilt": source.number(f"{header}/elevation_angle"),
            "azimuth": azimuth_of(source.number(f"{header}/azimuth_angle")),
            "twist": source.number(f"{header}/twist_angle"),
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
        remarks=remarks,
    )


def _kikuchipy_map(
    source: Source, where: str, n: int
) -> tuple[np.ndarray | None, np.ndarray | None, tuple[str, ...]]:
    """Phase ids and Bunge angles [degrees] of the patterns, and remarks on what was not taken.

    A cropped signal keeps the map of the whole scan on the disk; ``is_in_data`` marks its points.
    """
    names = ("phase_id", "phi1", "Phi", "phi2")
    columns = [source.value(f"{where}/data/{name}") for name in names]
    if any(column is None for column in columns):
        return None, None, ()
    columns = [np.atleast_1d(column) for column in columns]
    inside = np.atleast_1d(source.value(f"{where}/data/is_in_data", True)).astype(bool)
    if len(inside) > n and inside.sum() == n and {len(c) for c in columns} == {len(inside)}:
        columns = [column[inside] for column in columns]
    lengths = sorted({len(column) for column in columns})
    if lengths != [n]:
        points = " or ".join(map(str, lengths))
        remark = f"the crystal map has {points} points for {n} patterns and was not taken"
        return np.full(n, -1), None, (remark,)
    # further rotations of a point, in a second dimension, are worse matches
    ids, *angles = (column if column.ndim == 1 else column[:, 0] for column in columns)
    euler = np.degrees(np.stack(angles, axis=-1))
    if source.phases(f"{where}/header/phases", ("name",), ("space_group",)):
        return ids, euler, ()
    euler[ids < 0] = np.nan  # with a phase, that it is none says which were not indexed
    # kikuchipy writes a map of identities where nothing was indexed
    if not np.nan_to_num(euler).any():
        return ids, None, ()
    return ids, euler, ("the crystal map names no phase of its orientations",)


def _flat(value: Any) -> np.ndarray | None:
    return None if value is None else np.asarray(value, dtype=np.float64).ravel()


def _bruker(source: Source) -> Scan:
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


def _edax(source: Source) -> Scan:
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
            # no pattern settles EDAX's sense: kikuchipy's reading, as its own angle, is followed
            "azimuth": azimuth_of(source.number(f"{header}/Camera Azimuthal Angle")),
            "sample_tilt": source.number(f"{header}/Sample Tilt"),
        },
        microscope=Microscope(None, source.number(f"{header}/Working Distance")),
        frame="as in the file, EDAX RD, TD, ND",
        columns=source.per_pattern(n, iq="IQ", ci="CI", fit="Fit"),
    )


def _oxford(source: Source) -> Scan:
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


VENDORS: dict[str, Callable[[Source], Scan]] = {
    "oxford instruments": _oxford,
    "bruker nano": _bruker,
    "edax": _edax,
    "kikuchipy": _kikuchipy,
}
"""Reader by the beginning of the manufacturer's name, in small letters."""
