"""What a vendor's file says: patterns on the disk, geometry, microscope, phases, orientations.

A value that the file does not give is None (or NaN among many), never a default: a pattern centre
that nobody measured must not look like one that somebody did.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from ebsdsg_sim.detector import Detector
from ebsdsg_sim.pattern_centre import convert_pattern_centre


class PatternFileError(ValueError):
    """A file with patterns is missing, broken or of no known kind; the message says what to do."""


def azimuth_of(azimuthal: float | None) -> float | None:
    """Azimuth of the screen [degrees], which has the other sign than kikuchipy's ``azimuthal``."""
    return None if azimuthal is None else 0.0 - azimuthal


@dataclass(frozen=True)
class Geometry:
    """Where the screen stood, as far as it is known.

    Parameters
    ----------
    pc : (n, 3) pattern centres, or (1, 3) for all patterns, in Bruker's convention: fractions of
        the width from the left edge, of the height from the top edge, and of the height for the
        distance; None when not known.
    tilt, azimuth, twist : of the screen, as :class:`ebsdsg_sim.detector.Detector` defines them
        [degrees]; None when not known.
    sample_tilt : between surface normal and beam [degrees].
    pixel_size : edge of a pixel of the pattern [um].
    euler : (3,) the vendor's Bunge angles of the screen [degrees], kept as they are.
    """

    pc: np.ndarray | None = None
    tilt: float | None = None
    azimuth: float | None = None
    twist: float | None = None
    sample_tilt: float | None = None
    pixel_size: float | None = None
    euler: tuple[float, float, float] | None = None

    def cropped(self, shape: tuple[int, int], top: int, left: int, side: int) -> Geometry:
        """The same screen when only a square of it is kept.

        Parameters
        ----------
        shape : (rows, columns) of the whole pattern.
        top, left : first row and column kept.
        side : pixels along the square's side.
        """
        if self.pc is None:
            return self
        rows, columns = shape
        x, y, z = self.pc.T
        pc = np.stack(
            ((x * columns - left) / side, (y * rows - top) / side, z * rows / side), axis=1
        )
        return Geometry(**{**self.__dict__, "pc": pc})

    def detector(self, shape: tuple[int, int], number: int = 0) -> Detector:
        """Detector of one pattern; angles that are not known are those of an untilted screen.

        Parameters
        ----------
        shape : (rows, columns) of the pattern that the pattern centres are fractions of.
        number : of the pattern.

        Raises
        ------
        PatternFileError
            If the pattern centre is not known.
        """
        pc = None if self.pc is None else self.pc[number if len(self.pc) > 1 else 0]
        if pc is None or not np.isfinite(pc).all():
            raise PatternFileError(
                f"the pattern centre of pattern {number} is not known: give it with a geometry file"
            )
        return Detector.from_pattern_centre(
            pc,
            "bruker",
            shape,
            pixel_size=self.pixel_size or 1.0,
            tilt=self.tilt or 0.0,
            azimuth=self.azimuth or 0.0,
            twist=self.twist or 0.0,
            sample_tilt=70.0 if self.sample_tilt is None else self.sample_tilt,
        )


def stated_centre(
    centre: ArrayLike, convention: str, shape: tuple[int, int]
) -> tuple[np.ndarray | None, str | None]:
    """Pattern centres as a file gives them, in Bruker's convention.

    Parameters
    ----------
    centre : (..., 3) numbers of the file.
    convention : its convention, see :mod:`ebsdsg_sim.pattern_centre`.
    shape : (rows, columns) of the pattern.

    Returns
    -------
    (n, 3) pattern centres, NaN for the patterns whose numbers stand for "not measured" (a distance
    that is not positive, or is not finite), and a remark on those; None when there is no other.
    """
    numbers = np.asarray(centre, dtype=np.float64).reshape(-1, 3)
    known = np.isfinite(numbers).all(axis=1) & (np.nan_to_num(numbers[:, 2]) > 0)
    if not known.any():
        return None, f"pattern centre {numbers[0].tolist()} stands for 'not measured'"
    pc = np.full(numbers.shape, np.nan)
    pc[known] = convert_pattern_centre(numbers[known], convention, "bruker", shape)
    if known.all():
        return pc, None
    return pc, f"{int((~known).sum())} of {len(numbers)} pattern centres are not measured"


@dataclass(frozen=True)
class Microscope:
    """How the beam was set, as far as it is known.

    Parameters
    ----------
    voltage : [kV].
    working_distance : [mm].
    name, detector : makers' names, empty when not known.
    """

    voltage: float | None = None
    working_distance: float | None = None
    name: str = ""
    detector: str = ""


@dataclass(frozen=True)
class PhaseName:
    """A phase as a file or a user names it.

    Parameters
    ----------
    name : material or mineral, may be empty.
    space_group : number, None when not known.
    """

    name: str = ""
    space_group: int | None = None

    def __post_init__(self) -> None:
        group = self.space_group
        if group is not None and not 1 <= group <= 230:
            raise PatternFileError(f"{group} is not a space-group number (1 to 230)")


@dataclass(frozen=True)
class Scan:
    """Patterns of one file and what the file says of them.

    Parameters
    ----------
    path : the file.
    kind : of file, such as ``"EDAX up2"``.
    shape : (n, rows, columns).
    read : gives the patterns at some rows, (k, rows, columns) in the file's own type, from the
        disk.
    group : scan within the file, empty where there is only one.
    static_background : (rows, columns) recorded background, or None.
    corrected : whether the microscope's software has removed the background; None when not known.
    geometry, microscope : see there.
    phases : phases that the file names.
    phase : (n,) position in `phases`, -1 for none.
    quaternions : (n, 4) orientations (w, x, y, z), NaN where there is none, or None.
    frame : in which sample frame the orientations are.
    columns : other numbers per pattern, (n,) each, such as the vendor's image quality.
    remarks : what the file says that was not taken, and why.
    """

    path: Path
    kind: str
    shape: tuple[int, int, int]
    read: Callable[[Sequence[int] | np.ndarray], np.ndarray]
    group: str = ""
    static_background: np.ndarray | None = None
    corrected: bool | None = None
    geometry: Geometry = field(default_factory=Geometry)
    microscope: Microscope = field(default_factory=Microscope)
    phases: tuple[PhaseName, ...] = ()
    phase: np.ndarray | None = None
    quaternions: np.ndarray | None = None
    frame: str = ""
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self.shape[0]

    def __post_init__(self) -> None:
        n = self.shape[0]
        if n < 1:
            raise PatternFileError(f"{self.path} holds no pattern")
        if min(self.shape[1:]) < 16:
            raise PatternFileError(
                f"{self.path}: patterns of {self.shape[1]} x {self.shape[2]} pixels; at least 16 "
                "per side are needed"
            )
        lengths = {name: len(values) for name, values in self.columns.items()}
        lengths |= {} if self.phase is None else {"phase": len(self.phase)}
        lengths |= {} if self.quaternions is None else {"orientations": len(self.quaternions)}
        wrong = {name: k for name, k in lengths.items() if k != n}
        if self.geometry.pc is not None and len(self.geometry.pc) not in (1, n):
            wrong["pattern centres"] = len(self.geometry.pc)
        if wrong:
            raise PatternFileError(
                f"{self.path} is damaged: {n} patterns but "
                + ", ".join(f"{k} {name}" for name, k in wrong.items())
            )
