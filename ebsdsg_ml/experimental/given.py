"""What a user says of patterns: phase, geometry, source, licence, and a table of orientations.

A file's own word can be wrong (a silicon pattern whose header says nickel is among the reference
data), so a user's word wins, and both are kept.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ebsdsg_ml.experimental.image import read_image
from ebsdsg_ml.experimental.scan import (
    Geometry,
    Microscope,
    PatternFileError,
    PhaseName,
    Scan,
)
from ebsdsg_ml.experimental.table_files import TableFiles
from ebsdsg_sim.orientation import euler_to_quaternion
from ebsdsg_sim.pattern_centre import PatternCentreError, convert_pattern_centre

ANGLES = ("tilt", "azimuth", "twist", "sample_tilt")
POSITIVE = ("pixel_size", "voltage", "working_distance")
EULER = (("phi1", "PHI", "phi2"), ("phi1", "Phi", "phi2"))


@dataclass(frozen=True)
class Given:
    """A user's word on patterns; what is None or empty is left to the file.

    Parameters
    ----------
    phase : name or formula of the material.
    space_group : number of its true group.
    relabelled : number of its group after compositional disordering, where that is known too.
    geometry : entries of a geometry file: ``pc`` (three numbers) and its ``convention`` (see
        :mod:`ebsdsg_sim.pattern_centre`), ``binning``, ``pixel_size`` [um], ``tilt``, ``azimuth``,
        ``twist``, ``sample_tilt`` [degrees], ``voltage`` [kV], ``working_distance`` [mm].
    source, licence : where the patterns come from, and on what terms.
    table : CSV file with one line per pattern, see :class:`PatternTable`.
    background : image of the static background, for files that hold none.

    Raises
    ------
    PatternFileError
        If an entry is unknown or out of range.
    """

    phase: str = ""
    space_group: int | None = None
    geometry: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    licence: str = ""
    table: Path | None = None
    background: Path | None = None
    relabelled: int | None = None

    def __post_init__(self) -> None:
        PhaseName(self.phase, self.space_group)
        PhaseName(self.phase, self.relabelled)
        if self.relabelled is not None and self.space_group is None:
            raise PatternFileError(
                f"the relabelled group {self.relabelled} belongs to one phase: give its true space "
                "group, too"
            )
        known = {"pc", "convention", "binning", *ANGLES, *POSITIVE}
        if unknown := sorted(set(self.geometry) - known):
            raise PatternFileError(
                f"geometry: {', '.join(unknown)} unknown; known: {', '.join(sorted(known))}"
            )
        for name in (*ANGLES, *POSITIVE):
            value = self.geometry.get(name)
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if value is not None and not (number and math.isfinite(value)):
                raise PatternFileError(f"geometry: {name} = {value!r}: must be a number")
            if name in POSITIVE and value is not None and value <= 0:
                raise PatternFileError(f"geometry: {name} = {value!r}: must be positive")
        if ("pc" in self.geometry) != ("convention" in self.geometry):
            raise PatternFileError(
                "geometry: pc and convention belong together (bruker, edax, oxford, emsoft5, "
                "emsoft4): the same three numbers mean different places"
            )
        if "pc" in self.geometry:
            self._centre((480, 480))  # an impossible one is refused before any file is read

    def _centre(self, shape: tuple[int, int]) -> np.ndarray:
        try:
            return convert_pattern_centre(
                self.geometry["pc"],
                self.geometry["convention"],
                "bruker",
                shape,
                pixel_size=self.geometry.get("pixel_size"),
                binning=self.geometry.get("binning", 1),
            ).reshape(1, 3)
        except (PatternCentreError, TypeError, ValueError) as error:
            raise PatternFileError(f"geometry: {error}") from None

    def applied(self, scan: Scan, table: PatternTable | None = None) -> Scan:
        """A scan with the user's geometry, voltage, and the orientations of the table."""
        changes: dict[str, Any] = {
            k: float(self.geometry[k]) for k in ANGLES if self.geometry.get(k) is not None
        }
        if self.geometry.get("pixel_size") is not None:
            changes["pixel_size"] = float(self.geometry["pixel_size"])
        geometry: Geometry = replace(scan.geometry, **changes)
        if "pc" in self.geometry:
            geometry = replace(geometry, pc=self._centre(scan.shape[1:]))  # type: ignore[arg-type]
        beam: dict[str, Any] = {
            k: float(self.geometry[k]) for k in POSITIVE[1:] if self.geometry.get(k)
        }
        microscope: Microscope = replace(scan.microscope, **beam)
        scan = replace(scan, geometry=geometry, microscope=microscope)
        if self.background is not None:
            scan = replace(scan, static_background=self._background(scan))
        return scan if table is None else table.applied(scan)

    def _background(self, scan: Scan) -> np.ndarray:
        assert self.background is not None
        image = read_image(self.background)
        if image.shape != scan.shape[1:]:
            raise PatternFileError(
                f"background {self.background} has {image.shape[0]} x {image.shape[1]} pixels, the "
                f"patterns of {scan.path} have {scan.shape[1]} x {scan.shape[2]}"
            )
        return image


class PatternTable:
    """Orientations and other numbers of images, from a CSV file with a line per image.

    The column ``file`` names the image, with folders where two share a name (`TableFiles`);
    ``phi1_rad, PHI_rad, phi2_rad`` (or ``_deg``) are Bunge angles; every other column of numbers is
    kept, its name in small letters and with ``_`` for ``/``.

    Parameters
    ----------
    path : CSV file with a header line.
    files : all images that are given, see `TableFiles`.

    Raises
    ------
    PatternFileError
        If the file is missing, or has no column ``file``, a repeated image, a broken line, or two
        columns that are taken have one name.
    """

    def __init__(self, path: Path, files: Iterable[Path] = ()) -> None:
        if not path.is_file():
            raise PatternFileError(f"no table at {path}")
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                lines = [line for line in csv.reader(file) if line]
        except (UnicodeDecodeError, csv.Error) as error:
            raise PatternFileError(f"{path} is not a readable CSV table: {error}") from None
        names = lines.pop(0) if lines else []
        if "file" not in names or not lines:
            raise PatternFileError(f"{path} needs a header line with the column file, and lines")
        self.path = path
        self.rows: dict[str, dict[str, Any]] = {}
        for number, line in enumerate(lines, start=2):
            if len(line) != len(names):
                raise PatternFileError(f"{path}, line {number}: not {len(names)} values")
            row = dict(zip(names, line, strict=True))
            name = str(Path(row["file"]))
            if name in self.rows:
                raise PatternFileError(f"{path}, line {number}: {name} is there twice")
            self.rows[name] = row
        self.files = TableFiles(path, self.rows, files)
        numbers = [all(map(_is_number, column)) for column in zip(*lines, strict=True)]
        self.columns = [n for n, kept in zip(names, numbers, strict=True) if kept and n != "file"]
        self.euler: tuple[str, ...] | None = None
        for angles in EULER:
            for unit in ("rad", "deg"):
                triple = tuple(f"{a}_{unit}" for a in angles)
                if set(triple) <= set(self.columns):
                    self.euler = triple
        self.stored = self._stored(names)

    def _stored(self, names: list[str]) -> dict[str, str]:
        """Names of the kept columns, and those under which a set has them."""
        kept = [name for name in self.columns if name not in (self.euler or ())]
        stored = {name: name.strip().lower().replace("/", "_") for name in kept}
        if not all(name.strip(".") for name in stored.values()):
            raise PatternFileError(f"{self.path}: a column of numbers has no name: give it one")
        # a column of text, or an empty one without a name, is not taken
        twice = [n for n in ("file", *self.columns) if names.count(n) > 1]
        twice += [n for n in kept if list(stored.values()).count(stored[n]) > 1]
        if twice:
            raise PatternFileError(
                f"{self.path}: columns {', '.join(sorted(set(twice)))}: two are called the same "
                "(capitals do not count, and / is _): give each a name of its own"
            )
        return stored

    def applied(self, scan: Scan) -> Scan:
        """A scan of one image with its line's numbers; unchanged if it has no line.

        Raises
        ------
        PatternFileError
            If its line is that of another image, too.
        """
        if len(scan) != 1:
            return replace(scan, remarks=(*scan.remarks, "tables are for images"))
        named = self.files.names_of(scan.path)
        if not named:
            elsewhere = self.files.elsewhere(scan.path)
            remark = f"no line in {self.path.name}" + (f": {elsewhere}" if elsewhere else "")
            return replace(scan, remarks=(*scan.remarks, remark))
        self.files.claim(named[0], scan.path)
        if not self.files.fits(named[0], scan.path):
            remark = f"the line of {named[0]} in {self.path.name} was taken for its file name"
            scan = replace(scan, remarks=(*scan.remarks, remark))
        row = self.rows[named[0]]
        columns = dict(scan.columns)
        for name, stored in self.stored.items():
            columns[stored] = np.array([float(row[name])])
        if self.euler is None:
            return replace(scan, columns=columns)
        angles = np.array([[float(row[name]) for name in self.euler]])
        if self.euler[0].endswith("_rad"):
            angles = np.degrees(angles)
        return replace(
            scan,
            columns=columns,
            quaternions=euler_to_quaternion(angles),
            frame=f"as in {self.path.name}",
        )


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
