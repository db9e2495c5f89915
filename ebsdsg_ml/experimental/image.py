"""Patterns in image files, one each: PNG, JPEG, TIFF, BMP.

An image says nothing of its geometry, except that Oxford's software writes it into a TIFF file as
XML, in the private tag 51122.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from ebsdsg_ml.experimental.h5ebsd_vendors import oxford_screen
from ebsdsg_ml.experimental.scan import (
    Geometry,
    Microscope,
    PatternFileError,
    Scan,
    stated_centre,
)

SMALLEST = 16
"""Pixels per side below which an image is refused."""

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
OXFORD_TAG = 51122
PHOTOMETRIC = 262
"""Tag of a TIFF that says whether zero is black (1) or white (0)."""


class ImageError(PatternFileError):
    """An image file is missing, broken or shows nothing; the message names it and says why."""


def read_image(path: str | Path) -> np.ndarray:
    """Read an image file as grey values.

    Parameters
    ----------
    path : PNG, JPEG, TIFF or BMP file; 8 or 16 bits, grey or colour (its luminance is taken,
        transparency is ignored).

    Returns
    -------
    (H, W) float32 grey values, not scaled.

    Raises
    ------
    ImageError
        If the file is missing, not an image, truncated, has several frames, is smaller than 16
        pixels, or is blank.
    """
    return _read(Path(path))[0]


def _read(path: Path) -> tuple[np.ndarray, str | None]:
    """Grey values of an image, and Oxford's XML if it has one."""
    from PIL import Image

    if not path.is_file():
        raise ImageError(f"image {path} does not exist")
    if not path.stat().st_size:
        raise ImageError(f"{path} is not a readable image: the file is empty")
    try:
        # a broken TIFF file makes Pillow warn before it fails; the error says it once
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            frames = getattr(image, "n_frames", 1)
            if frames > 1:
                raise ImageError(f"{path} holds {frames} images; give one pattern per file")
            image.load()
            grey = image if image.mode in ("I;16", "I;16B", "I", "F", "L") else image.convert("L")
            values = np.asarray(grey, dtype=np.float32)
            if getattr(image, "tag_v2", {}).get(PHOTOMETRIC) == 0 and grey.mode != "L":
                values = _inverted(path, values, grey.mode)
            xml = getattr(image, "tag_v2", {}).get(OXFORD_TAG)
    except ImageError:
        raise
    except Exception as error:  # Pillow's readers raise many types on broken files
        raise ImageError(f"{path} is not a readable image: {error}") from error
    if values.ndim != 2 or min(values.shape) < SMALLEST:
        raise ImageError(
            f"{path} has {values.shape} pixels; at least {SMALLEST} per side are needed"
        )
    if not np.isfinite(values).all():
        raise ImageError(f"{path} has pixels that are not finite numbers")
    if values.max() == values.min():
        raise ImageError(f"{path} is blank: all pixels are {values.max():g}")
    text = xml.decode("latin-1") if isinstance(xml, bytes) else xml
    return values, text if isinstance(text, str) else None


def _inverted(path: Path, values: np.ndarray, mode: str) -> np.ndarray:
    """Values of a TIFF whose zero is white, which Pillow inverts only where they have 8 bits."""
    if not mode.startswith("I;16"):
        raise ImageError(f"{path}: white is zero in 32 bits: save it with black as zero")
    return 65535 - values


def read_image_scan(path: Path) -> Scan:
    """One image as a scan of one pattern.

    Parameters
    ----------
    path : image file; it is read whole once to know that it can be, and again when asked for.

    Raises
    ------
    ImageError
        As :func:`read_image`, or if Oxford's tag is there but cannot be read.
    """
    values, xml = _read(path)
    shape = (1, *values.shape)

    def read(numbers: Sequence[int] | np.ndarray) -> np.ndarray:
        return np.stack([read_image(path)] * len(np.asarray(numbers)))

    if xml is None:
        return Scan(
            path,
            f"image {path.suffix[1:].lower()}",
            shape,
            read,
            remarks=("an image holds no geometry, phase or voltage",),
        )
    geometry, microscope, remarks = oxford_tag(path, xml, values.shape)
    return Scan(
        path,
        "Oxford TIFF",
        shape,
        read,
        geometry=geometry,
        microscope=microscope,
        remarks=remarks,
    )


def oxford_tag(
    path: Path, xml: str, shape: tuple[int, ...]
) -> tuple[Geometry, Microscope, tuple[str, ...]]:
    """What Oxford's XML in the tag 51122 of a TIFF file says.

    Parameters
    ----------
    path : for messages.
    xml : content of the tag.
    shape : (rows, columns) of the image.

    Raises
    ------
    ImageError
        If it is not XML, or a number in it is none.
    """
    try:
        root = ElementTree.fromstring(xml.rstrip("\0").strip())
    except ElementTree.ParseError as error:
        raise ImageError(f"{path}: Oxford's tag {OXFORD_TAG} is damaged: {error}") from error
    texts = {element.tag: (element.text or "").strip() for element in root.iter()}

    def number(name: str) -> float | None:
        if not texts.get(name):
            return None
        try:
            value = float(texts[name])
        except ValueError:
            raise ImageError(
                f"{path}: {name} = {texts[name]!r} in Oxford's tag {OXFORD_TAG} is not a number"
            ) from None
        return value if math.isfinite(value) else None

    rows, columns = shape
    centre = [
        number(name)
        for name in ("pattern-center-x-pu", "pattern-center-y-pu", "detector-distance-pu")
    ]
    pc, remark = (
        (None, "Oxford's tag does not say the pattern centre")
        if None in centre
        else stated_centre(np.array(centre, dtype=float), "oxford", (rows, columns))
    )
    remarks = [remark] if remark else []
    euler = [number(f"detector-orientation-euler{k}-deg") for k in (1, 2, 3)]
    view = number("lens-field-of-view-mm")
    distortion = number("lens-distortion")
    if distortion:
        remarks.append(f"lens distortion {distortion:g} is not corrected")
    axis = texts.get("specimen-tilt-axis", "X")
    tilt = number("specimen-tilt-deg")
    if axis.upper() != "X" and tilt is not None:
        remarks.append(f"the sample is tilted about {axis}, not X: its tilt was not taken")
        tilt = None
    geometry = Geometry(
        pc=pc,
        sample_tilt=tilt,
        pixel_size=view * 1000 / columns if view else None,
        **oxford_screen(None if None in euler else np.array(euler, dtype=float)),
    )
    microscope = Microscope(number("sem-acc-voltage-kv"), number("sem-working-distance-mm"))
    return geometry, microscope, tuple(remarks)
