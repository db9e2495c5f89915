"""Patterns of vendors' binary files: EDAX up1 and up2, Oxford ebsp, NORDIF.

The layouts are those that the vendors told kikuchipy and PyEBSDIndex (their readers
``edax_binary``, ``oxford_binary`` and ``nordif``); the tests compare with kikuchipy's own sample
files.  Nothing is read but the header until patterns are asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ebsdsg_ml.experimental.scan import Geometry, Microscope, PatternFileError, Scan, azimuth_of

LARGEST_MAP = 20_000_000
"""Points of a map above which the table of an ebsp file is not believed."""
LARGEST_SIDE = 8192
"""Pixels per side above which a header is not believed."""


def _mapped(
    path: Path, dtype: type, shape: tuple[int, int, int], offset: int
) -> Callable[[Sequence[int] | np.ndarray], np.ndarray]:
    """Reader of patterns that lie one after the other."""

    def read(numbers: Sequence[int] | np.ndarray) -> np.ndarray:
        stored = np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape)
        return np.array(stored[np.asarray(numbers, dtype=np.int64)])

    return read


def _check_sides(path: Path, rows: int, columns: int) -> None:
    if not (0 < rows <= LARGEST_SIDE and 0 < columns <= LARGEST_SIDE):
        raise PatternFileError(
            f"{path} is damaged: its header says patterns of {rows} x {columns} pixels"
        )


def read_edax_binary(path: Path) -> Scan:
    """Scan of an EDAX up1 (8 bits) or up2 (16 bits) file.

    Parameters
    ----------
    path : file.

    Raises
    ------
    PatternFileError
        If the file is too short, truncated, or of version 2, whose header is not known.
    """
    dtype = np.uint8 if path.suffix.lower() == ".up1" else np.uint16
    kind, size = f"EDAX {path.suffix[1:].lower()}", path.stat().st_size
    with path.open("rb") as file:
        header = np.frombuffer(file.read(16), "<u4")
        if len(header) < 4:
            raise PatternFileError(f"{path} is truncated: {size} bytes hold no {kind} header")
        version, columns, rows, offset = map(int, header)
        if not 1 <= version <= 100 or version == 2:
            raise PatternFileError(
                f"{path}: version {version} is none that a {kind} file is known to have (1, 3 or "
                "later); is it one?"
            )
        grid: tuple[int, int] | None = None
        if version >= 3:
            rest = file.read(10)
            if len(rest) < 10:
                raise PatternFileError(f"{path} is truncated in its header")
            across, down = np.frombuffer(rest[1:9], "<u4").tolist()
            grid = None if rest[9] else (down, across)  # rows of a hexagonal grid differ in length
    _check_sides(path, rows, columns)
    one = rows * columns * np.dtype(dtype).itemsize
    held, over = divmod(size - offset, one)
    n = grid[0] * grid[1] if grid else held
    if offset < 16 or held < n or n < 1 or (grid is None and over):
        raise PatternFileError(
            f"{path} is truncated: {max(size - offset, 0)} bytes of patterns, "
            f"{n if grid else 'a whole number'} patterns of {one} bytes expected"
        )
    shape = (n, rows, columns)
    return Scan(
        path,
        kind,
        shape,
        _mapped(path, dtype, shape, offset),
        remarks=(f"a {kind} file holds patterns only: no geometry, phase or voltage",),
    )


def read_oxford_binary(path: Path) -> Scan:
    """Scan of an Oxford ebsp file; patterns come in the order of the map.

    Parameters
    ----------
    path : file with uncompressed patterns.

    Raises
    ------
    PatternFileError
        If the file is too short, truncated, compressed, or its parts do not fit together.

    Notes
    -----
    A table of the patterns' places (64-bit, 0 for a point whose pattern was not stored) follows the
    version, which is written as a negative number; each pattern has a header of 16 bytes (24 from
    version 5 on): compressed or not, rows, columns, bytes.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        first = int.from_bytes(start, "little", signed=True) if len(start) == 8 else 0
        version = max(-first, 0)
        table = 0 if version == 0 else 8 if version <= 3 else 9
        if len(start) < 8 or version > 100 or (version == 0 and not 0 < first < size):
            raise PatternFileError(f"{path} is no ebsp file, or it is truncated ({size} bytes)")
        file.seek(table)
        # the first pattern begins where the table of places ends
        places = np.frombuffer(file.read(8 * min((size - table) // 8, LARGEST_MAP)), "<i8")
    length = _table_length(places, table)
    if not length:
        raise PatternFileError(f"{path} is damaged: its table of patterns cannot be read")
    places = places[:length]
    present = np.flatnonzero(places > 0)
    before = 24 if version >= 5 else 16
    with path.open("rb") as file:
        file.seek(int(places[present[0]]))
        header = np.frombuffer(file.read(before), "<i4")
    if len(header) * 4 < before:
        raise PatternFileError(f"{path} is truncated: its first pattern is not there")
    compressed, rows, columns, n_bytes = map(int, header[-4:])
    if compressed:
        raise PatternFileError(
            f"{path} holds compressed patterns: export it from the vendor's software uncompressed, "
            "or as h5oina"
        )
    _check_sides(path, rows, columns)
    if n_bytes not in (rows * columns, 2 * rows * columns):
        raise PatternFileError(
            f"{path} is damaged: {n_bytes} bytes for a pattern of {rows} x {columns} pixels"
        )
    last = int(places[present].max())
    if last + before + n_bytes > size:
        raise PatternFileError(
            f"{path} is truncated: its last pattern should end at byte {last + before + n_bytes}, "
            f"the file has {size}"
        )
    dtype = np.uint8 if n_bytes == rows * columns else np.uint16
    where = places[present] + before

    def read(numbers: Sequence[int] | np.ndarray) -> np.ndarray:
        stored = np.memmap(path, dtype=np.uint8, mode="r")
        parts = [stored[int(where[i]) : int(where[i]) + n_bytes] for i in np.asarray(numbers)]
        return np.stack(parts).view(dtype).reshape(len(parts), rows, columns)

    missing = length - len(present)
    remarks = ["an ebsp file holds patterns only: no geometry, phase or voltage"]
    if missing:
        remarks.append(f"{missing} of {length} points have no stored pattern")
    return Scan(
        path,
        "Oxford ebsp",
        (len(present), rows, columns),
        read,
        columns={"map_point": present.astype(np.float64)},
        remarks=tuple(remarks),
    )


def _table_length(places: np.ndarray, start: int) -> int:
    """Entries of the table: it ends where the first pattern begins, whichever entry names that."""
    if not len(places):
        return 0
    lowest = np.minimum.accumulate(np.where(places > 0, places, np.iinfo(np.int64).max))
    ends = start + 8 * np.arange(1, len(places) + 1)
    closed = np.flatnonzero(ends >= lowest)
    if not closed.size or ends[closed[0]] != lowest[closed[0]]:
        return 0
    length = int(closed[0]) + 1
    return 0 if (places[:length] < 0).any() else length


def read_nordif(path: Path) -> Scan:
    """Scan of a NORDIF ``Pattern.dat``, whose sizes its ``Setting.txt`` tells.

    Parameters
    ----------
    path : file; ``Setting.txt`` and, if recorded, ``Background acquisition pattern.bmp`` lie beside
        it.

    Raises
    ------
    PatternFileError
        If the settings are missing or incomplete, or the file is shorter or longer than they say.
    """
    from ebsdsg_ml.experimental.image import read_image

    beside = path.with_name("Setting.txt")
    if not beside.is_file():
        raise PatternFileError(
            f"{path} needs NORDIF's Setting.txt beside it, which says how large the patterns are"
        )
    settings = nordif_settings(beside)
    try:
        columns, rows = map(int, settings["Acquisition settings", "Resolution"].split("x"))
        down, across = map(int, settings["Area", "Number of samples"].split("x"))
    except (KeyError, ValueError):
        raise PatternFileError(
            f"{beside} does not say the resolution of the patterns or the number of samples"
        ) from None
    _check_sides(path, rows, columns)
    n, size = down * across, path.stat().st_size
    if size != n * rows * columns:
        raise PatternFileError(
            f"{path} has {size} bytes, {beside.name} says {n} patterns of {rows} x {columns} "
            f"pixels = {n * rows * columns} bytes (truncated?)"
        )
    background = path.with_name("Background acquisition pattern.bmp")
    shape = (n, rows, columns)
    static = read_image(background) if background.is_file() else None
    if static is not None and static.shape != shape[1:]:
        raise PatternFileError(f"{background}: {static.shape} pixels, the patterns {shape[1:]}")
    elevation = _number(settings.get(("Detector angles", "Elevation")))
    return Scan(
        path,
        "NORDIF",
        shape,
        _mapped(path, np.uint8, shape, 0),
        static_background=static,
        corrected=False,
        geometry=Geometry(
            # NORDIF's elevation is positive when the screen looks up
            tilt=None if elevation is None else 0.0 - elevation,
            # kikuchipy's reading, as its own angle, is followed
            azimuth=azimuth_of(_number(settings.get(("Detector angles", "Azimuthal")))),
            sample_tilt=_number(settings.get(("Microscope", "Tilt angle"))),
        ),
        microscope=Microscope(
            _number(settings.get(("Microscope", "Accelerating voltage"))),
            _number(settings.get(("Microscope", "Working distance"))),
            " ".join(settings.get(("Microscope", k), "") for k in ("Manufacturer", "Model")),
            f"NORDIF {settings.get(('EBSD detector', 'Model'), '')}".strip(),
        ),
        remarks=("NORDIF's settings do not say the pattern centre",),
    )


def nordif_settings(path: Path) -> dict[tuple[str, str], str]:
    """Values of a NORDIF ``Setting.txt`` by section and name.

    Parameters
    ----------
    path : file; Latin-1 text with sections in brackets and values separated by tabulators.
    """
    section, found = "", {}
    for line in path.read_text(encoding="latin-1").splitlines():
        if match := re.match(r"\[(.+)\]", line):
            section = match[1]
        elif "\t" in line:
            name, value = line.split("\t")[:2]
            found[section, name.strip()] = value.strip()
    return found


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
