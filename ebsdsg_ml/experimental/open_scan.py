"""One importer for all files with patterns: what a file holds decides how it is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from ebsdsg_ml.experimental.binary import read_edax_binary, read_nordif, read_oxford_binary
from ebsdsg_ml.experimental.h5ebsd import read_h5ebsd
from ebsdsg_ml.experimental.image import SUFFIXES, read_image_scan
from ebsdsg_ml.experimental.scan import PatternFileError, Scan

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
HDF5_SUFFIXES = (".h5", ".hdf5", ".h5oina", ".h5ebsd")
BINARY = {
    ".up1": read_edax_binary,
    ".up2": read_edax_binary,
    ".ebsp": read_oxford_binary,
    ".dat": read_nordif,
}
NORDIF_BACKGROUND = "Background "
KNOWN = (*HDF5_SUFFIXES, *BINARY, *SUFFIXES)
"""Suffixes of files that are looked for in a folder."""
SHOWN = 5
"""Files that a message names."""


def open_scan(path: str | Path, group: str | None = None) -> Scan:
    """Open a file with patterns; only what describes them is read.

    Parameters
    ----------
    path : h5oina, Bruker, EDAX or kikuchipy HDF5 file; up1, up2, ebsp; NORDIF ``Pattern.dat``;
        or an image.
    group : scan within an HDF5 file; the first by default.

    Raises
    ------
    PatternFileError
        If the file is missing, empty, truncated, damaged or of no known kind.
    """
    path = Path(path)
    if not path.is_file():
        raise PatternFileError(
            f"{path} is {'a folder' if path.is_dir() else 'not there'}: give a file"
        )
    if not path.stat().st_size:
        raise PatternFileError(f"{path} is empty (0 bytes): copy it again")
    suffix = path.suffix.lower()
    with path.open("rb") as file:
        is_hdf5 = file.read(8) == HDF5_SIGNATURE
    if is_hdf5:
        return read_h5ebsd(path, group)
    if suffix in HDF5_SUFFIXES:
        raise PatternFileError(f"{path} is called {suffix} but is not an HDF5 file")
    if group is not None:
        raise PatternFileError(f"{path} has no scan {group!r}: only HDF5 files have several")
    if suffix in BINARY:
        try:
            return BINARY[suffix](path)
        except (ValueError, OverflowError, OSError) as error:
            if isinstance(error, PatternFileError):
                raise
            raise PatternFileError(f"{path} is damaged: {error}") from error
    if suffix in SUFFIXES:
        return read_image_scan(path)
    raise PatternFileError(
        f"{path}: {suffix or 'no suffix'} is not one of {', '.join(KNOWN)}; export the patterns in "
        "one of these"
    )


def pattern_files(paths: Iterable[str | Path]) -> list[Path]:
    """Files with patterns, those of folders in the order of their names.

    Parameters
    ----------
    paths : files, taken as they are, and folders, of which the files with a known suffix are taken
        (without NORDIF's background images, which are not patterns).

    Raises
    ------
    PatternFileError
        If there is none, a path does not exist, or a file is given twice.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = [
                p
                for p in sorted(path.iterdir())
                if p.is_file()
                and p.suffix.lower() in KNOWN
                and not p.name.startswith((".", NORDIF_BACKGROUND))
            ]
            if not inside:
                raise PatternFileError(f"no pattern in {path} (looked for {', '.join(KNOWN)})")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise PatternFileError(f"{path} does not exist")
    if not found:
        raise PatternFileError("no file with patterns was given")
    twice = sorted(path for path, count in Counter(found).items() if count > 1)
    if twice:
        more = f" and {len(twice) - SHOWN} more" if len(twice) > SHOWN else ""
        raise PatternFileError(f"given twice: {', '.join(map(str, twice[:SHOWN]))}{more}")
    return found
