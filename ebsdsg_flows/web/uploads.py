"""Files with patterns that somebody sends: what they may be, and how much they may unpack to.

They are written by nobody that is trusted: a small file can unpack to any size.  What HDF5 files
can do besides is the matter of :mod:`ebsdsg_flows.web.hdf5_uploads`.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from fastapi import HTTPException, UploadFile

from ebsdsg_flows.web.hdf5_uploads import UNCHECKED, check_hdf5

LARGEST_IMAGE = 25_000_000
"""Pixels of one pattern."""

MOST_PATTERNS = 200
"""Patterns answered at once; the command line takes any number."""

NORDIF_SETTINGS = "Setting.txt"
IMAGE_SUFFIXES = {"PNG": ".png", "JPEG": ".jpg", "TIFF": ".tif", "BMP": ".bmp"}


def received(uploads: Sequence[UploadFile], folder: Path) -> list[Path]:
    """Write uploaded files to a folder of their own.

    Parameters
    ----------
    uploads : images, vendors' files, and what lies beside NORDIF's.
    folder : empty.

    Returns
    -------
    The files with patterns, in the order of their names; at most :data:`MOST_PATTERNS` patterns.

    Raises
    ------
    HTTPException
        413 if there are too many patterns, or too many pixels in one; 415 if a file is of no kind
        that is taken; 422 if an HDF5 file points to other files or cannot be checked.
    """
    from h5py import is_hdf5

    from ebsdsg_ml.experimental.open_scan import pattern_files
    from ebsdsg_ml.experimental.scan import PatternFileError

    if len(uploads) > MOST_PATTERNS:
        raise HTTPException(413, _too_many(len(uploads)))
    for upload in uploads:
        path = _free(folder / _name(upload))
        with path.open("wb") as file:
            shutil.copyfileobj(upload.file, file)
        if is_hdf5(path):
            _check_hdf5(path)
    try:
        paths = pattern_files([folder])
    except PatternFileError as error:
        raise HTTPException(415, "there is no file with patterns among these") from error
    n = sum(_count(path) for path in paths)
    if n > MOST_PATTERNS:
        raise HTTPException(413, _too_many(n))
    return paths


def _too_many(n: int) -> str:
    return f"{n} patterns: at most {MOST_PATTERNS} at once; `ebsdsg predict` takes any number"


def _name(upload: UploadFile) -> str:
    """Name to keep a file by: the given one without anything special, with the right suffix.

    Raises
    ------
    HTTPException
        413 or 415, as :func:`received`.
    """
    from ebsdsg_ml.experimental.open_scan import BINARY, HDF5_SIGNATURE

    given = re.sub(r"[^\w ()+.-]", "_", Path(upload.filename or "").name).lstrip(".")[-100:]
    start = upload.file.read(len(HDF5_SIGNATURE))
    upload.file.seek(0)
    if start == HDF5_SIGNATURE:
        suffix = ".h5"
    elif Path(given).suffix.lower() in BINARY or given == NORDIF_SETTINGS:
        return given
    else:
        suffix = _image_suffix(upload.file)
        upload.file.seek(0)
    return f"{Path(given).stem or 'pattern'}{suffix}"


def _free(path: Path) -> Path:
    """The path, with a number if another file of this upload has its name."""
    number, found = 2, path
    while found.exists():
        found = path.with_stem(f"{path.stem} ({number})")
        number += 1
    return found


def _image_suffix(file: IO[bytes]) -> str:
    """Suffix that belongs to an image's content; its name says nothing."""
    from PIL import Image

    try:
        with Image.open(file, formats=list(IMAGE_SUFFIXES)) as image:
            size, kind = image.size, image.format
    except Image.DecompressionBombError as error:
        raise HTTPException(413, "this image has too many pixels") from error
    except Exception as error:  # Pillow's readers raise many types on broken files
        raise HTTPException(
            415,
            "this is no image (PNG, JPEG, TIFF, BMP) and no vendor's file (h5oina, HDF5 of Bruker, "
            "EDAX or kikuchipy, up1, up2, ebsp, NORDIF's Pattern.dat with its Setting.txt)",
        ) from error
    _check_pixels(*size)
    return IMAGE_SUFFIXES[str(kind)]


def _check_pixels(rows: int, columns: int) -> None:
    if rows * columns > LARGEST_IMAGE:
        raise HTTPException(413, f"a pattern has more than {LARGEST_IMAGE / 1e6:.0f} megapixels")


def _check_hdf5(path: Path) -> None:
    """Refuse what is not whole in itself, hides behind something else, or is one of our own sets.

    HDF5 finds a file behind the beginning of an image, too, and our own sets are read as they are,
    without the checks that a vendor's file meets.
    """
    from ebsdsg_ml.experimental.pattern_set import is_pattern_set

    if path.suffix != ".h5":
        raise HTTPException(415, "this is an HDF5 file behind something else; send it by itself")
    check_hdf5(path)
    try:
        ours = is_pattern_set(path)
    except (TypeError, RuntimeError, ValueError) as error:
        raise HTTPException(422, UNCHECKED) from error
    if ours:
        raise HTTPException(
            415, "this is a set of imported patterns: `ebsdsg predict` takes it; send the originals"
        )


def _count(path: Path) -> int:
    """Patterns of a file; 1 for an image, 0 for one that cannot be read, which its reader tells."""
    from ebsdsg_ml.experimental.open_scan import open_scan
    from ebsdsg_ml.experimental.scan import PatternFileError

    if path.suffix in IMAGE_SUFFIXES.values():
        return 1
    try:
        scan = open_scan(path)
    except PatternFileError:
        return 0
    _check_pixels(*scan.shape[1:])
    return len(scan)
