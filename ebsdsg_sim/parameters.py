"""What has to be said, beside the crystal, to make a master pattern.

The defaults are the paper's settings (20 keV, every integer energy from 10 to 20 keV, depth to
100 nm, ``dmin`` 0.05 nm, Bethe cut-offs 8/50/100, 601 x 601 pixels).  One frozen object holds all
of them, because its content is half of a simulation's identity.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

VOLTAGES = (1.0, 300.0)
"""Beam energies [keV] from scanning to transmission microscopes."""
LARGEST_DMIN = 0.3
"""Planes further apart than this [nm] are too few for a pattern."""


class ParameterError(ValueError):
    """A simulation parameter is out of range; the message names it and the allowed range."""


@dataclass(frozen=True)
class SimulationParameters:
    """Parameters of one master-pattern simulation.

    Parameters
    ----------
    voltage : beam energy [keV]; also the highest energy bin.
    energy_min : lowest energy bin [keV].
    energy_step : width of the energy bins [keV].
    depth_max : largest depth counted in the Monte Carlo histogram [nm].
    depth_step : width of the depth bins [nm].
    sample_tilt : angle between the surface normal and the beam [degrees].
    n_electrons : nominal number of Monte Carlo electrons.
    max_scatterings : scattering events after which an electron is dropped, as EMsoft's OpenCL
        program does after 300; 0 follows every electron until it leaves or falls below the lowest
        energy bin.
    mc_pixels : pixels along one side of the Monte Carlo exit-direction grid (odd).
    dmin : smallest interplanar spacing of the reflections used [nm].
    bethe : Bethe cut-offs (strong, weak, complete), dimensionless, EMsoft's c1, c2, c3.
    npx : half width of the square Lambert grid; the map has 2 npx + 1 pixels per side.
    absorption_length : ``"emsoft"`` forms the normal absorption length of every energy with the
        wavelength at the beam energy, as EMsoft does; ``"physical"`` uses each energy's own.
    thickness : ``"emsoft"`` takes the integration depth of each energy as the running maximum over
        coarse Monte Carlo pixels and lower energies, as EMsoft does; ``"energy"`` takes the depth
        holding 99 % of that energy's own electrons.
    precision : floating-point precision of the dynamical calculation.
    seed : seed of the Monte Carlo random numbers.

    Raises
    ------
    ParameterError
        If a value is outside its range; nothing is clipped.

    Notes
    -----
    The two ``"emsoft"`` choices are described in EMsoft's source (``EMEBSDmaster``) and reproduced
    for parity; see ``docs/explanation/physics.md``.
    """

    voltage: float = 20.0
    energy_min: float = 10.0
    energy_step: float = 1.0
    depth_max: float = 100.0
    depth_step: float = 1.0
    sample_tilt: float = 70.0
    n_electrons: int = 1_000_000
    max_scatterings: int = 0
    mc_pixels: int = 501
    dmin: float = 0.05
    bethe: tuple[float, float, float] = (8.0, 50.0, 100.0)
    npx: int = 300
    absorption_length: Literal["emsoft", "physical"] = "emsoft"
    thickness: Literal["emsoft", "energy"] = "emsoft"
    precision: Literal["float32", "float64"] = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        try:
            strong, weak, complete = (float(c) for c in self.bethe)
        except (TypeError, ValueError):
            raise ParameterError(f"bethe = {self.bethe!r}: must be three numbers") from None
        object.__setattr__(self, "bethe", (strong, weak, complete))
        for name in ("voltage", "energy_min", "energy_step", "depth_max", "depth_step", "dmin"):
            value = getattr(self, name)
            if not (isinstance(value, (int, float)) and math.isfinite(value) and value > 0):
                raise ParameterError(f"{name} = {value!r}: must be a positive finite number")
            object.__setattr__(self, name, float(value))
        for name, low in (("n_electrons", 1), ("npx", 1), ("max_scatterings", 0), ("seed", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < low:
                raise ParameterError(f"{name} = {value!r}: must be an integer of at least {low}")
        low_voltage, high_voltage = VOLTAGES
        if not low_voltage <= self.voltage <= high_voltage:
            hint = f"; {self.voltage:g} V are {self.voltage / 1000:g} keV"
            raise ParameterError(
                f"voltage = {self.voltage:g}: must be from {low_voltage:g} to {high_voltage:g} keV"
                + (hint if self.voltage > high_voltage else "")
            )
        if self.dmin > LARGEST_DMIN:
            raise ParameterError(
                f"dmin = {self.dmin:g}: must be at most {LARGEST_DMIN} nm; {self.dmin:g} Angstrom "
                f"are {self.dmin / 10:g} nm"
            )
        tilt = self.sample_tilt
        if not (isinstance(tilt, (int, float)) and 0 <= tilt < 90):
            raise ParameterError(f"sample_tilt = {self.sample_tilt!r}: must be in [0, 90) degrees")
        object.__setattr__(self, "sample_tilt", float(self.sample_tilt))
        if not (isinstance(self.mc_pixels, int) and self.mc_pixels >= 21 and self.mc_pixels % 2):
            raise ParameterError(f"mc_pixels = {self.mc_pixels!r}: must be odd and at least 21")
        if self.energy_min >= self.voltage:
            raise ParameterError(
                f"energy_min = {self.energy_min} keV must be below voltage = {self.voltage} keV"
            )
        steps = (self.voltage - self.energy_min) / self.energy_step
        if abs(steps - round(steps)) > 1e-6:
            raise ParameterError(
                f"energy_step = {self.energy_step} keV does not divide the range "
                f"{self.energy_min} to {self.voltage} keV"
            )
        bins = self.depth_max / self.depth_step
        if abs(bins - round(bins)) > 1e-6:
            raise ParameterError(
                f"depth_step = {self.depth_step} nm does not divide depth_max = {self.depth_max} nm"
            )
        if not 0 < strong <= weak <= complete:
            raise ParameterError(
                f"bethe = {self.bethe}: must satisfy 0 < strong <= weak <= complete"
            )
        for name, allowed in (
            ("absorption_length", ("emsoft", "physical")),
            ("thickness", ("emsoft", "energy")),
            ("precision", ("float32", "float64")),
        ):
            if getattr(self, name) not in allowed:
                raise ParameterError(f"{name} = {getattr(self, name)!r}: must be one of {allowed}")

    @property
    def energies(self) -> np.ndarray:
        """Centres of the energy bins, ascending, shape (n_energies,) [keV]."""
        n = round((self.voltage - self.energy_min) / self.energy_step) + 1
        return self.energy_min + self.energy_step * np.arange(n)

    @property
    def n_depths(self) -> int:
        """Number of depth bins of the Monte Carlo histogram, the one at the surface included."""
        return round(self.depth_max / self.depth_step) + 1

    def to_dict(self) -> dict[str, Any]:
        """All parameters as plain JSON types (``bethe`` as a list)."""
        return {**asdict(self), "bethe": list(self.bethe)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> SimulationParameters:
        """Build parameters from a mapping.

        Raises
        ------
        ParameterError
            If a key is unknown or a value is out of range.
        """
        known = set(cls.__dataclass_fields__)
        unknown = sorted(set(values) - known)
        if unknown:
            raise ParameterError(
                f"unknown simulation parameter(s) {', '.join(unknown)}; known: "
                + ", ".join(sorted(known))
            )
        return cls(**values)
