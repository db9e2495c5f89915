"""Files with patterns that somebody sends: what they may be, and how much they may unpack to.

They are written by nobody that is trusted.  A small file can unpack to any size, and an HDF5 file
can point to other files of this machine, whose content would come back as a picture.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from fastapi import HTTPException, UploadFile

if TYPE_CHECKING:
    import h5py

LARGEST_IMAGE = 25_000_000
"""Pixels of one pattern."""

LARGEST_CONTENT = 2**30
"""Bytes that an HDF5 file may unpack to."""

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
        that is taken; 422 if an HDF5 file points to other files.
    """
    from ebsdsg_ml.experimental.open_scan import pattern_files
    from ebsdsg_ml.experimental.scan import PatternFileError

    if len(uploads) > MOST_PATTERNS:
        raise HTTPException(413, _too_many(len(uploads)))
    for upload in uploads:
        path = _free(folder / _name(upload))
        with path.open("wb") as file:
            shutil.copyfileobj(upload.file, file)
        if path.suffix == ".h5":
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
    """Refuse a file that unpacks to too much, or that shows what is in other files.

    One that cannot be read is left to the reader, who says so.
    """
    import h5py

    total, elsewhere = 0, False

    def look_at_link(name: str, link: object) -> None:
        nonlocal elsewhere
        elsewhere |= isinstance(link, h5py.ExternalLink)

    def look_at(name: str, item: h5py.Group | h5py.Dataset) -> None:
        nonlocal total, elsewhere
        if isinstance(item, h5py.Dataset):
            total += item.nbytes
            elsewhere |= bool(item.external) or item.is_virtual

    try:
        with h5py.File(path, "r") as file:
            file.visititems_links(look_at_link)
            file.visititems(look_at)
    except (OSError, RuntimeError, KeyError, TypeError, ValueError):
        if not elsewhere:
            return
    if elsewhere:
        raise HTTPException(422, "this HDF5 file refers to other files; send one that is whole")
    if total > LARGEST_CONTENT:
        raise HTTPException(
            413, f"this HDF5 file unpacks to more than {LARGEST_CONTENT / 2**30:.0f} GiB"
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
