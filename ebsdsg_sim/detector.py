"""The flat detector: where each pixel looks, seen from the sample.

Geometry of EMsoft's ``EMEBSD``.  Sample frame: RD, TD, ND, with ND the surface normal; the beam
comes in at ``sample_tilt`` from ND towards +RD, and the detector stands on that side, its normal
90 - sample_tilt + tilt degrees from ND towards +RD.  Row 0 is the top of the screen; an image is
what an observer at the detector sees when looking at the sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from ebsdsg_sim.pattern_centre import convert_pattern_centre


class DetectorError(ValueError):
    """The detector's geometry is impossible; the message names the value and its range."""


@dataclass(frozen=True, eq=False)
class GeometryShift:
    """How far the geometry of each pattern is from the detector's.

    Parameters
    ----------
    pc : (n, 3) added to Bruker's pattern centre: fractions of the width from the left edge, of the
        height from the top edge, and of the height for the distance.
    tilt : (n,) added to the detector's tilt [degrees].

    Raises
    ------
    DetectorError
        If the shapes do not agree or a value is not finite.
    """

    pc: np.ndarray
    tilt: np.ndarray

    def __post_init__(self) -> None:
        pc, tilt = np.asarray(self.pc, dtype=float), np.asarray(self.tilt, dtype=float)
        if tilt.ndim != 1 or pc.shape != (len(tilt), 3):
            raise DetectorError(
                f"shifts of shapes {pc.shape} and {tilt.shape}: need (n, 3) and (n,)"
            )
        if not (np.isfinite(pc).all() and np.isfinite(tilt).all()):
            raise DetectorError("shifts of the geometry must be finite")
        object.__setattr__(self, "pc", pc)
        object.__setattr__(self, "tilt", tilt)

    def __len__(self) -> int:
        return len(self.tilt)


@dataclass(frozen=True, eq=False)
class Rays:
    """Rays from the sample to a flat screen; n geometries, or 1 for all patterns.

    The ray to a pixel is ``rows[:, :, row] + columns[:, :, column]``, in units of the distance to
    the screen; its squared length is ``rows_squared[:, row] + columns_squared[:, column]``.

    Parameters
    ----------
    rows, columns : (n, 3, rows) and (n, 3, columns), sample frame.
    rows_squared, columns_squared : (n, rows) and (n, columns).
    """

    rows: np.ndarray
    columns: np.ndarray
    rows_squared: np.ndarray
    columns_squared: np.ndarray


@dataclass(frozen=True)
class Detector:
    """Flat detector of square pixels.

    Parameters
    ----------
    shape : (rows, columns).
    pixel_size : edge of a pixel [um].
    distance : from the illuminated point to the screen, along its normal [um].
    tilt : of the screen from the vertical, positive when its normal points below the horizontal
        (EMsoft's thetac) [degrees].
    xpc, ypc : pattern centre from the middle of the screen, in pixels, in EMsoft's (version 5)
        signs: positive ``ypc`` is up, positive ``xpc`` is towards column 0.
    sample_tilt : between the surface normal and the beam [degrees].
    azimuth : rotation of the screen about its own vertical, EMsoft's omega [degrees]; positive
        turns its normal towards +TD.
    twist : rotation of the screen about its normal; positive moves features counter-clockwise about
        the pattern centre (kikuchipy's twist) [degrees].

    Raises
    ------
    DetectorError
        If a value is out of range or not finite.
    """

    shape: tuple[int, int]
    pixel_size: float
    distance: float
    tilt: float = 0.0
    xpc: float = 0.0
    ypc: float = 0.0
    sample_tilt: float = 70.0
    azimuth: float = 0.0
    twist: float = 0.0

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        if len(shape) != 2 or min(shape) < 1:
            raise DetectorError(f"shape = {self.shape}: must be (rows, columns), both at least 1")
        object.__setattr__(self, "shape", shape)
        for name in ("pixel_size", "distance"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise DetectorError(f"{name} = {value}: must be a positive length in um")
        for name in ("tilt", "sample_tilt", "azimuth", "twist", "xpc", "ypc"):
            if not math.isfinite(getattr(self, name)):
                raise DetectorError(f"{name} = {getattr(self, name)}: must be finite")

    @classmethod
    def paper(cls, size: int = 229) -> Detector:
        """The paper's detector, for square patterns of ``size`` pixels.

        Parameters
        ----------
        size : pixels along one side of the pattern.

        Notes
        -----
        19,100 um distance, 13.7 degrees tilt, pattern centre 171 um above the middle, 23 um
        pixels.  The paper leaves the number of pixels open; the experiment's camera has
        1244 x 1024 of them, and its patterns are cropped to the middle 1024 x 1024 and resampled.
        A pattern of ``size`` pixels covers that same square of 23.6 mm, so its pixels are
        23 * 1024/size um wide and the resampling never has to be done.
        """
        if size < 1:
            raise DetectorError(f"size = {size}: must be at least 1")
        pixel = 23.0 * 1024 / size
        return cls((size, size), pixel, 19_100.0, 13.7, ypc=171.0 / pixel)

    @classmethod
    def from_pattern_centre(
        cls,
        pc: ArrayLike,
        convention: str,
        shape: tuple[int, int],
        *,
        pixel_size: float = 1.0,
        binning: int = 1,
        tilt: float = 0.0,
        sample_tilt: float = 70.0,
        azimuth: float = 0.0,
        twist: float = 0.0,
    ) -> Detector:
        """Detector with a pattern centre as a vendor's file gives it.

        Parameters
        ----------
        pc : (3,) pattern centre.
        convention : see :mod:`ebsdsg_sim.pattern_centre`.
        shape : (rows, columns) of the pattern.
        pixel_size : edge of a pixel of the pattern [um].  Vendors' fractions do not contain it:
            directions are the same for every value.
        binning : camera pixels along the edge of a pixel, in which EMsoft counts.
        tilt, sample_tilt, azimuth, twist : as for the class [degrees].

        Raises
        ------
        PatternCentreError, DetectorError
            If the convention is unknown or a value is out of range.
        """
        fractions = convert_pattern_centre(
            pc, convention, "bruker", shape, pixel_size=pixel_size, binning=binning
        )
        xpc, ypc, distance = convert_pattern_centre(
            fractions, "bruker", "emsoft5", shape, pixel_size=pixel_size
        ).tolist()
        return cls(shape, pixel_size, distance, tilt, xpc, ypc, sample_tilt, azimuth, twist)

    def binned(self, factor: int) -> Detector:
        """The same screen with ``factor`` x ``factor`` pixels read out as one.

        Raises
        ------
        DetectorError
            If the factor does not divide rows and columns.
        """
        rows, columns = self.shape
        if factor < 1 or rows % factor or columns % factor:
            raise DetectorError(
                f"binning = {factor}: must divide the {rows} x {columns} pixels of the screen"
            )
        return replace(
            self,
            shape=(rows // factor, columns // factor),
            pixel_size=self.pixel_size * factor,
            xpc=self.xpc / factor,
            ypc=self.ypc / factor,
        )

    def directions(self) -> np.ndarray:
        """Directions from the sample to the pixels.

        Returns
        -------
        (rows, columns, 3) float64 unit vectors in the sample frame (RD, TD, ND).

        Notes
        -----
        EMsoft, ``EBSDmod.f90``, ``GenerateEBSDDetector``.
        """
        rays = self.rays()
        v = rays.rows[0].T[:, None, :] + rays.columns[0].T[None, :, :]
        return v / np.linalg.norm(v, axis=-1, keepdims=True)

    def rays(self, shift: GeometryShift | None = None) -> Rays:
        """Rays to the pixels as sums of one vector per row and one per column.

        On a flat screen that is all there is to the geometry, whichever way it is turned.

        Parameters
        ----------
        shift : one change of the geometry per pattern; none by default.
        """
        rows, columns = self.shape
        x = np.arange(columns) - (columns - 1) / 2 + self.xpc
        y = np.arange(rows) - (rows - 1) / 2 + self.ypc
        unit = self.distance / self.pixel_size
        if shift is None:
            x, y, z = x[None], y[None], np.ones((1, 1))
            axes = self.axes()[None]
        else:
            x = x - columns * shift.pc[:, :1]
            y = y - rows * shift.pc[:, 1:2]
            z = 1 + rows * shift.pc[:, 2:] / unit
            if z.min() <= 0:
                raise DetectorError("a shift of the pattern centre puts the screen on the sample")
            axes = np.stack([replace(self, tilt=self.tilt + float(t)).axes() for t in shift.tilt])
        x, y = x / unit, y / unit
        right, down, normal = (axes[:, :, i, None] for i in range(3))
        return Rays(
            rows=down * y[:, None] + normal * z[:, None],
            columns=right * x[:, None],
            rows_squared=y**2 + z**2,
            columns_squared=x**2,
        )

    def axes(self) -> np.ndarray:
        """Axes of the screen in the sample frame.

        Returns
        -------
        (3, 3) float64: column 0 points to the right of the image, column 1 down, column 2 from the
        sample to the screen along its normal; orthonormal, ``right x down = -normal``.
        """
        alpha = math.pi / 2 - math.radians(self.sample_tilt - self.tilt)
        omega, gamma = math.radians(self.azimuth), math.radians(self.twist)
        up = np.array([-math.cos(alpha), 0.0, math.sin(alpha)])
        out = np.array([math.sin(alpha), 0.0, math.cos(alpha)])
        side = np.array([0.0, 1.0, 0.0])
        right = math.cos(omega) * side - math.sin(omega) * out
        normal = math.sin(omega) * side + math.cos(omega) * out
        turned = math.cos(gamma) * right - math.sin(gamma) * up
        return np.stack((turned, -(math.cos(gamma) * up + math.sin(gamma) * right), normal), axis=1)

    def pattern_centre(self) -> np.ndarray:
        """Unit vector (3,) from the sample to the pattern centre, sample frame."""
        return self.axes()[:, 2]

    def solid_angles(self, reference: np.ndarray | None = None) -> np.ndarray:
        """How much each pixel collects, relative to the one at the pattern centre.

        Parameters
        ----------
        reference : unit vector to take as the pattern centre; the true one by default.

        Returns
        -------
        (rows, columns) float64.

        Notes
        -----
        EMsoft's factor: with a the angle subtended by a disc of a pixel's area and t the angle
        between a pixel and the pattern centre, (cos^2 a + cos^2 t - 1)^(3/2) / cos^3 a; close to
        cos^3 t, the solid angle of a flat pixel.
        """
        centre = self.pattern_centre() if reference is None else reference
        cos_a = math.cos(math.atan(self.pixel_size / (self.distance * math.sqrt(math.pi))))
        cos_t = self.directions() @ centre
        return np.clip(cos_a**2 + cos_t**2 - 1, 0, None) ** 1.5 / cos_a**3

    def emebsd_centre_pixel(self) -> tuple[int, int]:
        """(row, column) EMEBSD takes for the pattern centre in its collection factor.

        EMEBSD rounds the centre to a pixel and forgets there that it has turned its rows upside
        down, so the pixel is on the wrong side of the middle.  Reproduced for parity.
        """
        rows, columns = self.shape
        row = rows // 2 + round(self.ypc) - 1
        column = columns // 2 + round(self.xpc) - 1
        return min(max(row, 0), rows - 1), min(max(column, 0), columns - 1)

    def pc(self, convention: str = "bruker", *, binning: int = 1) -> tuple[float, float, float]:
        """Pattern centre as vendors, EMsoft and kikuchipy give it.

        Parameters
        ----------
        convention : see :mod:`ebsdsg_sim.pattern_centre`; "bruker" is also kikuchipy's.
        binning : camera pixels along the edge of a pixel, in which EMsoft counts.

        Raises
        ------
        PatternCentreError
            If the convention is unknown.
        """
        fractions = convert_pattern_centre(
            (self.xpc, self.ypc, self.distance),
            "emsoft5",
            "bruker",
            self.shape,
            pixel_size=self.pixel_size,
        )
        x, y, z = convert_pattern_centre(
            fractions,
            "bruker",
            convention,
            self.shape,
            pixel_size=self.pixel_size,
            binning=binning,
        )
        return float(x), float(y), float(z)
